"""The caller's view of one worker process: what was sent to it, and what is still to be sent."""

from __future__ import annotations

import math
import os
import select
from _socket import MSG_PEEK, SHUT_WR, socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from weakref import ref

from _poolwise_worker import wire
from _poolwise_worker.exchange import Exchange
from _poolwise_worker.front_door import send_with
from _poolwise_worker.transfer import Pickling
from poolwise.mechanisms import said
from poolwise.mechanisms.definitions import Definitions
from poolwise.mechanisms.encoding import Encoder, Packed
from poolwise.mechanisms.servers import Server
from poolwise.mechanisms.side_door import SideDoor
from poolwise.mechanisms.surroundings import Surroundings
from poolwise.mechanisms.worker_ends import WorkerEnds
from poolwise.task import Batch, BatchId, EndReason, Task
from poolwise.timing.clock import cpu_of
from poolwise.units import Bytes, Seconds


class Sent:
    """A batch at a worker. Calls below `begin` have outcomes, those from `end` on came back. If the
    worker had nothing, `at` is when it began to be sent, until its first outcomes come.
    """

    __slots__ = ("at", "batch", "begin", "end", "recalled", "singly")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.begin = 0
        self.end = batch.calls
        self.recalled = False
        self.singly = False
        self.at: Seconds | None = None


class _Outgoing:
    """A frame of which not all is written yet; `batch` is 0 where it is not a batch.

    Its descriptors go with its first byte, and are closed then.
    """

    __slots__ = ("batch", "descriptors", "done", "frame")

    def __init__(self, frame: bytes, descriptors: Sequence[int], batch: BatchId) -> None:
        self.frame = frame
        self.done = 0  # bytes that are written
        self.descriptors = descriptors
        self.batch = batch

    def send(self, sock: socket) -> bool:
        """Send what goes; whether that was all.

        Raises:
            BlockingIOError: nothing goes now.
            OSError: the worker is gone.
        """
        rest = memoryview(self.frame)[self.done :] if self.done else self.frame
        if self.descriptors:
            self.done += send_with(sock, rest, self.descriptors)
            self.let_go()
        else:
            self.done += sock.send(rest)
        return self.done == len(self.frame)

    def let_go(self) -> None:
        """Close the descriptors, which are sent or never will be."""
        descriptors, self.descriptors = self.descriptors, ()
        for descriptor in descriptors:
            os.close(descriptor)


#: Memory for arguments that an idle worker keeps, in bytes: that of all workers is 64 MB, or twice
#: that if there are as many idle as may be. New pages take several times as long as writing to
#: those that are there, so a map that follows would feel it; and there is no thread here that could
#: give all back later.
_KEPT = (64 << 20) // (os.cpu_count() or 1)

#: What a worker computes at rest, at most: it gives back memory.
_AT_REST: Seconds = 5e-3


class WorkerLink:
    """One worker, of one pool or of none. Belongs to the pool's owner; idle, to the stock."""

    def __init__(
        self,
        ends: WorkerEnds,
        server: Server,
        threads: int,
        siblings: int,
        way: Pickling,
        arena_limit: Bytes,
    ) -> None:
        self.ends = ends
        self.server = server
        self.threads = threads
        self.siblings = siblings  # libraries in it keep to its share of the CPUs
        self.spawned = False  # in an interpreter of its own
        self.exchange = Exchange(way, lambda: arena_limit, self._announce)
        self.reader = wire.FrameReader(ends.data)
        self.sent: dict[BatchId, Sent] = {}
        self.number = 0  # in its pool
        self.pid = 0
        self.ready = False
        self.counted = False  # its pool has said that it is ready
        self.orphan = False  # its server is gone: nobody will tell how it ends
        self.reused = False  # it was idle, and has not said a word since
        self.calls = 0  # that were sent to it, but for those that came back unstarted
        self.end_reason: EndReason | None = None  # why it was killed, or is about to be
        self.unable: OSError | None = None  # what it lacks, and so cannot begin
        self.leaving = False  # it gets nothing more, and ends
        self.closed = False
        self.told = Surroundings(b"", b"")  # what it has taken on
        self._cpu: Seconds = 0.0  # that it had used when it was to rest
        self.knows = Definitions()
        self._tasks: dict[int, ref[Task]] = {}
        self._outgoing: deque[_Outgoing] = deque()
        self._recalls: list[BatchId] = []  # to be sent once more, when nothing is outgoing
        self._side_door: SideDoor | None = None
        #: Called when the events to wait for at the data socket change. Set by the pool.
        self.listen: Callable[[int], None] = _nobody

    @property
    def takes_calls(self) -> bool:
        """Whether it may be sent something: one about to be killed would take it along."""
        return self.ready and not (self.reader.closed or self.leaving) and self.end_reason is None

    @property
    def load(self) -> tuple[bool, int]:
        """What orders workers by what they have to do. Last is one that runs a call for so long
        that what waited behind it was taken back.
        """
        return any(sent.recalled for sent in self.sent.values()), len(self.sent)

    @property
    def writing(self) -> bool:
        """Whether something is still to be written."""
        return bool(self._outgoing)

    # ---- sending ---------------------------------------------------------------------------

    def leave_pool(self) -> None:
        """Belong to no pool."""
        self.listen = _nobody

    def adopt(self, surroundings: Surroundings) -> None:
        """Tell it its part of the machine, then what it is to look like, unless it knows."""
        told, self.told = self.told, surroundings
        if surroundings.part != told.part:
            self._write(wire.pack(wire.PART, 0, surroundings.part))
        if surroundings.looks != told.looks:
            self._write(wire.pack(wire.ADOPT, 0, surroundings.looks))

    def introduce(self, task: Task, encoder: Encoder) -> None:
        """Make a task known, unless it is.

        Raises:
            TransferError: the function itself cannot be pickled.
        """
        if task.id not in self._tasks:
            packed = encoder.task(task)
            self._forget_tasks()
            self._tasks[task.id] = ref(task)
            self.knows.note(encoder.noted)
            self._write(*packed)

    def _forget_tasks(self) -> None:
        """Have it forget tasks that are gone: no batch of theirs is under way or will come."""
        for gone in [number for number, task in self._tasks.items() if task() is None]:
            del self._tasks[gone]
            self._write(wire.pack(wire.FORGET, gone))

    def prime(self, packed: Packed) -> None:
        """Ask for a sign of life, which comes when all that was sent before has been read."""
        self._write(*packed)

    def rest(self, seconds: Seconds) -> None:
        """Let it forget its tasks, and end itself if it hears nothing for so long."""
        self._tasks.clear()
        # The worker's own page; but it has nothing, so it writes there only when it has read REST.
        self.ends.marks[0] = 0
        self._cpu = _cpu_of(self.pid)
        self.exchange.trim(_KEPT)
        self.ready = False
        self._write(wire.pack(wire.REST, 0, service=seconds))

    @property
    def rested(self) -> bool:
        """Whether it has read that it may rest, and has done so: then no thread is in its way that
        a call may have left behind, and which holds the GIL.
        """
        return self.ends.marks[0] == wire.RESTED and _cpu_of(self.pid) < self._cpu + _AT_REST

    def send(self, batch: Batch, packed: Packed) -> Sent:
        """Send a batch."""
        sent = self.sent[batch.id] = Sent(batch)
        self.calls += sent.end
        self._write(*packed, batch.id)
        return sent

    def side_door(self, task: Task) -> SideDoor | None:
        """Return a way for other threads to send a batch of this task, if the worker is idle and
        knows it.
        """
        if self.sent or self._outgoing or not self.takes_calls or task.id not in self._tasks:
            return None
        if self._side_door is None:
            try:
                self._side_door = SideDoor(self)
            except OSError:  # no descriptor is left
                return None
        return self._side_door

    def was_sent(self, batch: Batch) -> None:
        """Note a batch that went through the side door."""
        sent = self.sent[batch.id] = Sent(batch)
        self.calls += sent.end

    def write_rest(self, frame: bytes, done: int, batch: BatchId) -> None:
        """Write what did not go through the side door."""
        if not self.closed and batch in self.sent:
            self._write(frame, (), batch, done)

    def send_again(self, sent: Sent, packed: Packed) -> None:
        """Send a batch once more, in another form."""
        sent.singly = True
        self._write(*packed, sent.batch.id)

    def take_back(self, sent: Sent) -> bool:
        """Ask for what has not started; true if nothing was sent yet, and now never will be."""
        batch = sent.batch.id
        for frame in self._outgoing:
            if frame.batch == batch and not frame.done:
                self._outgoing.remove(frame)
                frame.let_go()
                self.exchange.drop_unsent(memoryview(frame.frame)[wire.HEADER.size :])
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
            self.ends.data.shutdown(SHUT_WR)

    def kill(self, reason: EndReason) -> None:
        """End it now, whatever it does; word of that comes as of any death."""
        self.end_reason = reason
        if self.orphan:
            self.ends.end_life()
        else:
            self.ends.kill()

    def release(self) -> None:
        """Tell which slots of the worker's arena are free again."""
        released = self.exchange.released()
        if released:
            self._write(wire.pack(wire.RELEASED, 0, released))

    def write_on(self) -> None:
        """Write what is left, as far as that goes without waiting."""
        while self._outgoing:
            try:
                if not self._outgoing[0].send(self.ends.data):
                    return
            except BlockingIOError:
                return
            except OSError:
                self._drop_outgoing()
                break
            self._outgoing.popleft()
        self.listen(select.POLLIN)
        late_recalls, self._recalls = self._recalls, []
        for batch in late_recalls:
            self.ends.recall(batch)

    def _announce(self, descriptor: int) -> None:
        self._write(wire.pack(wire.ARENA, 0, descriptors=1), [descriptor])

    def _write(
        self, frame: bytes, descriptors: Sequence[int] = (), batch: BatchId = 0, done: Bytes = 0
    ) -> None:
        outgoing = _Outgoing(frame, descriptors, batch)
        outgoing.done = done
        if not self._outgoing:
            try:
                if outgoing.send(self.ends.data):
                    return
            except BlockingIOError:
                pass
            except OSError:
                outgoing.let_go()
                return  # it is dead, and word of that is on its way
            self.listen(select.POLLIN | select.POLLOUT)
        self._outgoing.append(outgoing)

    def _drop_outgoing(self) -> None:
        while self._outgoing:
            self._outgoing.popleft().let_go()

    # ---- hearing ---------------------------------------------------------------------------

    def started(self, sent: Sent) -> int:
        """Return how many calls of a batch have started, those that have outcomes included."""
        first, last = wire.mark(sent.batch.id), wire.mark(sent.batch.id, wire.POSITION)
        position = max(
            (mark - first for mark in self.ends.marks if first <= mark < last), default=-1
        )
        return max(sent.begin, min(position + 1, sent.end))

    def was_reading(self, sent: Sent) -> bool:
        """Whether a worker that is dead was taking the arguments of a whole batch apart."""
        return not sent.singly and wire.mark(sent.batch.id, wire.READING) in self.ends.marks

    def drop_what_came(self) -> bool:
        """Read once, and hear only what calls have said; false if there was nothing."""
        if not self.reader.read():
            return False
        while (frame := self.reader.pop()) is not None:
            if frame.kind in said.KINDS:
                said.hear(frame)
            frame.drop()
        return True

    def close(self) -> None:
        """Let go of everything; a worker that still lives is killed."""
        self.closed = True
        self._side_door = None
        self._drop_outgoing()
        self.reader.close()
        self.ends.close()
        self.exchange.close()

    def is_silent(self) -> bool:
        """Whether the worker lives and has nothing to say."""
        try:
            self.ends.data.recv(1, MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False


def _cpu_of(process: int) -> Seconds:
    try:
        return cpu_of(process)
    except OSError:  # it is gone, or nobody knows: then it has to answer first
        return math.inf


def _nobody(events: int) -> None:
    """Listen to a worker that belongs to no pool."""
