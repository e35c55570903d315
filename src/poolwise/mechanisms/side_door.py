"""A way to an idle worker for other threads than the owner's."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from _poolwise_worker import forks
from poolwise.mechanisms.encoding import plain_batch
from poolwise.task import Batch

if TYPE_CHECKING:
    from poolwise.mechanisms.worker_link import WorkerLink


class SideDoor:
    """Where one thread may send a batch while the owner waits, of a task that the worker knows.

    Its descriptor is its own: the owner may close the socket at any moment, and a number that is
    closed may be another file's by the time it is written to.
    """

    def __init__(self, worker: WorkerLink) -> None:
        self._worker = worker
        self._descriptors = [os.dup(worker.ends.data.fileno())]
        _all.add(self)

    # ---- from any thread ---------------------------------------------------------------------

    def pack(self, batch: Batch) -> bytes | None:
        """Return the frame of a batch, if it is short and needs no code of the user's."""
        return plain_batch(batch)

    def write(self, frame: bytes, written: list[int]) -> None:
        """Write a frame, and add to `written` how many of its bytes went; no signal handler comes
        between. Nothing goes in a process that the user has forked.

        Raises:
            OSError: nothing went.
        """
        written.extend(map(os.write, self._descriptors, (frame,)))

    @property
    def closed(self) -> bool:
        """Whether the worker has been let go of: what has not been noted before will not run."""
        return self._worker.closed

    # ---- the owner's -------------------------------------------------------------------------

    @property
    def process(self) -> int:
        """The id of the worker's process."""
        return self._worker.pid

    def was_sent(self, batch: Batch) -> None:
        """Note a batch that went here; call before it is heard of it."""
        self._worker.was_sent(batch)

    def write_rest(self, frame: bytes, done: int, batch: Batch) -> None:
        """Write what did not go here of a batch that was noted."""
        self._worker.write_rest(frame, done, batch.id)

    def give_up(self, close: Callable[[int], None] = os.close) -> None:
        """Let go of the descriptor; only where nobody can be about to write to it."""
        while self._descriptors:
            close(self._descriptors.pop())

    def __del__(self) -> None:
        if hasattr(self, "_descriptors"):
            self.give_up()


#: Added to by owners, each in one step of the set within; gone through in a child of the user's,
#: which has one thread.
_all: weakref.WeakSet[SideDoor] = weakref.WeakSet()


def _after_fork() -> None:
    """In a child of the user's: nothing that its threads were about to write goes from there."""
    for door in list(_all):
        door.give_up()
    _all.clear()


forks.in_child(_after_fork)
