"""Threads: several calls in one address space, in turn where they hold the GIL."""

from __future__ import annotations

import contextvars
import queue
import threading
import weakref
from functools import partial

from poolwise.ipc import Inbox
from poolwise.mechanisms.protocol import ANY_SIZE, Initializer, Readiness, Sink, WorkerOptions
from poolwise.mechanisms.quiescence import note_joined
from poolwise.mechanisms.running import Running, initialize, run_one
from poolwise.task import Batch, BatchId, Outcomes, Refusal, TaskTraits
from poolwise.timing.clock import SystemClock
from poolwise.units import Seconds

#: Finished outcomes wait at most about this long for their neighbours in a batch. Posting costs
#: a few µs, so this spends less than 1 % on it and delays a finished call by a millisecond.
_FLUSH_AFTER: Seconds = 1e-3


#: What threads without a call may take to end, in seconds. They need some 10 µs each; only one
#: whose initializer still runs takes longer, and is abandoned.
_IDLE_ENDS: Seconds = 0.1


class ThreadPool:
    """Threads that take batches from one queue.

    Shared with the worker threads: `_tokens` (safe by itself), and two dicts on which each side
    does single operations, which are atomic. `_queued` holds what no worker has taken: whoever
    pops an entry has it. `_running` holds what a worker has taken: only that worker adds and
    removes. A recall adds to `_recalled` *before* it looks into `_running`, a worker adds to
    `_running` *before* it looks into `_recalled`: one of them sees the other. All else belongs
    to the owner.

    Where nothing more is expected, threads end for which there is no batch without an end: those
    are idle, and wait for what is put into the queue, so it is they who take the ``None``.
    """

    largest_batch = ANY_SIZE
    sending: Seconds = 0.0
    queued = None  # to ask each thread takes more turns of the GIL than it is worth
    first_free = True
    idle = 0

    def __init__(self, options: WorkerOptions, sink: Sink, inbox: Inbox) -> None:
        self._initializer = options.initializer
        prefix = options.thread_name_prefix
        self._prefix = f"{prefix}_" if prefix else "poolwise-"
        self._sink = sink
        self._inbox = inbox
        self._tokens: queue.SimpleQueue[BatchId | None] = queue.SimpleQueue()
        self._queued: dict[BatchId, Batch] = {}
        self._running: dict[BatchId, Running] = {}
        self._recalled: set[BatchId] = set()
        self._wanted = 0
        self._serving = 0  # threads that have not been told to end
        self._threads: list[threading.Thread] = []  # all that may live
        self._open: dict[BatchId, _Open] = {}
        self._closed = False

    @property
    def workers(self) -> int:
        """Threads that there are, or will be when there is something for them to do."""
        return self._wanted

    def grow(self, workers: int) -> None:
        """Start threads. Each sees the context variables of the caller as they are now.

        Raises:
            RuntimeError: the pool is closed.
        """
        if self._closed:
            raise RuntimeError("the pool is closed")
        for _ in range(workers):
            number = self._wanted
            if self._closed or not self._start(number):  # closed by the sink, perhaps
                return
            self._wanted += 1
            if self._initializer is None:
                self._sink.ready(number)

    def _start(self, number: int) -> bool:
        """Start a thread; if there is none to be had, have the owner told, and return ``False``."""
        try:
            thread = threading.Thread(
                target=contextvars.copy_context().run,
                args=(_serve, weakref.ref(self), self._tokens, self._initializer, number),
                name=f"{self._prefix}{number}",
                daemon=True,  # an abandoned call must not keep the interpreter from ending
            )
        except RuntimeError as error:  # a subinterpreter may have no such threads
            return self._do_without(error)
        # Before it starts: Ctrl-C may come while that is waited for, and it must be told to end.
        self._threads.append(thread)
        self._serving += 1
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is ending
            self._threads.pop()
            self._serving -= 1
            return self._do_without(error)
        return True

    def _do_without(self, error: BaseException) -> bool:
        """Have the owner told. A pool with fewer workers than asked for works; one without any has
        failed.
        """
        report = self._sink.fewer if self._serving else self._fail
        self._inbox.post(partial(report, error))
        return False

    def send(self, batch: Batch, /) -> None:
        """Queue the batch; start a thread for it where one is wanted and is not there.

        Raises:
            RuntimeError: the pool is closed.
        """
        if self._closed:
            raise RuntimeError("the pool is closed")
        self._open[batch.id] = _Open(batch.calls)
        self._queued[batch.id] = batch
        self._tokens.put(batch.id)
        if self._serving < min(len(self._open), self._wanted):
            self._start(self._serving)

    def nothing_more(self) -> None:
        """Have idle threads end, but one: no other may be to be had. And none that an initializer
        has made ready: another would have to run it again.
        """
        idle = self._serving - max(1, len(self._open))
        if idle > 0 and self._initializer is None and not self._closed:
            self._serving -= idle
            for _ in range(idle):
                self._tokens.put(None)

    def take_back(self, batch: BatchId, /) -> None:
        """Take what has not started."""
        if batch not in self._open:
            return
        queued = self._queued.pop(batch, None)
        if queued is not None:
            self._return(batch, queued.calls)
            return
        self._recalled.add(batch)
        running = self._running.get(batch)
        if running is not None:
            # In this order: outcomes are posted, as those before them were, so the last calls of
            # the batch come back after all that ran.
            count = running.take_back()
            running.flush()
            self._inbox.post(partial(self._return, batch, count))

    def kill(self, batch: BatchId, /) -> None:
        """Do nothing: no thread can be killed."""

    def close(self, *, grace: Seconds | None) -> None:
        """Let each thread end after the call that it runs; drop what has not started."""
        if self._closed:
            return
        self._closed = True
        if not self._open and grace is not None:
            # What they use to end would be taken for what the next calls use.
            grace = max(grace, _IDLE_ENDS)
        self._open.clear()
        self._queued.clear()
        for running in list(self._running.values()):
            running.take_back()
        for _ in self._threads:  # for all that ever were: Ctrl-C may have come between two of these
            self._tokens.put(None)
        clock = SystemClock()
        until = None if grace is None else clock.now() + grace
        for thread in self._threads:
            if thread is threading.current_thread():
                continue
            try:
                thread.join(None if until is None else max(0.0, until - clock.now()))
            except RuntimeError:  # it has not begun yet
                continue
            if not thread.is_alive():
                note_joined(thread)
        self._threads.clear()
        self._wanted = self._serving = 0

    def __del__(self) -> None:
        # An exception came where it would have been closed: nobody else wakes those that are idle.
        for _ in getattr(self, "_threads", ()):
            self._tokens.put(None)

    def _run_queued(self, token: BatchId, clock: SystemClock) -> None:
        batch = self._queued.pop(token, None)
        if batch is not None:
            self._run(batch, clock)

    def _run(self, batch: Batch, clock: SystemClock) -> None:
        if batch.calls == 1:  # once it has begun, nothing of it can be taken back
            if self._closed:
                return
            self._post(batch.id, 0, run_one(batch, clock))
            return
        running = Running(batch, clock, partial(self._post, batch.id))
        self._running[batch.id] = running
        if batch.id in self._recalled or self._closed:
            self._inbox.post(partial(self._return, batch.id, running.take_back()))
        running.run(_FLUSH_AFTER)
        del self._running[batch.id]

    def _post(self, batch: BatchId, first: int, outcomes: Outcomes) -> None:
        self._inbox.post(partial(self._finish, batch, first, outcomes))

    # What follows runs in the owner's thread.

    def _announce(self, number: int) -> None:
        if not self._closed:
            self._sink.ready(number)

    def _finish(self, batch: BatchId, first: int, outcomes: Outcomes) -> None:
        if batch in self._open:
            self._settle(batch, len(outcomes.values))
            self._sink.done(batch, first, outcomes)

    def _return(self, batch: BatchId, count: int) -> None:
        if count and batch in self._open:
            entry = self._open[batch]
            entry.end -= count
            self._settle(batch, count)
            self._sink.returned(batch, entry.end, count)

    def _fail(self, error: BaseException) -> None:
        for batch in list(self._open):
            self.take_back(batch)
        if not self._closed:
            self._sink.failed(error)

    def _settle(self, batch: BatchId, count: int) -> None:
        entry = self._open[batch]
        entry.calls -= count
        if not entry.calls:
            del self._open[batch]
            self._recalled.discard(batch)


def _serve(
    pool: weakref.ref[ThreadPool],
    tokens: queue.SimpleQueue[BatchId | None],
    initializer: Initializer | None,
    number: int,
) -> None:
    """Run batches until told to stop; the outermost frame of a worker thread.

    While it is idle it does not hold the pool, and through it what calls reach: that may hold the
    run, which ends the threads when nobody holds it any more. Who wakes it: `close`, or the end of
    the pool itself.
    """
    _current.serves = True
    clock = SystemClock()
    failed = initialize(initializer)
    if (here := pool()) is not None:
        if failed is not None:
            here._inbox.post(partial(here._fail, failed))
            return
        if initializer is not None:
            here._inbox.post(partial(here._announce, number))
    while True:
        here = None
        token = tokens.get()
        if token is None or (here := pool()) is None:
            return
        try:
            here._run_queued(token, clock)
        except BaseException as error:
            # Only a fault of ours arrives here; the owner raises it, so no wait is left for ever.
            here._inbox.post(partial(_reraise, error))
            return


class _Current(threading.local):
    serves = False


_current = _Current()


def serves_a_pool() -> bool:
    """Whether the current thread is one of a pool's, and so runs a call."""
    return _current.serves


class _Open:
    """A batch some of whose calls have no end yet; those from `end` on have been returned."""

    __slots__ = ("calls", "end")

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self.end = calls


def _reraise(error: BaseException) -> None:
    raise error


class ThreadMechanism:
    """Runs what may run concurrently in one address space."""

    name = "thread"

    def refusal(self, traits: TaskTraits, /) -> Refusal | None:
        """Refuse tasks that two threads must not run at once."""
        return traits.concurrent

    def prepare(self, options: WorkerOptions, /) -> None:
        """Do nothing: there is nothing that cannot be done later."""

    def readiness(self, options: WorkerOptions, /) -> Readiness:
        """Return nothing: no pool leaves anything to the next."""
        return Readiness()

    def open(self, options: WorkerOptions, sink: Sink, inbox: Inbox, /) -> ThreadPool:
        """Return a pool without threads yet."""
        return ThreadPool(options, sink, inbox)
