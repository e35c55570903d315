"""Worker processes, each running one call at a time or several in threads.

How a call travels: `send` pickles the columns of a batch and writes one frame to the data socket
of the worker that has the least to do; the worker's frames come back through `_hear`. What a
worker had started when it died is read from its start marks, a page of shared memory into which
it writes the number of each call before it runs it.

Word that a worker has ended comes from the fork server, which is its parent. If the server dies,
its workers live on as *orphans*, and the end of their data socket is the word.
"""

from __future__ import annotations

import os
import selectors
import socket
from collections import deque
from contextlib import suppress
from functools import partial

from _poolwise_worker import transfer, wire
from _poolwise_worker.server import ENDED, FAILED, KILL, STARTED
from poolwise.ipc import Inbox
from poolwise.mechanisms import fork_server
from poolwise.mechanisms.module_state import module_state
from poolwise.mechanisms.protocol import Sink, WorkerOptions
from poolwise.mechanisms.receive import outcomes_of, unreadable
from poolwise.task import Batch, BatchId, Exit, Refusal, Task, TaskTraits
from poolwise.timing.clock import SystemClock
from poolwise.units import Seconds

#: So many workers in a row may die before they are ready; then the pool has failed. One may be
#: bad luck (memory was short for a moment); more is a fault that a new worker will meet too.
_STILLBORN = 3


class _Sent:
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


class _Worker:
    """The caller's view of one worker process."""

    def __init__(self, number: int, ends: fork_server.WorkerEnds) -> None:
        self.number = number
        self.ends = ends
        self.reader = wire.FrameReader(ends.data)
        self.outgoing: deque[_Outgoing] = deque()
        self.sent: dict[BatchId, _Sent] = {}
        self.recalls: list[BatchId] = []  # to be sent when nothing is outgoing
        self.tasks: set[int] = set()
        self.pid = 0
        self.ready = False
        self.orphan = False

    def started(self, sent: _Sent) -> int:
        """Return how many calls of a batch have started, those that have outcomes included."""
        first, last = wire.mark(sent.batch.id), wire.mark(sent.batch.id, wire.POSITION)
        position = max(
            (mark - first for mark in self.ends.marks if first <= mark <= last), default=-1
        )
        return max(sent.begin, min(position + 1, sent.end))


class ProcessPool:
    """Worker processes from the fork server. Everything here belongs to the owner."""

    def __init__(self, options: WorkerOptions, sink: Sink, inbox: Inbox) -> None:
        self._options = options
        self._sink = sink
        self._inbox = inbox
        self._channel: socket.socket | None = None  # opened when the first worker is asked for
        self._replies = bytearray()
        self._workers: dict[int, _Worker] = {}
        self._numbers = 0
        self._waiting: deque[Batch] = deque()
        self._task_frames: dict[int, bytes] = {}
        self._stillborn = 0
        self._owner_process = os.getpid()
        self._closed = False

    @property
    def workers(self) -> int:
        """Processes that live or are being started."""
        return len(self._workers)

    def grow(self, workers: int) -> None:
        """Ask for workers; they answer when they are ready.

        Raises:
            TransferError: a function that they are to know cannot be pickled.
            RuntimeError: the pool is closed.
        """
        if self._closed:
            raise RuntimeError("the pool is closed")
        for task in self._options.tasks:
            self._task_frame(task)
        payload = fork_server.surroundings(self._options.threads_per_worker)
        try:
            for _ in range(workers):
                self._start(payload)
        except OSError as error:
            # A pool with fewer workers than asked for works; one without any has failed.
            self._inbox.post(partial(self._fail_if_empty, error))

    def send(self, batch: Batch, /) -> None:
        """Hand the batch to the worker with the least to do; keep it until one is ready.

        Raises:
            TransferError: the function itself cannot be pickled.
            RuntimeError: the pool is closed.
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
                self._recall(worker, worker.sent[batch])
                return

    def close(self, *, grace: Seconds | None) -> None:
        """Have each worker finish the call it runs and exit; kill those that outlast `grace`."""
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        try:
            # In a process that the user has forked, all this is a copy; the workers, and the
            # sockets as such, are its parent's.
            if self._owner_process == os.getpid():
                self._end_workers(grace)
        finally:
            if self._channel is not None:
                self._channel.close()
            for worker in self._workers.values():
                worker.ends.close()
            self._workers.clear()

    # ---- starting -------------------------------------------------------------------------

    def _start(self, payload: bytes) -> None:
        number = self._numbers
        self._numbers += 1
        worker = _Worker(number, self._request(number, payload))
        self._workers[number] = worker
        self._listen(worker, selectors.EVENT_READ)
        for task in self._options.tasks:
            self._introduce(worker, task)
        self._write(worker, wire.pack(wire.PRIME, 0))

    def _request(self, number: int, payload: bytes) -> fork_server.WorkerEnds:
        threads = self._options.threads_per_worker
        try:
            return fork_server.WorkerEnds(self._server(), number, threads, payload)
        except ConnectionError:
            if self._channel is None:
                raise  # not even a new server could be reached
            # The server has died, a fault like another: workers live on, new ones come from a
            # new one.
            self._lose_server()
        if self._closed:
            raise ConnectionError("the pool was closed by what the loss was reported to")
        return fork_server.WorkerEnds(self._server(), number, threads, payload)

    def _server(self) -> socket.socket:
        if self._channel is None:
            channel = fork_server.open_channel()
            try:
                self._inbox.watch(channel.fileno(), selectors.EVENT_READ, self._hear_server)
            except BaseException:
                channel.close()
                raise
            self._channel = channel
            self._replies.clear()
            if any(b"cloudpickle" in frame for frame in self._task_frames.values()):
                # Each worker would spend 20 ms on it, more than on all the rest of its start.
                fork_server.preload(self._channel, "cloudpickle")
        return self._channel

    def _lose_server(self) -> None:
        assert self._channel is not None
        self._inbox.unwatch(self._channel.fileno())
        self._channel.close()
        self._channel = None
        # One death, however many workers were being started; a server that dies again and again
        # before any worker is ready must not be started for ever.
        self._stillborn += 1
        workers = list(self._workers.values())
        for worker in workers:
            worker.orphan = True
        for worker in workers:
            # Without a process id, it may never have been forked.
            if worker.number in self._workers and (worker.reader.closed or not worker.pid):
                self._bury(worker, Exit(worker.pid))

    def _task_frame(self, task: Task) -> bytes:
        frame = self._task_frames.get(task.id)
        if frame is None:
            try:
                pickled = transfer.dumps((task.function, module_state(task.function)))
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
            ready = [
                worker
                for worker in self._workers.values()
                if worker.ready and not worker.reader.closed
            ]
            if not ready:
                return
            worker = min(ready, key=lambda each: len(each.sent))
            batch = self._waiting.popleft()
            self._introduce(worker, batch.task)
            worker.sent[batch.id] = _Sent(batch)
            self._write(worker, _encode(batch), batch.id)

    def _write(self, worker: _Worker, frame: bytes, batch: BatchId = 0) -> None:
        sent = 0
        if not worker.outgoing:
            try:
                sent = worker.ends.data.send(frame)
            except BlockingIOError:
                pass
            except OSError:
                return  # it is dead, and word of that is on its way
            if sent == len(frame):
                return
            self._listen(worker, selectors.EVENT_READ | selectors.EVENT_WRITE)
        worker.outgoing.append(_Outgoing(frame, sent, batch))

    def _write_on(self, worker: _Worker) -> None:
        while worker.outgoing:
            frame = worker.outgoing[0]
            try:
                sent = worker.ends.data.send(frame.rest)
            except BlockingIOError:
                return
            except OSError:
                worker.outgoing.clear()
                break
            frame.begun = True
            if sent < len(frame.rest):
                frame.rest = frame.rest[sent:]
                return
            worker.outgoing.popleft()
        self._listen(worker, selectors.EVENT_READ)
        late_recalls, worker.recalls = worker.recalls, []
        for batch in late_recalls:
            self._send_recall(worker, batch)

    def _recall(self, worker: _Worker, sent: _Sent) -> None:
        batch = sent.batch
        for frame in worker.outgoing:
            if frame.batch == batch.id and not frame.begun:
                worker.outgoing.remove(frame)
                del worker.sent[batch.id]
                self._sink.returned(batch.id, 0, len(batch))
                return
        sent.recalled = True
        self._send_recall(worker, batch.id)
        if worker.outgoing:
            # Perhaps nobody there can tell yet which batch it is that arrives.
            worker.recalls.append(batch.id)

    def _send_recall(self, worker: _Worker, batch: BatchId) -> None:
        # It may be dead, and word of that is on its way; or it has left hundreds of recalls
        # unread, because a call holds the GIL: then this batch runs to its end.
        with suppress(OSError):
            worker.ends.control.send(wire.RECALL.pack(batch))

    def _listen(self, worker: _Worker, events: int) -> None:
        self._inbox.watch(worker.ends.data.fileno(), events, partial(self._hear, worker))

    # ---- hearing --------------------------------------------------------------------------

    def _hear(self, worker: _Worker) -> None:
        """The data socket can be read or written."""
        if worker.outgoing:
            self._write_on(worker)
        if worker.reader.read():
            self._take_in_all(worker)
        if worker.reader.closed and worker.number in self._workers:
            self._inbox.unwatch(worker.ends.data.fileno())
            if worker.orphan:  # nobody will tell us how it ended
                self._bury(worker, Exit(worker.pid))
        self._hand_out()

    def _take_in_all(self, worker: _Worker) -> None:
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
            self._send_singly(worker, sent, bytes(frame.payload))
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

    def _send_singly(self, worker: _Worker, sent: _Sent, why: bytes) -> None:
        """Send a batch that did not unpickle again, so that only the call at fault fails."""
        batch, count = sent.batch, len(sent.batch)
        if not sent.singly and not sent.recalled:
            sent.singly = True
            self._write(worker, _encode_singly(batch), batch.id)
            return
        del worker.sent[batch.id]
        if sent.recalled:  # the worker found nothing that could be given back
            self._sink.returned(batch.id, 0, count)
        else:
            self._sink.done(batch.id, 0, unreadable(batch.task, count, why.decode()))

    def _hear_server(self) -> None:
        for kind, number, value in self._server_replies():
            worker = self._workers.get(number)
            if worker is None:
                continue
            if kind == STARTED:
                worker.pid = value
            elif kind == ENDED:
                while worker.reader.read():  # its last words
                    self._take_in_all(worker)
                self._bury(worker, _exit_of(worker.pid, value))
            elif kind == FAILED:
                self._bury(worker, Exit(0), OSError(value, os.strerror(value)))
        self._hand_out()

    def _server_replies(self) -> list[tuple[int, int, int]]:
        assert self._channel is not None
        try:
            received = self._channel.recv(1 << 14)
        except OSError:
            received = b""
        if not received:
            self._lose_server()
            return []
        self._replies += received
        size = fork_server.REPLY.size
        whole = len(self._replies) // size * size
        replies = list(fork_server.REPLY.iter_unpack(bytes(self._replies[:whole])))
        del self._replies[:whole]
        return replies

    # ---- dying ----------------------------------------------------------------------------

    def _bury(self, worker: _Worker, exit: Exit, cause: OSError | None = None) -> None:
        """Settle every batch of a dead worker, and start another in its place.

        Each report may make the owner close this pool; nothing is reported after that.
        """
        if self._closed:
            return
        del self._workers[worker.number]
        self._inbox.unwatch(worker.ends.data.fileno())
        started = {batch: worker.started(sent) for batch, sent in worker.sent.items()}
        worker.ends.close()
        for batch, sent in worker.sent.items():
            if started[batch] > sent.begin and not self._closed:
                self._sink.lost(batch, sent.begin, started[batch] - sent.begin, exit)
            if sent.end > started[batch] and not self._closed:
                self._sink.returned(batch, started[batch], sent.end - started[batch])
        if worker.ready and not self._closed:
            self._sink.gone(worker.number, exit)
        elif not worker.orphan:
            self._stillborn += 1
        if self._closed:
            return
        if cause is None and self._stillborn < _STILLBORN:
            self.grow(1)
        else:
            self._fail_if_empty(cause or RuntimeError(f"workers die before they are ready: {exit}"))

    def _fail_if_empty(self, error: BaseException) -> None:
        if self._closed or self._workers:
            return
        waiting, self._waiting = self._waiting, deque()
        for batch in waiting:
            if not self._closed:
                self._sink.returned(batch.id, 0, len(batch))
        if not self._closed:
            self._sink.failed(error)

    def _end_workers(self, grace: Seconds | None) -> None:
        """Ask all workers to end, wait for that, and kill those that outlast `grace`.

        What they still send is read and dropped: a worker that waits to be read never ends.
        """
        clock = SystemClock()
        until = None if grace is None else clock.now() + grace
        left, late = dict(self._workers), False
        with selectors.PollSelector() as ends:
            if self._channel is not None:
                self._inbox.unwatch(self._channel.fileno())
                ends.register(self._channel, selectors.EVENT_READ)
            for worker in left.values():
                self._inbox.unwatch(worker.ends.data.fileno())
                ends.register(worker.ends.data, selectors.EVENT_READ, worker)
                _ask_to_end(worker)
            while left:
                patience = None if until is None else until - clock.now()
                if patience is not None and patience <= 0:
                    self._kill(left)
                    until, late = None, True
                    continue
                for key, _ in ends.select(patience):
                    if key.data is None:
                        self._note_ends(left)
                        if self._channel is None:
                            ends.unregister(key.fileobj)
                    elif not _drop_what_came(key.data):
                        ends.unregister(key.fileobj)
                if late and self._channel is None:
                    self._kill(left)  # the server died before it could
                for worker in [each for each in left.values() if each.orphan]:
                    if worker.ends.data.fileno() not in ends.get_map():
                        del left[worker.number]

    def _note_ends(self, left: dict[int, _Worker]) -> None:
        for kind, number, value in self._server_replies():
            if kind == STARTED and number in left:
                left[number].pid = value
            elif kind in (ENDED, FAILED):
                left.pop(number, None)

    def _kill(self, left: dict[int, _Worker]) -> None:
        """Kill through the server, which knows that a process id still means this worker.

        Orphans have no such parent. The kernel kills them at the end of their life pipe, within
        milliseconds; there is no word of it to wait for.
        """
        for number, worker in list(left.items()):
            if worker.orphan or self._channel is None:
                worker.ends.end_life()
                del left[number]
                continue
            with suppress(OSError):  # its end of file comes next
                self._channel.sendall(fork_server.REQUEST.pack(KILL, number, 0))


def _ask_to_end(worker: _Worker) -> None:
    """Close the sending direction, and recall everything: the worker ends after what it runs."""
    with suppress(OSError):  # dead already, or hung, and then it outlasts the grace
        worker.ends.control.send(wire.RECALL.pack(wire.ALL))
    with suppress(OSError):
        worker.ends.data.shutdown(socket.SHUT_WR)


def _drop_what_came(worker: _Worker) -> bool:
    """Read without looking; False at the end."""
    try:
        return bool(worker.ends.data.recv(1 << 16))
    except BlockingIOError:
        return True
    except OSError:
        return False


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
