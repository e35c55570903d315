"""Worker processes, each running one call at a time or several in threads.

How a call travels: `send` pickles the columns of a batch and writes one frame to the data socket
of the worker that has the least to do; the worker's frames come back through `_hear`. What a
worker had started when it died is read from its start marks, a page of shared memory into which
it writes the number of each call before it runs it. ``docs/worker-protocol.md`` has a picture.

Word that a worker has ended comes from its server, which is its parent, over its keeper. If the
server dies, its workers live on as *orphans*, and the end of their data socket is the word.
"""

from __future__ import annotations

import itertools
import os
import select
from collections import deque
from collections.abc import Callable
from functools import partial
from time import perf_counter

from _poolwise_worker import buffers, wire
from _poolwise_worker.front_door import ENDED, FAILED, OVERGROWN, OVERTIME, STARTED
from poolwise.ipc import Inbox
from poolwise.mechanisms import idle_workers, said, servers
from poolwise.mechanisms.ending import end_workers
from poolwise.mechanisms.missing import Missing
from poolwise.mechanisms.protocol import Sink, WorkerOptions
from poolwise.mechanisms.receive import initializer_failed, outcomes_of, unreadable
from poolwise.mechanisms.recruiting import Recruiter
from poolwise.mechanisms.servers import Server
from poolwise.mechanisms.side_door import SideDoor
from poolwise.mechanisms.surroundings import Surroundings
from poolwise.mechanisms.worker_link import Sent, WorkerLink
from poolwise.task import Batch, BatchId, EndReason, Exit, Task
from poolwise.timing.clock import queued_of
from poolwise.units import Seconds

#: The bytes in an arena that a batch should need at most. A batch lasts some milliseconds; calls
#: that only look at 8 MB arrays would need hundreds of megabytes for that, and as much again for
#: the batch that is sent ahead. Pages that are made anew cost five times as much as those that are
#: in use (``benchmarks/bench_data.py``).
_BATCH_BYTES = 8 << 20


class ProcessPool:
    """Worker processes. Everything here belongs to the owner."""

    first_free = False  # a batch waits at the worker that it was sent to

    def __init__(self, options: WorkerOptions, sink: Sink, inbox: Inbox) -> None:
        self._options = options
        self._sink = sink
        self._inbox = inbox
        self._missing = Missing()
        self._recruiter = Recruiter(options, self._missing)
        self._workers: dict[int, WorkerLink] = {}
        self._numbers = itertools.count()
        #: Numbers of workers that others are to stand in for: nobody has been told of their end.
        self._vacant: list[int] = []
        self._waiting: deque[Batch] = deque()
        # Of those that wait, the ones whose reading killed a worker, perhaps: they go call by call,
        # so that only the call at fault is lost. Sent as a whole, they would kill every worker.
        self._suspects: set[BatchId] = set()
        self._one_call = options.one_call
        self._plain = not self._one_call and options.calls_per_worker is None
        #: Called before it is looked what workers have said: notes what went through side doors.
        self.catch_up: Callable[[], None] = _nothing
        #: Bytes in arenas for a recent call, of its arguments and of its result.
        self._sent_bytes = self._returned_bytes = 0.0
        #: Seconds to pickle a recent batch, to send and to read it, and for its outcomes to come.
        self.sending: Seconds = 0.0
        self._owner_process = os.getpid()
        self._closed = False

    @property
    def workers(self) -> int:
        """Processes that live or are being started."""
        return sum(not worker.leaving for worker in self._workers.values())

    @property
    def largest_batch(self) -> int:
        """So many calls that what they send and return stays in memory that is in use already."""
        return max(1, int(_BATCH_BYTES / max(1.0, self._sent_bytes + self._returned_bytes)))

    @property
    def queued(self) -> dict[int, Seconds] | None:
        """For how long each worker of one thread has had no CPU: 20 µs each to ask."""
        if self._options.threads_per_worker > 1:
            return None
        found: dict[int, Seconds] = {}
        for process in [each.pid for each in self._workers.values() if each.pid]:
            queued = queued_of(process)
            if queued is None:
                return None
            found[process] = queued
        return found

    @property
    def idle(self) -> int:
        """Workers that are ready and have nothing."""
        return sum(worker.takes_calls and not worker.sent for worker in self._workers.values())

    def grow(self, workers: int) -> None:
        """Ask for workers; they answer when they are ready.

        Raises:
            TransferError: a function that they are to know cannot be pickled.
            RuntimeError: the pool is closed.
        """
        if self._closed:
            raise RuntimeError("the pool is closed")
        self._missing.wanted += workers
        self._start_some(workers)

    def _start_some(self, workers: int) -> None:
        surroundings = self._recruiter.surroundings()
        try:
            for _ in range(workers):
                if not self._closed:  # by the sink, at the sight of the one before
                    self._start(surroundings)
        except OSError as error:
            self._inbox.post(partial(self._do_without, error))
        finally:
            self._recruiter.forget_beginning()

    def send(self, batch: Batch, /) -> None:
        """Hand the batch to the worker with the least to do; keep it until one is ready.

        Raises:
            TransferError: the function itself cannot be pickled.
            RuntimeError: the pool is closed.
        """
        if self._closed:
            raise RuntimeError("the pool is closed")
        self._recruiter.learn(batch.task)
        if self._missing.due(self.workers):
            self._start_some(1)
        self._waiting.append(batch)
        self._hand_out()

    def side_door(self, task: Task) -> SideDoor | None:
        """Return a way for other threads to an idle worker that knows the task; ``None`` if there
        is none, or something has to be seen to when calls are sent.
        """
        if self._closed or self._waiting or not self._plain or self._missing.any_of(self.workers):
            return None
        for worker in self._workers.values():
            door = worker.side_door(task)
            if door is not None:
                return door
        return None

    def take_back(self, batch: BatchId, /) -> None:
        """Ask the worker that has the batch for what it has not started."""
        for queued in self._waiting:
            if queued.id == batch:
                self._waiting.remove(queued)
                self._sink.returned(batch, 0, queued.calls)
                return
        for worker in self._workers.values():
            sent = worker.sent.get(batch)
            if sent is not None:
                if worker.take_back(sent):
                    del worker.sent[batch]
                    worker.calls -= sent.batch.calls
                    self._sink.returned(batch, 0, sent.batch.calls)
                return

    def kill(self, batch: BatchId, /) -> None:
        """Kill the worker that has the batch, if workers have one call; give back one that waits.

        A worker that has sent its outcome, and so has no call, is killed in vain: it is replaced.
        """
        if not self._one_call or any(queued.id == batch for queued in self._waiting):
            self.take_back(batch)
            return
        for worker in self._workers.values():
            if batch in worker.sent:
                worker.kill("cancelled")
                return

    def nothing_more(self) -> None:
        """Do nothing: who is idle is kept for the next pool, when this one is closed."""

    def close(self, *, grace: Seconds | None) -> None:
        """Keep idle workers for the next pool; have the others finish the call that they run and
        exit, and kill those that outlast `grace`.
        """
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        self._recruiter.close()
        # In a process that the user has forked, all this is a copy; the workers, and the sockets
        # as such, are its parent's.
        ours = self._owner_process == os.getpid()
        for worker in self._workers.values():
            worker.ends.release()  # first of all: what an exception leaves behind from here on
        workers, self._workers = list(self._workers.values()), {}  # is garbage, and ends itself
        left = []
        try:
            if ours:
                for worker in workers:
                    self._ignore(worker)
                    worker.leave_pool()
                    if not idle_workers.put(worker, self._recruiter.idle_timeout):
                        left.append(worker)
                end_workers(left, grace)
        finally:
            for worker in left if ours else workers:
                worker.close()

    def __del__(self) -> None:
        # An exception came where it would have been closed.
        for worker in list(getattr(self, "_workers", {}).values()):
            worker.ends.release()

    # ---- starting -------------------------------------------------------------------------

    def _start(self, surroundings: Surroundings) -> None:
        worker = self._recruiter.worker()
        worker.counted = bool(self._vacant)
        worker.number = self._vacant.pop() if self._vacant else next(self._numbers)
        self._workers[worker.number] = worker
        worker.ends.hold()
        try:
            self._begin_with(worker, surroundings)
        except OSError:  # no descriptor for what it is to be told, say: it would wait for ever
            worker.ends.release()
            del self._workers[worker.number]
            self._ignore(worker)
            worker.close()
            if worker.counted:
                self._vacant.append(worker.number)
            raise

    def _begin_with(self, worker: WorkerLink, surroundings: Surroundings) -> None:
        tasks, initializer = self._options.tasks, self._options.initializer
        encoder = self._recruiter.encoder_of(worker)
        worker.listen = partial(self._listen, worker)
        worker.listen(select.POLLIN)
        keeper = worker.ends.keeper.fileno()
        self._inbox.watch(keeper, select.POLLIN, partial(self._hear_keeper, worker))
        worker.release()
        worker.adopt(surroundings)
        for task in tasks:
            worker.introduce(task, encoder)
        if worker.reused and worker.rested:  # an answer would only cost the time it takes
            self._count(worker)
        else:
            worker.prime(encoder.prime(initializer))

    def _count(self, worker: WorkerLink) -> None:
        """It may have calls from now on."""
        worker.ready = True
        self._missing.one_is_ready()
        if not worker.counted:
            worker.counted = True
            self._sink.ready(worker.number)

    # ---- sending --------------------------------------------------------------------------

    def _hand_out(self) -> None:
        while self._waiting:
            batch = self._waiting[0]
            worker = self._least_busy(batch.calls)
            if worker is None:
                if self._options.calls_per_worker is not None:
                    self._replace_used_up()
                return
            self._waiting.popleft()
            encoder = self._recruiter.encoder_of(worker)
            worker.introduce(batch.task, encoder)
            suspect = batch.id in self._suspects
            encode = encoder.singly if suspect else encoder.batch
            idle, began = not worker.sent, perf_counter()
            packed = encode(batch, worker.exchange)
            placed = buffers.placed(packed.frame, wire.HEADER.size)
            self._sent_bytes = _follow(self._sent_bytes, placed / batch.calls)
            sent = worker.send(batch, packed)
            sent.at = began if idle else None
            if suspect:
                self._suspects.remove(batch.id)
                sent.singly = True

    def _least_busy(self, calls: int) -> WorkerLink | None:
        """Return the worker to send so many calls to; ``None`` if none may have them.

        Where a worker may be killed for its call, it has no other: that one might begin, once the
        first is over, before the kill comes. The owner sends no more than there are workers, but
        one of them may be dying.
        """
        most = self._options.calls_per_worker
        best = None
        for worker in self._workers.values():
            if not worker.takes_calls or (self._one_call and worker.sent):
                continue
            if most is not None and worker.calls and worker.calls + calls > most:
                continue  # the first batch is never too many
            if best is None or worker.load < best.load:
                best = worker
        return best

    def _replace_used_up(self) -> None:
        """Replace the workers that may have no more calls."""
        for worker in list(self._workers.values()):
            if worker.takes_calls and not worker.sent:
                self._replace(worker)

    def _replace(self, worker: WorkerLink) -> None:
        """Start another in the place of one that has had its share of calls, under its number."""
        self._vacant.append(worker.number)
        del self._workers[worker.number]
        worker.number = next(self._numbers)
        self._workers[worker.number] = worker
        worker.leaving = True
        worker.ask_to_end()
        self._start_some(1)

    def _listen(self, worker: WorkerLink, events: int) -> None:
        self._inbox.watch(worker.ends.data.fileno(), events, partial(self._hear, worker))

    def _ignore(self, worker: WorkerLink) -> None:
        self._inbox.unwatch(worker.ends.data.fileno())
        self._inbox.unwatch(worker.ends.keeper.fileno())

    # ---- hearing --------------------------------------------------------------------------

    def _hear(self, worker: WorkerLink) -> None:
        """The data socket can be read or written."""
        if worker.writing:
            worker.write_on()
        if worker.reader.read():
            self.catch_up()  # after reading: what an outcome is of was noted before it was written
            self._take_in_all(worker)
            if worker.number in self._workers:
                worker.release()
        if worker.reader.closed and worker.number in self._workers:
            self._inbox.unwatch(worker.ends.data.fileno())
            self.catch_up()
            if worker.orphan:  # nobody will tell us how it ended
                self._bury(worker, Exit(worker.pid, reason=worker.end_reason))
        if self._waiting:
            self._hand_out()

    def _take_in_all(self, worker: WorkerLink) -> None:
        while not self._closed and (frame := worker.reader.pop()) is not None:
            worker.reused = False
            self._take_in(worker, frame)

    def _take_in(self, worker: WorkerLink, frame: wire.Frame) -> None:
        if frame.kind in (wire.DONE, wire.MIXED):
            self._take_outcomes(worker, frame)
        elif frame.kind == wire.RETURNED:
            self._take_returned(worker, frame)
        elif frame.kind == wire.UNREADABLE:
            self._send_singly(worker, worker.sent[frame.key], bytes(frame.payload))
        else:
            self._take_news(worker, frame)

    def _take_outcomes(self, worker: WorkerLink, frame: wire.Frame) -> None:
        sent, batch = worker.sent[frame.key], frame.key
        if sent.at is not None:
            took = perf_counter() - sent.at - frame.service
            # Shrinks at once: the user may have been away when they came.
            more = took - self.sending
            self.sending = max(0.0, self.sending + (0.25 * more if more > 0.0 else more))
            sent.at = None
        sent.begin = frame.first + frame.count
        if sent.begin == sent.end:
            del worker.sent[batch]
        placed = buffers.placed(frame.payload)
        self._returned_bytes = _follow(self._returned_bytes, placed / frame.count)
        self._sink.done(batch, frame.first, outcomes_of(frame, sent.batch, worker.exchange))

    def _take_returned(self, worker: WorkerLink, frame: wire.Frame) -> None:
        sent, batch = worker.sent[frame.key], frame.key
        sent.end -= frame.count
        worker.calls -= frame.count
        if sent.begin == sent.end:
            del worker.sent[batch]
        self._sink.returned(batch, sent.end, frame.count)

    def _take_news(self, worker: WorkerLink, frame: wire.Frame) -> None:
        """Hear what is of no batch."""
        if frame.kind == wire.READY:
            worker.pid = frame.key
            self._count(worker)
        elif frame.kind == wire.ARENA:
            for descriptor in frame.descriptors:
                worker.exchange.accept(descriptor)
        elif frame.kind == wire.RELEASED:
            worker.exchange.free(frame.payload)
        elif frame.kind in said.KINDS:
            said.hear(frame)
        elif frame.kind == wire.UNABLE:
            worker.unable = OSError(frame.key, os.strerror(frame.key))
        elif frame.kind == wire.UNREADY:
            self._fail(initializer_failed(frame))

    def _send_singly(self, worker: WorkerLink, sent: Sent, why: bytes) -> None:
        """Send a batch that did not unpickle again, so that only the call at fault fails.

        If it was recalled while it was read, nothing of it could be given back: now all is. But
        not one call alone, which would go round for ever if it takes long to be read each time.
        """
        batch, count = sent.batch, sent.batch.calls
        given_back = sent.recalled and count > 1
        if not sent.singly and not given_back:
            encoder = self._recruiter.encoder_of(worker)
            worker.send_again(sent, encoder.singly(batch, worker.exchange))
            return
        del worker.sent[batch.id]
        if sent.singly:
            self._sink.done(batch.id, 0, unreadable(batch.task, count, why.decode()))
        else:
            worker.calls -= count
            self._sink.returned(batch.id, 0, count)

    def _hear_keeper(self, worker: WorkerLink) -> None:
        """Its server has something to say, or is gone."""
        news = worker.ends.news()
        self.catch_up()  # what a dead worker may have begun was noted before
        if news is None:
            self._lose_server(worker)
            return
        for kind, value in news:
            if self._closed:
                return
            if kind == STARTED:
                worker.pid, worker.server.is_up = value, True
            elif kind == ENDED:
                while worker.reader.read():  # its last words; nothing has been sent since
                    self._take_in_all(worker)
                self._bury(worker, _exit_of(worker, value))
            elif kind in _REASONS:
                worker.end_reason = _REASONS[kind]
            elif kind == FAILED:
                self._bury(worker, Exit(0), OSError(value, os.strerror(value)))
        self._hand_out()

    def _lose_server(self, worker: WorkerLink) -> None:
        self._inbox.unwatch(worker.ends.keeper.fileno())
        worker.orphan = True
        if self._recruiter.limits is not None:  # which nobody keeps any more
            worker.kill("unguarded")
        # Without a process id, it may never have been forked.
        if worker.reader.closed or not worker.pid:
            self._bury(worker, Exit(worker.pid))

    # ---- dying ----------------------------------------------------------------------------

    def _bury(self, worker: WorkerLink, exit: Exit, cause: OSError | None = None) -> None:
        """Settle every batch of a dead worker, and start another in its place.

        Each report may make the owner close this pool; nothing is reported after that.
        """
        if self._closed or worker.number not in self._workers:
            return
        worker.ends.release()
        del self._workers[worker.number]
        self._ignore(worker)
        if worker.leaving:
            worker.close()
            if not self._workers:  # none could be started in its place
                self._start_some(1)
            return
        cause = cause or worker.unable
        started = {batch: worker.started(sent) for batch, sent in worker.sent.items()}
        reading = {batch for batch, sent in worker.sent.items() if worker.was_reading(sent)}
        if exit.code and not reading and not any(started.values()):
            # It ended itself, and no call was at it: the frame that came next was too much for its
            # memory, say. Sent again and again, that would end one worker after another.
            reading = set(itertools.islice(worker.sent, 1))
        # It ended itself when it was about to be reused: nobody has to hear of that, and the next
        # stands in its place.
        idle = worker.reused and exit.code == 0 and not reading and not any(started.values())
        worker.close()
        for batch, sent in worker.sent.items():
            if idle and not sent.recalled:
                self._waiting.appendleft(sent.batch)
                continue
            if batch in reading and sent.batch.calls > 1:
                self._suspects.add(batch)
                self._waiting.appendleft(sent.batch)
                continue
            if batch in reading:
                started[batch] = sent.end
            if started[batch] > sent.begin and not self._closed:
                self._sink.lost(batch, sent.begin, started[batch] - sent.begin, exit)
            if sent.end > started[batch] and not self._closed:
                self._sink.returned(batch, started[batch], sent.end - started[batch])
        if worker.counted and (idle or not worker.ready):
            self._vacant.append(worker.number)
        if worker.ready:
            if not (idle or self._closed):
                self._sink.gone(worker.number, exit)
        elif worker.orphan and not worker.server.lives():
            # One death, however many workers were being started. A server that dies again and
            # again before any worker is ready must not be started for ever.
            self._missing.died_before_ready(worker.server)
        elif not worker.reused and cause is None:
            self._missing.died_before_ready(worker)
        if self._closed:
            return
        if cause is None and not self._missing.hopeless:
            self._start_some(1)
        else:
            self._do_without(cause or _never_ready(exit), worker.server)

    def _do_without(self, error: BaseException, server: Server | None = None) -> None:
        """Go on with the workers that there are. If there are none, try one by itself, because
        several may have taken from each other what is short; then the pool has failed.

        The next pool has another server then: this one has the limits of when it was started.
        """
        if self._closed:
            return
        self._missing.put_off()
        if self._workers:
            self._sink.fewer(error)
        elif self._missing.alone or self._missing.hopeless:
            if server is not None:
                servers.lost(server)
            self._fail(error)
        else:
            self._missing.alone = True
            self._start_some(1)

    def _fail(self, error: BaseException) -> None:
        """Say that no call will run here."""
        waiting, self._waiting = self._waiting, deque()
        for batch in waiting:
            if not self._closed:
                self._sink.returned(batch.id, 0, batch.calls)
        if not self._closed:
            self._sink.failed(error)


def _nothing() -> None:
    """Have no side doors to look after."""


def _follow(mean: float, new: float) -> float:
    """Return a mean over recent batches, which grows at once and shrinks slowly."""
    return new if new > mean else mean + 0.25 * (new - mean)


#: What the server says before it kills a worker by itself.
_REASONS: dict[int, EndReason] = {OVERTIME: "overtime", OVERGROWN: "overgrown"}


def _never_ready(exit: Exit) -> RuntimeError:
    return RuntimeError(
        f"workers die before they are ready; the last {exit}: standard error may say why"
    )


def _exit_of(worker: WorkerLink, status: int) -> Exit:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return Exit(worker.pid, signal=-code, reason=worker.end_reason)
    return Exit(worker.pid, code=code)
