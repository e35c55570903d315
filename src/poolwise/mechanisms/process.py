"""Worker processes, each running one call at a time or several in threads.

How a call travels: `send` pickles the columns of a batch and writes one frame to the data socket
of the worker that has the least to do; the worker's frames come back through `_hear`. What a
worker had started when it died is read from its start marks, a page of shared memory into which
it writes the number of each call before it runs it.
"""

from __future__ import annotations

import os
import selectors
import signal
from collections import deque
from functools import partial

from _poolwise_worker import transfer, wire
from _poolwise_worker.server import ENDED, FAILED, KILL, STARTED
from poolwise.ipc import Inbox
from poolwise.mechanisms import fork_server
from poolwise.mechanisms.protocol import Sink, WorkerOptions
from poolwise.mechanisms.receive import outcomes_of
from poolwise.task import Batch, BatchId, Exit, Refusal, Task, TaskTraits
from poolwise.timing.clock import SystemClock
from poolwise.units import Seconds

#: So many workers in a row may die before they are ready; then the pool has failed. One may be
#: bad luck (memory was short for a moment); more is a fault that a new worker will meet too.
_STILLBORN = 3


class _Sent:
    """A batch at a worker. Calls below `begin` have outcomes, those from `end` on came back."""

    __slots__ = ("batch", "begin", "end")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.begin = 0
        self.end = len(batch)


class _Worker:
    """The caller's view of one worker process."""

    def __init__(self, number: int, ends: fork_server.WorkerEnds) -> None:
        self.number = number
        self.ends = ends
        self.reader = wire.FrameReader(ends.data)
        self.outgoing: deque[memoryview] = deque()
        self.sent: dict[BatchId, _Sent] = {}
        self.tasks: set[int] = set()
        self.pid = 0
        self.ready = False

    def mark_of(self, batch: BatchId) -> int | None:
        """Return the position of the last call of `batch` that has started."""
        for mark in self.ends.marks:
            if mark >> wire.MARK_BITS == batch:
                return mark & wire.MAX_BATCH
        return None


class ProcessPool:
    """Worker processes from the fork server. Everything here belongs to the owner."""

    def __init__(self, options: WorkerOptions, sink: Sink, inbox: Inbox) -> None:
        self._options = options
        self._sink = sink
        self._inbox = inbox
        self._channel = fork_server.open_channel()
        self._inbox.watch(self._channel.fileno(), selectors.EVENT_READ, self._hear_server)
        self._replies = bytearray()
        self._server_alive = True
        self._workers: dict[int, _Worker] = {}
        self._numbers = 0
        self._waiting: deque[Batch] = deque()
        self._task_frames: dict[int, bytes] = {}
        self._stillborn = 0
        self._closed = False

    @property
    def workers(self) -> int:
        """Processes that live or are being started."""
        return len(self._workers)

    def grow(self, workers: int) -> None:
        """Ask for workers; they answer when they are ready."""
        payload = fork_server.surroundings(self._options.threads_per_worker)
        for _ in range(workers):
            number = self._numbers
            self._numbers += 1
            worker = _Worker(number, self._request(number, payload))
            self._workers[number] = worker
            self._inbox.watch(
                worker.ends.data.fileno(), selectors.EVENT_READ, partial(self._hear, worker)
            )
            for task in self._options.tasks:
                self._introduce(worker, task)
            self._write(worker, wire.pack(wire.PRIME, 0))

    def send(self, batch: Batch, /) -> None:
        """Hand the batch to the worker with the least to do; keep it until one is ready.

        Raises:
            TransferError: the function itself cannot be pickled.
        """
        if self._closed:
            raise RuntimeError("the pool is closed")
        self._task_frame(batch.task)
        self._waiting.append(batch)
        self._hand_out()

    def take_back(self, batch: BatchId, /) -> None:
        """Ask the worker that has the batch for what it has not started."""
        for queued in self._waiting:
            if queued.id == batch:
                self._waiting.remove(queued)
                self._sink.returned(batch, 0, len(queued))
                return
        for worker in self._workers.values():
            if batch in worker.sent:
                try:
                    worker.ends.control.send(wire.RECALL.pack(batch))
                except OSError:
                    pass  # it is dead, and word of that is on its way
                return

    def close(self, *, grace: Seconds | None) -> None:
        """Have each worker finish the call it runs and exit; kill those that outlast `grace`."""
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        for worker in self._workers.values():
            for batch in worker.sent:
                self.take_back(batch)
            self._inbox.unwatch(worker.ends.data.fileno())
            try:
                worker.ends.data.shutdown(1)  # SHUT_WR: it exits when it has nothing left
            except OSError:
                pass
        self._inbox.unwatch(self._channel.fileno())
        self._await_ends(grace)
        self._channel.close()
        for worker in self._workers.values():
            worker.ends.close()
        self._workers.clear()

    # ---- starting -------------------------------------------------------------------------

    def _request(self, number: int, payload: bytes) -> fork_server.WorkerEnds:
        try:
            if self._server_alive:
                return fork_server.WorkerEnds(self._channel, number, payload)
        except ConnectionError:
            pass
        # The server has died, a fault like another: workers live on, new ones come from a new one.
        self._inbox.unwatch(self._channel.fileno())
        self._channel.close()
        self._channel = fork_server.open_channel()
        self._server_alive = True
        self._replies.clear()
        self._inbox.watch(self._channel.fileno(), selectors.EVENT_READ, self._hear_server)
        return fork_server.WorkerEnds(self._channel, number, payload)

    def _task_frame(self, task: Task) -> bytes:
        frame = self._task_frames.get(task.id)
        if frame is None:
            try:
                pickled = transfer.dumps(task.function)
            except Exception as error:
                from poolwise.errors import TransferError

                raise TransferError(
                    f"{task.name} cannot be pickled: {transfer.describe(error)}"
                ) from error
            frame = self._task_frames[task.id] = wire.pack(wire.TASK, task.id, pickled)
        return frame

    def _introduce(self, worker: _Worker, task: Task) -> None:
        if task.id not in worker.tasks:
            worker.tasks.add(task.id)
            self._write(worker, self._task_frame(task))

    # ---- sending --------------------------------------------------------------------------

    def _hand_out(self) -> None:
        while self._waiting:
            ready = [worker for worker in self._workers.values() if worker.ready]
            if not ready:
                return
            worker = min(ready, key=lambda each: len(each.sent))
            batch = self._waiting.popleft()
            self._introduce(worker, batch.task)
            worker.sent[batch.id] = _Sent(batch)
            self._write(worker, _encode(batch))

    def _write(self, worker: _Worker, frame: bytes) -> None:
        if not worker.outgoing:
            try:
                sent = worker.ends.data.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # it is dead, and word of that is on its way
            if sent == len(frame):
                return
            self._listen(worker, selectors.EVENT_READ | selectors.EVENT_WRITE)
            worker.outgoing.append(memoryview(frame)[sent:])
        else:
            worker.outgoing.append(memoryview(frame))

    def _write_on(self, worker: _Worker) -> None:
        while worker.outgoing:
            rest = worker.outgoing[0]
            try:
                sent = worker.ends.data.send(rest)
            except BlockingIOError:
                return
            except OSError:
                worker.outgoing.clear()
                break
            if sent < len(rest):
                worker.outgoing[0] = rest[sent:]
                return
            worker.outgoing.popleft()
        self._listen(worker, selectors.EVENT_READ)

    def _listen(self, worker: _Worker, events: int) -> None:
        self._inbox.watch(worker.ends.data.fileno(), events, partial(self._hear, worker))

    # ---- hearing --------------------------------------------------------------------------

    def _hear(self, worker: _Worker) -> None:
        """The data socket can be read or written."""
        if worker.outgoing:
            self._write_on(worker)
        self._read(worker)
        if worker.reader.closed and worker.number in self._workers:
            self._inbox.unwatch(worker.ends.data.fileno())
            if not self._server_alive:  # nobody will tell us how it ended
                self._bury(worker, Exit(worker.pid))
        self._hand_out()

    def _read(self, worker: _Worker) -> None:
        if worker.reader.read():
            while not self._closed and (frame := worker.reader.pop()) is not None:
                self._take_in(worker, frame)

    def _take_in(self, worker: _Worker, frame: wire.Frame) -> None:
        if frame.kind == wire.READY:
            worker.ready, worker.pid = True, frame.key
            self._stillborn = 0
            self._sink.ready(worker.number)
            return
        sent = worker.sent[frame.key]
        if frame.kind == wire.UNREADABLE:
            self._send_singly(worker, sent, frame)
            return
        if frame.kind == wire.RETURNED:
            sent.end -= frame.count
        else:
            sent.begin = frame.first + frame.count
        if sent.begin == sent.end:
            del worker.sent[frame.key]
        if frame.kind == wire.RETURNED:
            self._sink.returned(frame.key, sent.end, frame.count)
        else:
            self._sink.done(frame.key, frame.first, outcomes_of(frame, sent.batch.task))

    def _send_singly(self, worker: _Worker, sent: _Sent, frame: wire.Frame) -> None:
        """Send a batch that did not unpickle again, so that only the call at fault fails."""
        self._write(worker, _encode_singly(sent.batch))

    def _hear_server(self) -> None:
        for kind, number, value in self._server_replies():
            worker = self._workers.get(number)
            if worker is None:
                continue
            if kind == STARTED:
                worker.pid = value
            elif kind == ENDED:
                while worker.reader.read():  # its last words
                    pass
                while not self._closed and (frame := worker.reader.pop()) is not None:
                    self._take_in(worker, frame)
                self._bury(worker, _exit_of(worker.pid, value))
            elif kind == FAILED:
                self._bury(worker, Exit(0), OSError(value, os.strerror(value)))
        self._hand_out()

    def _server_replies(self) -> list[tuple[int, int, int]]:
        try:
            received = self._channel.recv(1 << 14)
        except OSError:
            received = b""
        if not received:
            self._server_alive = False
            self._inbox.unwatch(self._channel.fileno())
            for worker in list(self._workers.values()):
                if worker.reader.closed or not worker.pid:
                    self._bury(worker, Exit(worker.pid))
            return []
        self._replies += received
        size = fork_server.REPLY.size
        whole = len(self._replies) // size * size
        replies = list(fork_server.REPLY.iter_unpack(bytes(self._replies[:whole])))
        del self._replies[:whole]
        return replies

    # ---- dying ----------------------------------------------------------------------------

    def _bury(self, worker: _Worker, exit: Exit, cause: OSError | None = None) -> None:
        """Settle every batch of a dead worker, and start another in its place."""
        del self._workers[worker.number]
        self._inbox.unwatch(worker.ends.data.fileno())
        for batch, sent in worker.sent.items():
            mark = worker.mark_of(batch)
            started = sent.begin if mark is None else max(sent.begin, min(mark + 1, sent.end))
            if started > sent.begin:
                self._sink.lost(batch, sent.begin, started - sent.begin, exit)
            if sent.end > started:
                self._sink.returned(batch, started, sent.end - started)
        worker.ends.close()
        if self._closed:
            return
        if not worker.ready:
            self._stillborn += 1
        self._sink.gone(worker.number, exit)
        if cause is None and self._stillborn < _STILLBORN:
            self.grow(1)
        elif not self._workers:
            for queued in self._waiting:
                self._sink.returned(queued.id, 0, len(queued))
            self._waiting.clear()
            self._sink.failed(cause or RuntimeError(f"workers die before they are ready: {exit}"))

    def _await_ends(self, grace: Seconds | None) -> None:
        clock = SystemClock()
        until = None if grace is None else clock.now() + grace
        poll = selectors.DefaultSelector()
        poll.register(self._channel.fileno(), selectors.EVENT_READ)
        alive = set(self._workers)
        with poll:
            while alive and self._server_alive:
                left = None if until is None else until - clock.now()
                if left is not None and left <= 0:
                    for number in alive:
                        self._kill(self._workers[number])
                    until = left = None
                if poll.select(left):
                    alive -= {
                        number
                        for kind, number, _ in self._server_replies()
                        if kind in (ENDED, FAILED)
                    }
        for number in alive & self._workers.keys():
            self._kill(self._workers[number])

    def _kill(self, worker: _Worker) -> None:
        """Kill through the server, which knows that the process id still means this worker."""
        if self._server_alive:
            try:
                self._channel.sendall(fork_server.REQUEST.pack(KILL, worker.number, 0))
                return
            except OSError:
                self._server_alive = False
        if worker.pid:
            try:
                os.kill(worker.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def _exit_of(pid: int, status: int) -> Exit:
    code = os.waitstatus_to_exitcode(status)
    return Exit(pid, signal=-code) if code < 0 else Exit(pid, code=code)


def _encode(batch: Batch) -> bytes:
    try:
        payload = transfer.dumps(batch.columns)
    except Exception:
        return _encode_singly(batch)
    return wire.pack(wire.RUN, batch.id, payload, first=batch.task.id, count=len(batch))


def _encode_singly(batch: Batch) -> bytes:
    """Pickle each call by itself, so that one bad argument fails only its own call."""
    calls = []
    for arguments in zip(*batch.columns, strict=True):
        try:
            calls.append(transfer.dumps(arguments))
        except Exception as error:
            why = f"its arguments cannot be pickled: {transfer.describe(error)}"
            calls.append(transfer.dumps(transfer.Unsendable(why)))
    payload = transfer.dumps(calls)
    return wire.pack(wire.SINGLY, batch.id, payload, first=batch.task.id, count=len(batch))


class ProcessMechanism:
    """Runs what can be pickled, in isolation."""

    name = "process"

    def refusal(self, traits: TaskTraits, /) -> Refusal | None:
        """Refuse what cannot go to another process, or must not."""
        if not hasattr(os, "fork"):
            return Refusal("worker processes need a POSIX system", "use threads")
        return traits.elsewhere

    def open(self, options: WorkerOptions, sink: Sink, inbox: Inbox, /) -> ProcessPool:
        """Return a pool without processes yet."""
        return ProcessPool(options, sink, inbox)
