"""A `concurrent.futures.Executor` whose workers are chosen by measurement."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor as StandardExecutor
from concurrent.futures import Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

from poolwise.executor.dispatch import Dispatch
from poolwise.executor.options import RunOptions, run_options
from poolwise.executor.routing import LearningRouter
from poolwise.executor.submissions import Anywhere, Submission, Submissions
from poolwise.ipc import Inbox
from poolwise.machine import MachineProfile, this_machine
from poolwise.mechanisms import mechanism as mechanism_named
from poolwise.plan import Plan, check_count
from poolwise.timing.clock import SystemClock

P = ParamSpec("P")
T = TypeVar("T")


class Executor(StandardExecutor):
    """Runs calls in threads or processes; a drop-in for the standard executors.

    Under ``mechanism="auto"`` calls begin in threads; functions whose calls turn out to compute
    while they hold the GIL move to processes. Nothing runs in the caller's thread.

    Args:
        max_workers: Threads of a thread plan, processes of a process plan; under ``"auto"`` also
            the most calls at once.
        mechanism: ``"auto"``, ``"inline"`` (one call at a time, in one thread of the executor),
            ``"thread"`` or ``"process"``.
        plan: A `Plan` or its text, instead of the others.
        threads_per_worker: Calls at once inside each process.
        max_concurrency: Calls at once over all workers, under every plan.

    Raises:
        TypeError: an option of the wrong type.
        ValueError: an option out of range, or two that contradict each other.

    >>> with Executor(max_workers=2) as pool:
    ...     pool.submit(pow, 2, 10).result()
    1024
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        mechanism: str = "auto",
        plan: Plan | str | None = None,
        threads_per_worker: int | None = None,
        max_concurrency: int | None = None,
    ) -> None:
        machine = this_machine()
        options = run_options(
            machine,
            mechanism=mechanism,
            plan=plan,
            max_workers=max_workers,
            threads_per_worker=threads_per_worker,
            max_concurrency=max_concurrency,
        )
        self._dispatcher = _Dispatcher(machine, options)
        # Guards the order of "is it shut down?" and what is posted because of the answer.
        self._lock = threading.Lock()
        self._shut_down = False
        self._finalizer = weakref.finalize(self, self._dispatcher.stop)
        self._finalizer.atexit = False

    @property
    def _max_workers(self) -> int:
        """Calls at once; other libraries read it."""
        return self._dispatcher.concurrency

    @property
    def size(self) -> int:
        """Calls that may run at once."""
        return self._dispatcher.concurrency

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` run, and return its future.

        Raises:
            RuntimeError: the executor has been shut down.
        """
        future: Future[T] = Future()
        submission = Submission(future, fn, args, kwargs)
        with self._lock:
            if self._shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._dispatcher.submit(submission)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Apply `fn` to the inputs, starting at once; results come in order.

        All inputs are drawn at once, unless `buffersize` bounds how many are ahead of the results
        taken. `chunksize` is accepted for compatibility: batches adapt to the calls. Iteration
        can go on after an exception; an iterator that is let go cancels what has not started.

        Raises:
            TimeoutError: a result was not there `timeout` seconds after this call.
            ValueError: `chunksize` or `buffersize` is below 1.
        """
        check_count("chunksize", chunksize)
        if buffersize is not None:
            check_count("buffersize", buffersize)
        until = None if timeout is None else SystemClock().now() + timeout
        return _Results(self, fn, zip(*iterables, strict=False), until, buffersize)

    def starmap(self, fn: Callable[..., T], iterable: Iterable[Iterable[Any]]) -> Iterator[T]:
        """Apply `fn` to each tuple of arguments, starting at once; results come in order."""
        return _Results(self, fn, iter(iterable), None, None)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; finish those that are there, or cancel those not started.

        With `wait`, return when all workers have ended.
        """
        with self._lock:
            self._shut_down = True
            if cancel_futures:
                self._dispatcher.cancel_all()
            self._dispatcher.stop()
        if wait:
            self._dispatcher.join()


class _Dispatcher:
    """The thread that owns the dispatch of an executor. It must not hold the executor itself:
    an executor that nobody holds any more finishes its work and ends.

    `_thread` is set once, under the executor's lock. All else is the thread's own; others post.
    """

    def __init__(self, machine: MachineProfile, options: RunOptions) -> None:
        limits = options.limits
        self._plan = options.plan
        self._router: LearningRouter | Anywhere = Anywhere()
        if options.plan is None:
            cpus = machine.facts.whole_cpus
            threads = min(limits.max_concurrency, limits.max_workers or min(32, cpus + 4))
            processes = min(cpus, threads)
            self._plan = Plan("thread", threads)
            self._router = LearningRouter(
                machine, self._plan, Plan("process", processes, limits.threads_per_worker or 1)
            )
        assert self._plan is not None
        self.concurrency = min(
            self._plan.concurrency, options.max_concurrency or self._plan.concurrency
        )
        self._inbox = Inbox()
        self._submissions = Submissions(self._router)
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._dispatch = Dispatch(
            self._submissions,
            self._submissions,
            mechanisms=mechanism_named,
            inbox=self._inbox,
            clock=SystemClock(),
            max_concurrency=options.max_concurrency,
        )

    def submit(self, submission: Submission) -> None:
        """Queue a call; start the thread with the first. Under the executor's lock."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="poolwise-dispatcher")
            _at_exit(self)
            self._thread.start()
        self._inbox.post(partial(self._submissions.submit, submission))

    def cancel_all(self) -> None:
        """Cancel what has not started."""
        self._inbox.post(self._submissions.cancel_all)

    def stop(self) -> None:
        """Have the thread end when nothing is left to run. From any thread."""
        self._inbox.post(self._stop)

    def join(self) -> None:
        """Wait for the thread."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _stop(self) -> None:
        self._stopping = True

    def _serve(self) -> None:
        """Drive the dispatch until told to stop and nothing is left."""
        dispatch = self._dispatch
        try:
            if isinstance(self._router, LearningRouter):
                self._router.begin(dispatch)
            else:
                assert self._plan is not None
                dispatch.open(self._plan)
            while not (self._stopping and dispatch.finished):
                dispatch.fill()
                inline = [lane for lane in dispatch.lanes if lane.inline]
                ran = any(dispatch.send_next(lane) for lane in inline)
                if not (self._stopping and dispatch.finished):
                    dispatch.wait(0 if ran else None)
            for lane in list(dispatch.lanes):
                dispatch.retire(lane)
        except BaseException as error:
            # Nobody reads this thread's traceback; whoever waits for a future must.
            self._stopping = True
            self._submissions.fail_all(error)
        finally:
            dispatch.close()


class _Results(Iterator[T]):
    """The results of `Executor.map`, in order."""

    def __init__(
        self,
        executor: Executor,
        fn: Callable[..., T],
        arguments: Iterator[Iterable[Any]],
        until: float | None,
        buffersize: int | None,
    ) -> None:
        self._executor = executor
        self._fn = fn
        self._arguments = arguments
        self._until = until
        self._futures: deque[Future[T]] = deque()
        while buffersize is None or len(self._futures) < buffersize:
            if not self._submit_next():
                break

    def _submit_next(self) -> bool:
        for arguments in self._arguments:
            self._futures.append(self._executor.submit(self._fn, *arguments))
            return True
        return False

    def __next__(self) -> T:
        if not self._futures:
            raise StopIteration
        # The future leaves the queue first, so that its result lives no longer than its reader.
        future = self._futures.popleft()
        try:
            left = None if self._until is None else self._until - SystemClock().now()
            result = future.result(left)
        except TimeoutError:
            if not future.done():
                self.close()
            raise
        finally:
            if not self._executor._shut_down:
                self._submit_next()
            del future
        return result

    def close(self) -> None:
        """Cancel what has not started."""
        self._arguments = iter(())
        for future in self._futures:
            future.cancel()
        self._futures.clear()

    def __del__(self) -> None:
        for future in getattr(self, "_futures", ()):
            future.cancel()


#: Dispatchers whose threads may have work at interpreter exit. A WeakSet is not safe against
#: concurrent changes; `_exit_lock` guards it.
_alive: weakref.WeakSet[_Dispatcher] = weakref.WeakSet()
_exit_lock = threading.Lock()


def _at_exit(dispatcher: _Dispatcher) -> None:
    with _exit_lock:
        _alive.add(dispatcher)


def _finish_all() -> None:
    """Let every executor finish what was submitted, before the interpreter goes."""
    with _exit_lock:
        dispatchers = list(_alive)
    for dispatcher in dispatchers:
        dispatcher.stop()
    for dispatcher in dispatchers:
        dispatcher.join()


# As the standard executors do: before non-daemon threads are joined, while threads still start.
threading._register_atexit(_finish_all)  # type: ignore[attr-defined]
