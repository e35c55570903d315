"""A `concurrent.futures.Executor` whose workers are chosen by measurement."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Executor as StandardExecutor
from concurrent.futures import Future
from multiprocessing.context import BaseContext
from time import perf_counter
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from _poolwise_worker import forks
from poolwise.errors import PlanRefused, TransferError
from poolwise.executor.again import retries_of
from poolwise.executor.dispatcher import GRACE_AFTER_INTERRUPT, Dispatcher
from poolwise.executor.future import CallFuture
from poolwise.executor.guards import guards_of
from poolwise.executor.naming import known_options
from poolwise.executor.options import run_options, standard_threads
from poolwise.executor.results import Results
from poolwise.executor.routing import make_router
from poolwise.executor.shortage import refuse_what_no_system_starts
from poolwise.executor.stats import ExecutorStats
from poolwise.executor.submission import Submission
from poolwise.executor.workers import worker_options
from poolwise.machine import this_machine
from poolwise.plan import Plan
from poolwise.task import Refusal
from poolwise.units import Seconds, real, whole

#: How long calls wait is noted for so many in the beginning, then for one in so many: reading the
#: clock twice for every call would cost a short one some per cent.
_ALL_OF, _ONE_IN = 256, 16

P = ParamSpec("P")
T = TypeVar("T")


class Executor(StandardExecutor):
    """Runs calls in threads or processes; a drop-in for the standard executors.

    Under ``mechanism="auto"`` calls begin in threads; functions whose calls turn out to compute
    while they hold the GIL move to processes. Nothing runs in the caller's thread.

    Args:
        max_workers: Threads of a thread plan, processes of a process plan; under ``"auto"`` also
            the most calls at once.
        mp_context: A `multiprocessing` context: workers are processes, started by its method;
            nothing else of it is used. A text here is a `thread_name_prefix`, as in
            `ThreadPoolExecutor`.
        initializer: Called once in each worker, thread or process, before its first call. If it
            raises, no call runs any more: `InitializerFailed`.
        initargs: Its arguments.
        max_tasks_per_child: A worker process is replaced after so many calls; under ``"auto"``
            workers are processes then.
        thread_name_prefix: Threads are called this, an underscore and a number.
        start_method: ``"forkserver"``, ``"spawn"`` or ``"fork"``; chosen by default.
        mechanism: ``"auto"``, ``"inline"`` (one call at a time, in one thread of the executor),
            ``"thread"`` or ``"process"``.
        plan: A `Plan` or its text, instead of the others.
        threads_per_worker: Calls at once inside each process.
        max_concurrency: Calls at once over all workers, under every plan.
        retries: How often a call is run again whose worker died after the call had started; by
            itself then, in a worker with one thread. Calls that had not started always move on.
        retry_on: An exception type, or a tuple of them, that is a reason to run a call again too.
        task_timeout: Seconds that one call may run, from its own start; then its worker is killed
            and replaced, and the call fails with `TaskTimeout`.
        memory_limit: Private bytes, or a text such as ``"2GB"``, that a worker may grow by; then it
            is killed and replaced, and the call fails with `MemoryLimitExceeded`.
        kill_on_cancel: `cancel` of the future of a running call kills its worker, which is
            replaced; so does the end of an `asyncio.wait_for`.
        isolate: Nothing that a call does may reach this process: worker processes only.
        idle_timeout: Seconds that worker processes wait for the next executor after the shutdown;
            by default they end with it.

    `task_timeout`, `memory_limit` and `kill_on_cancel` need one call per worker: ``"auto"`` takes
    that. Leaving a ``with`` block waits for all calls; after Ctrl-C half a second, then they are
    ended.

    Raises:
        TypeError: an option of the wrong type.
        ValueError: an option out of range, or two that contradict each other.
        PlanRefused: threads, where an option needs processes with one call each.

    >>> with Executor(max_workers=2) as pool:
    ...     pool.submit(pow, 2, 10).result()
    1024
    """

    _dispatcher: Dispatcher | None = None

    @known_options("poolwise.Executor")
    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | str | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        max_tasks_per_child: int | None = None,
        thread_name_prefix: str = "",
        start_method: str | None = None,
        mechanism: str = "auto",
        plan: Plan | str | None = None,
        threads_per_worker: int | None = None,
        max_concurrency: int | None = None,
        retries: int = 0,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] = (),
        task_timeout: float | None = None,
        memory_limit: int | str | None = None,
        kill_on_cancel: bool = False,
        isolate: bool = False,
        idle_timeout: Seconds = 0.0,
    ) -> None:
        number = whole(max_workers)
        if number is not None and number <= 0:  # in the standard executors' words
            raise ValueError(f"max_workers must be greater than 0, not {number}")
        guards = guards_of(task_timeout, memory_limit, kill_on_cancel, isolate)
        self._workers = worker_options(
            mp_context=mp_context,
            initializer=initializer,
            initargs=initargs,
            max_tasks_per_child=max_tasks_per_child,
            thread_name_prefix=thread_name_prefix,
            start_method=start_method,
            guards=guards,
            idle_timeout=idle_timeout,
        )
        if (
            mechanism == "auto"
            and plan is None
            and _is_a_process_pool(mp_context, max_tasks_per_child)
        ):
            mechanism = "process"
        default = standard_threads() if mechanism == "thread" and plan is None else None
        self._options = run_options(
            this_machine(),
            mechanism=mechanism,
            plan=plan,
            max_workers=default if max_workers is None else max_workers,
            threads_per_worker=threads_per_worker,
            max_concurrency=max_concurrency,
            guards=guards,
        )
        pinned = self._options.plan
        if pinned is not None:
            _check_plan(pinned, mp_context)
        self._killable = kill_on_cancel
        self._retries = retries_of(retries, retry_on)
        self._concurrency = make_router(this_machine(), self._options).concurrency
        # Guards the order of "is it shut down, has it ended?" and what is done because of the
        # answer. Reentrant: a signal handler or a finalizer may submit a call while it interrupts
        # a submission.
        self._lock = threading.RLock()
        self._shut_down = False
        self._submitted = 0  # guarded by the lock
        self._earlier = ExecutorStats()  # of dispatchers before this one
        _executors.add(self)

    @property
    def _max_workers(self) -> int:
        """Calls at once; other libraries read it."""
        return self._concurrency

    @property
    def size(self) -> int:
        """Calls that may run at once."""
        return self._concurrency

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` run, and return its future.

        Raises:
            TypeError: `fn` is not callable.
            RuntimeError: the executor has been shut down, or the system has no thread left.
            InitializerFailed: the initializer raised in a worker.
        """
        if not callable(fn):
            raise TypeError(f"fn takes a callable, not {fn!r}")
        future: CallFuture[T] = CallFuture()
        submission = Submission(future, fn, args, kwargs)
        with self._lock:
            if self._shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            dispatcher = self._dispatcher
            if dispatcher is not None and dispatcher.broken is not None:
                raise dispatcher.broken.again()
            if dispatcher is None or dispatcher.ended:
                dispatcher = self._start()
            self._submitted = number = self._submitted + 1
            if not number % _ONE_IN or number <= _ALL_OF:
                submission.arrived = perf_counter()
            if self._killable:
                future.kill = dispatcher.kill_call
            dispatcher.submit(submission)
        return future

    def _start(self) -> Dispatcher:
        router = make_router(this_machine(), self._options)
        self._earlier = self.stats()
        # Known before it starts, for whoever interrupts this and submits.
        dispatcher = Dispatcher(router, self._workers, self._retries, self._lock)
        self._dispatcher = dispatcher
        try:
            dispatcher.start()
        except BaseException:
            self._dispatcher = None
            raise
        return dispatcher

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Results[T]:
        """Apply `fn` to the inputs, starting at once; results come in order.

        All inputs are drawn at once, unless `buffersize` bounds how many are ahead of the results
        taken. `chunksize` is accepted for compatibility: batches adapt to the calls. Iteration
        can go on after an exception. Closing the results, or letting go of results that have
        begun to be read, cancels what has not started.

        Raises:
            TimeoutError: from the results, if one is not there `timeout` seconds after this call.
            ValueError: `chunksize` or `buffersize` is below 1.
            TypeError: `fn` is not callable, or an option has the wrong type.
        """
        inputs = zip(*iterables, strict=False)
        return self.starmap(fn, inputs, timeout=timeout, chunksize=chunksize, buffersize=buffersize)

    def starmap(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        *,
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Results[T]:
        """Apply `fn` to each tuple of arguments; all else is as in `map`."""
        if not callable(fn):
            raise TypeError(f"fn takes a callable, not {fn!r}")
        if timeout is not None and real(timeout) is None:
            raise TypeError(f"timeout takes a number of seconds or None, not {timeout!r}")
        _check_chunksize(chunksize)
        seconds = None if timeout is None else real(timeout)
        return Results(self.submit, fn, iterable, seconds, _buffersize(buffersize))

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False, grace: float | None = None
    ) -> None:
        """Take no more calls; finish those that are there, or cancel those not started.

        With `wait`, return when all calls have ended and all workers are gone. What has not ended
        after `grace` seconds is ended: what waits is cancelled, the futures of calls that run fail
        with `WorkersKilled`, and worker processes are killed. Threads cannot be: theirs go on, and
        nobody waits for them.

        Raises:
            TypeError, ValueError: `grace` is no number of seconds from 0 on.
            RuntimeError: with `wait`, in a call or callback that this executor runs itself.
        """
        if grace is not None:
            grace = _grace(grace)
        with self._lock:
            self._shut_down = True
            dispatcher = self._dispatcher
        if dispatcher is None:
            return
        dispatcher.stop(grace)
        if cancel_futures:  # which runs callbacks of the user's: not under the lock
            dispatcher.cancel_all()
        if wait:
            dispatcher.join()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Nobody who presses Ctrl-C wants to wait for calls that may last for hours; workers leave
        # that signal to this process.
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.shutdown(cancel_futures=True, grace=GRACE_AFTER_INTERRUPT)
        else:
            self.shutdown()

    def stats(self) -> ExecutorStats:
        """Return how many calls wait, run and have ended, how many workers died, and how long
        calls waited and took; from any thread, at any time.

        >>> with Executor(2) as pool:
        ...     pool.submit(pow, 2, 10).result()
        ...     (pool.stats().done, pool.stats().failed, pool.stats().restarts)
        1024
        (1, 0, 0)
        """
        with self._lock:
            dispatcher, earlier = self._dispatcher, self._earlier
        return earlier if dispatcher is None else dispatcher.stats(earlier)

    def terminate_workers(self) -> None:
        """End the workers now, and with them what they run; take no more calls.

        As `kill_workers`: worker processes do not end by SIGTERM, which a terminal or a service
        manager sends to all of a group, so here they are killed too.
        """
        self._end_now("terminate_workers")

    def kill_workers(self) -> None:
        """Kill the workers, and with them what they run; take no more calls.

        Futures of calls that run fail with `WorkersKilled`, those of calls that wait are
        cancelled. Returns at once; `shutdown` waits for the end. Under ``"auto"`` calls may run
        in threads, which cannot be killed: their futures fail too, and nobody waits for them.

        Raises:
            PlanRefused: the plan has only threads.
        """
        self._end_now("kill_workers")

    def _end_now(self, how: str) -> None:
        plan = self._options.plan
        if plan is not None and plan.mechanism != "process":
            reason = f"{how} cannot end threads"
            remedy = "use a process plan, or shutdown(cancel_futures=True)"
            raise PlanRefused(str(plan), Refusal(reason, remedy))
        self.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            dispatcher = self._dispatcher
        if dispatcher is not None:
            dispatcher.kill(how)

    def __del__(self, at_end: Callable[[], bool] = sys.is_finalizing) -> None:
        # Nobody can submit or shut down any more: finish what is there and end. At the end of the
        # interpreter all has ended, and modules are being taken apart.
        if self._dispatcher is not None and not at_end():
            self._dispatcher.stop()

    def __reduce__(self) -> tuple[Any, ...]:
        # Or what is named as the culprit is a lock in here, which nobody could do without.
        raise TransferError(
            "an executor stays in its process; make another inside of the call, or submit from here"
        )

    def _after_fork(self) -> None:
        """In a child of the user's, which has none of the threads: begin anew."""
        self._lock = threading.RLock()
        self._dispatcher = None


def _is_a_process_pool(mp_context: object, max_tasks_per_child: int | None) -> bool:
    """Whether what only `ProcessPoolExecutor` takes was given: then processes are what is meant."""
    context = mp_context is not None and not isinstance(mp_context, str)
    return context or max_tasks_per_child is not None


def _check_plan(plan: Plan, mp_context: object) -> None:
    if plan.mechanism == "process":
        refuse_what_no_system_starts(plan, this_machine())  # threads start on demand
    elif mp_context is not None and not isinstance(mp_context, str):
        raise ValueError(f"mp_context= says processes, and the plan {plan}; give one or the other")


def _check_chunksize(chunksize: int) -> None:
    number = whole(chunksize)
    if number is None:
        raise TypeError(f"chunksize takes a whole number of at least 1, not {chunksize!r}")
    if number < 1:  # in the words of the standard executors
        raise ValueError(f"chunksize must be >= 1, not {number}")


def _buffersize(buffersize: int | None) -> int | None:
    number = whole(buffersize)
    if buffersize is not None and number is None:
        raise TypeError(f"buffersize must be an integer or None, not {buffersize!r}")
    if number is not None and number < 1:
        raise ValueError(f"buffersize must be None or > 0, not {number}")
    return number


def _grace(grace: float) -> Seconds:
    seconds = real(grace)
    if seconds is None:
        raise TypeError(f"grace takes a number of seconds, or None for no limit, not {grace!r}")
    if not seconds >= 0:
        raise ValueError(f"grace takes seconds from 0 on, not {grace!r}")
    return seconds


_executors: weakref.WeakSet[Executor] = weakref.WeakSet()


def _after_fork() -> None:
    for executor in list(_executors):
        executor._after_fork()


forks.in_child(_after_fork)
