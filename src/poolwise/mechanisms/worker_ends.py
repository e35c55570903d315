"""The caller's ends of what connects it with one worker."""

from __future__ import annotations

import mmap
import os
import weakref
from contextlib import suppress

from _poolwise_worker import forks, sockets, wire
from _poolwise_worker.front_door import KILL, REPLY, RESUME
from poolwise.mechanisms.signals import no_signals

#: Bytes of a start mark.
_MARK_SIZE = 8


class WorkerEnds:
    """Keeper, data and control socket, life pipe, start marks; see ``docs/worker-protocol.md``.

    Belongs to one owner at a time. `theirs` are the worker's ends until `hand_over`.
    """

    _closed = False

    def __init__(self, threads: int) -> None:
        """Open both ends for a worker of so many threads.

        Raises:
            OSError: no descriptors or no memory.
        """
        with no_signals():
            self._open(threads)

    def _open(self, threads: int) -> None:
        opened: list[int] = []
        try:
            for _ in range(3):
                opened += (end.detach() for end in sockets.pair())
            opened += reversed(os.pipe())
            marks_size = -(-threads * _MARK_SIZE // mmap.PAGESIZE) * mmap.PAGESIZE
            opened.append(_anonymous_file(marks_size))
            self._marks_map = mmap.mmap(opened[-1], marks_size)
        except BaseException:
            for descriptor in opened:
                os.close(descriptor)
            raise
        keeper, data, control, life = opened[:8:2]
        self.theirs = [*opened[1:8:2], opened[8]]
        self.marks = memoryview(self._marks_map).cast("Q")
        self.keeper = sockets.of(keeper)
        self.data = sockets.of(data)
        self.control = sockets.of(control)
        self._life = life
        # The owner never waits for one worker: it may hang, or be waiting for the owner to read.
        for sock in (self.keeper, self.data, self.control):
            sock.setblocking(False)
        _all.add(self)

    def hand_over(self) -> None:
        """Close the worker's ends, because they have been sent, or never will be."""
        with no_signals():  # nobody would know of one that was taken out and not closed
            while self.theirs:
                os.close(self.theirs.pop())

    def hold(self) -> None:
        """Be no garbage until `release`: called when they are in the hands of a pool.

        A pool may be garbage, in a cycle, before it is closed. The collector finalises all that is
        in there, in any order: sockets of workers that the pool has just put by for others, too.
        """
        _held.add(self)

    def release(self) -> None:
        """Be garbage, and so closed, as soon as nobody has them any more."""
        _held.discard(self)

    def news(self) -> list[tuple[int, int]] | None:
        """Return what the server has said, kind and value; ``None`` when it is gone."""
        try:
            received = self.keeper.recv(REPLY.size * 4)
        except BlockingIOError:
            return []
        except OSError:
            return None
        return list(REPLY.iter_unpack(received)) or None

    def kill(self) -> None:
        """Have the server kill the worker; it knows that the process id still means this one."""
        with suppress(OSError):  # the server is gone: its end of file comes next
            self.keeper.send(KILL)

    def resume(self) -> None:
        """Have the server continue the worker, if somebody has stopped it."""
        with suppress(OSError):
            self.keeper.send(RESUME)

    def recall(self, batch: int) -> None:
        """Ask for the unstarted calls of a batch.

        The worker may be dead, and word of that is on its way; or it has left hundreds of recalls
        unread, because a call holds the GIL: then this batch runs to its end.
        """
        with suppress(OSError):
            self.control.send(wire.RECALL.pack(batch))

    def end_life(self) -> None:
        """Have the kernel kill the worker, if it still lives."""
        life, self._life = self._life, -1
        if life >= 0:
            os.close(life)
        self.control.close()

    def close(self) -> None:
        """Let go of everything; a worker that still lives is killed."""
        with no_signals():
            self._closed = True
            _all.discard(self)
            _held.discard(self)
            self.hand_over()
            self.end_life()
            self.keeper.close()
            self.data.close()
            self.marks.release()
            self._marks_map.close()

    def __del__(self) -> None:
        # An exception came before they were in anybody's hands, or while they were let go of. Not
        # twice: a Ctrl-C that is held back meanwhile would come in here, where nobody sees it.
        if hasattr(self, "_life") and not self._closed:
            self.close()

    def _after_fork(self) -> None:
        self.hand_over()
        self.end_life()
        self.keeper.close()
        self.data.close()


#: Added to and discarded from by their owners; a set's methods are atomic.
_all: weakref.WeakSet[WorkerEnds] = weakref.WeakSet()

#: Those that are in the hands of open pools; added to and discarded from in the same way.
_held: set[WorkerEnds] = set()


def there_are() -> bool:
    """Whether any worker may live."""
    return bool(_all)


def _after_fork() -> None:
    """In a child of the user's: it must not keep alive workers that belong to its parent."""
    for ends in list(_all):
        ends._after_fork()
    _all.clear()
    _held.clear()


forks.in_child(_after_fork)


def _anonymous_file(size: int) -> int:
    """Return a descriptor of shared memory without a name: nothing to leak, no tracker."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("poolwise-marks", os.MFD_CLOEXEC)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, size)
    return descriptor
