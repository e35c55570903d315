"""The caller's view of one worker process: what was sent to it, and what is still to be sent."""

from __future__ import annotations

import selectors
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from _poolwise_worker import wire
from poolwise.mechanisms.definitions import Definitions
from poolwise.mechanisms.servers import Server
from poolwise.mechanisms.worker_ends import WorkerEnds
from poolwise.task import Batch, BatchId, Task
from poolwise.units import Seconds


class Sent:
    """A batch at a worker. Calls below `begin` have outcomes, those from `end` on came back."""

    __slots__ = ("batch", "begin", "end", "recalled", "singly")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.begin = 0
        self.end = len(batch)
        self.recalled = False
        self.singly = False


class _Outgoing:
    """A frame of which not all is written yet; `batch` is 0 where it is not a batch."""

    __slots__ = ("batch", "begun", "rest")

    def __init__(self, frame: bytes, written: int, batch: BatchId) -> None:
        self.rest = memoryview(frame)[written:]
        self.begun = written > 0
        self.batch = batch


class WorkerLink:
    """One worker, of one pool or of none. Belongs to the pool's owner; idle, to the stock."""

    def __init__(
        self, ends: WorkerEnds, server: Server, threads: int, siblings: int, *, spawned: bool
    ) -> None:
        self.ends = ends
        self.server = server
        self.threads = threads
        self.siblings = siblings  # libraries in it keep to its share of the CPUs
        self.spawned = spawned
        self.reader = wire.FrameReader(ends.data)
        self.sent: dict[BatchId, Sent] = {}
        self.number = 0  # in its pool
        self.pid = 0
        self.ready = False
        self.orphan = False  # its server is gone: nobody will tell how it ends
        self.reused = False  # it was idle, and may have ended itself at that very moment
        self.calls = 0  # that were ever sent to it
        self.leaving = False  # it gets nothing more, and ends
        self.told = b""  # the surroundings that it has taken on
        self.knows = Definitions()
        self._tasks: set[int] = set()
        self._outgoing: deque[_Outgoing] = deque()
        self._recalls: list[BatchId] = []  # to be sent once more, when nothing is outgoing
        #: Called when the events to wait for at the data socket change. Set by the pool.
        self.listen: Callable[[int], None] = _nobody

    @property
    def writing(self) -> bool:
        """Whether something is still to be written."""
        return bool(self._outgoing)

    # ---- sending ---------------------------------------------------------------------------

    def leave_pool(self) -> None:
        """Belong to no pool."""
        self.listen = _nobody

    def adopt(self, surroundings: bytes) -> None:
        """Tell it what it is to look like, unless it knows."""
        if surroundings != self.told:
            self.told = surroundings
            self._write(wire.pack(wire.ADOPT, 0, surroundings))

    def introduce(self, task: Task, frame: bytes) -> None:
        """Make a task known, unless it is."""
        if task.id not in self._tasks:
            self._tasks.add(task.id)
            self.knows.note()
            self._write(frame)

    def prime(self, initializer: bytes) -> None:
        """Ask for a sign of life, which comes when all that was sent before has been read, and the
        initializer has run, if there is one.
        """
        self._write(wire.pack(wire.PRIME, 0, initializer))

    def rest(self, seconds: Seconds) -> None:
        """Let it forget its tasks, and end itself if it hears nothing for so long."""
        self._tasks.clear()
        self.ready = False
        self._write(wire.pack(wire.REST, 0, service=seconds))

    def send(self, batch: Batch, frame: bytes) -> None:
        """Send a batch."""
        self.sent[batch.id] = Sent(batch)
        self.calls += len(batch)
        self._write(frame, batch.id)

    def send_again(self, sent: Sent, frame: bytes) -> None:
        """Send a batch once more, in another form."""
        sent.singly = True
        self._write(frame, sent.batch.id)

    def take_back(self, sent: Sent) -> bool:
        """Ask for what has not started; true if nothing was sent yet, and now never will be."""
        batch = sent.batch.id
        for frame in self._outgoing:
            if frame.batch == batch and not frame.begun:
                self._outgoing.remove(frame)
                return True
        sent.recalled = True
        self.ends.recall(batch)
        if self._outgoing:
            # Perhaps nobody there can tell yet which batch it is that arrives.
            self._recalls.append(batch)
        return False

    def ask_to_end(self) -> None:
        """Recall everything and close the sending direction: it ends after what it runs."""
        self.ends.recall(wire.ALL)
        with suppress(OSError):
            self.ends.data.shutdown(socket.SHUT_WR)

    def write_on(self) -> None:
        """Write what is left, as far as that goes without waiting."""
        while self._outgoing:
            frame = self._outgoing[0]
            try:
                sent = self.ends.data.send(frame.rest)
            except BlockingIOError:
                return
            except OSError:
                self._outgoing.clear()
                break
            frame.begun = True
            if sent < len(frame.rest):
                frame.rest = frame.rest[sent:]
                return
            self._outgoing.popleft()
        self.listen(selectors.EVENT_READ)
        late_recalls, self._recalls = self._recalls, []
        for batch in late_recalls:
            self.ends.recall(batch)

    def _write(self, frame: bytes, batch: BatchId = 0) -> None:
        sent = 0
        if not self._outgoing:
            try:
                sent = self.ends.data.send(frame)
            except BlockingIOError:
                pass
            except OSError:
                return  # it is dead, and word of that is on its way
            if sent == len(frame):
                return
            self.listen(selectors.EVENT_READ | selectors.EVENT_WRITE)
        self._outgoing.append(_Outgoing(frame, sent, batch))

    # ---- hearing ---------------------------------------------------------------------------

    def started(self, sent: Sent) -> int:
        """Return how many calls of a batch have started, those that have outcomes included."""
        first, last = wire.mark(sent.batch.id), wire.mark(sent.batch.id, wire.POSITION)
        position = max(
            (mark - first for mark in self.ends.marks if first <= mark <= last), default=-1
        )
        return max(sent.begin, min(position + 1, sent.end))

    def drop_what_came(self) -> bool:
        """Read without looking; false at the end."""
        try:
            return bool(self.ends.data.recv(1 << 16))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def is_silent(self) -> bool:
        """Whether the worker lives and has nothing to say."""
        try:
            self.ends.data.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False


def _nobody(events: int) -> None:
    """Listen to a worker that belongs to no pool."""
