"""The thread that drives the dispatch of an executor, from its first call to its end."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - for its exit hook, see `_finish_all`
import math
import sys
import threading
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any

from _poolwise_worker import forks
from poolwise.errors import InitializerFailed, PoolwiseError, WorkersKilled
from poolwise.executor.again import Retries
from poolwise.executor.carried import APPLY
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.fault import own_fault
from poolwise.executor.routing import Router
from poolwise.executor.shortcut import Shortcut
from poolwise.executor.stats import ExecutorStats, percentiles
from poolwise.executor.submission import Submission
from poolwise.executor.submissions import Submissions
from poolwise.ipc import Inbox
from poolwise.ipc.slices import slices
from poolwise.mechanisms import Mechanism, Sink, WorkerOptions
from poolwise.mechanisms import mechanism as mechanism_named
from poolwise.mechanisms.thread import ThreadMechanism, ThreadPool, serves_a_pool
from poolwise.task import BatchId
from poolwise.timing.clock import SystemClock
from poolwise.units import Seconds

#: What calls may still take after Ctrl-C, in seconds: the program is to end within one.
GRACE_AFTER_INTERRUPT: Seconds = 0.5


class Dispatcher:
    """One life of an executor's inner half. It does not hold the executor: one that nobody holds
    any more finishes its work and ends.

    `lock` is the executor's. Under it calls are submitted, and under it the thread decides to
    end; so a call either arrives in time or finds `ended` set. All else belongs to the thread;
    others post, but for a call that takes the `Shortcut`.
    """

    def __init__(
        self, router: Router, workers: WorkerOptions, retries: Retries, lock: threading.RLock
    ) -> None:
        self.ended = False  # guarded by the lock
        self.broken: InitializerFailed | None = None  # set before `ended`, and never again
        self._lock = lock
        self._router = router
        self._inbox = Inbox()
        self._clock = SystemClock()
        self._submissions = Submissions(router, retries)
        self._dispatch = Dispatch(
            self._submissions,
            self._submissions,
            # Functions come as arguments, so no fork can be told what they need by name.
            workers=replace(
                workers, tasks=(APPLY,), start_method=workers.start_method or "forkserver"
            ),
            mechanisms=_mechanism,
            inbox=self._inbox,
            clock=self._clock,
            max_concurrency=router.max_concurrency,
            retries=retries,
        )
        self._shortcut = Shortcut(self._dispatch, self._submissions, self._inbox)
        # Functions that may move are routed by the dispatcher.
        self._has_shortcut = router.mechanisms == ("process",)
        self._stopping = False
        self._until = math.inf  # when what has not ended by then is ended, once it is stopping
        # Whether word of new calls is on its way. Set under the lock, before posting; cleared by
        # the thread before it looks for calls. So a call that finds it set will be seen.
        self._told = False
        # Whether it is being said: who holds the lock and finds this set has interrupted that, a
        # signal handler's call or a finalizer's, and what it has interrupted cannot go on.
        self._telling = False
        self._served = threading.Event()  # set by the thread, whatever ends it
        self._thread = threading.Thread(target=self._serve, name="poolwise-dispatcher")

    # ---- from any thread ---------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: the system has no thread left, or the interpreter joins none any more.
        """
        if _exiting and _is_over():
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        with _exit_lock:
            _running.add(self)
        try:
            self._thread.start()
        except BaseException:  # Ctrl-C too, and then it may have started
            self.stop()
            with _exit_lock:
                _running.discard(self)
            raise
        if _exiting:  # as soon as there is nothing left to do: nobody else will say so
            self.stop()

    def submit(self, submission: Submission) -> None:
        """Send or queue a call; the caller holds the lock and has seen that this has not ended.

        Raises:
            RuntimeError: the interpreter is ending, and nobody waits for this thread.
        """
        if _exiting and self._is_left_behind():
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        shortcut = self._shortcut
        # Nor past one that is queued, and that the dispatcher has not heard of.
        if shortcut.doors and not self._told and shortcut.send(submission):
            return
        self._submissions.arrive(submission)
        if shortcut.doors:
            shortcut.close()
        if not self._told or self._telling:
            try:
                self._telling = self._told = True
                self._inbox.post(self._hear)
            except BaseException:  # a signal handler's: word may not be on its way
                self._inbox.post(self._hear)
                raise
            finally:
                self._telling = False

    def _is_left_behind(self) -> bool:
        """Whether this is a daemon thread of the user's. If those went on to submit, the program
        would never end. Calls and callbacks may, for what they are of is waited for.
        """
        thread = threading.current_thread()
        return thread.daemon and thread is not self._thread and not serves_a_pool()

    def stats(self, before: ExecutorStats) -> ExecutorStats:
        """Return what there is now, with what was counted `before` this began.

        Each figure is right for one moment, and not all for the same.
        """
        tallies, dispatch, sent = self._submissions.tallies.all(), self._dispatch, self._submissions
        waits = percentiles(each.waits for each in tallies)
        service = percentiles(each.service for each in tallies)
        ended = self.ended
        return ExecutorStats(
            queued=0 if ended else sent.queued,
            running=0 if ended else sent.running + self._shortcut.used,
            done=before.done + sum(each.done for each in tallies),
            failed=before.failed + sum(each.failed for each in tallies),
            cancelled=before.cancelled + sum(each.cancelled for each in tallies),
            killed=before.killed + dispatch.killed,
            retried=before.retried + dispatch.again.count + sum(each.retried for each in tallies),
            workers=0 if ended else sum(lane.ready_workers for lane in list(dispatch.lanes)),
            restarts=before.restarts + dispatch.killed + dispatch.lost_workers,
            wait_p50=waits[0],
            wait_p99=waits[1],
            service_p50=service[0],
            service_p99=service[1],
            plan=self._router.plan,
        )

    def cancel_all(self) -> None:
        """Cancel what has not started; when this returns, futures say so."""
        self._submissions.cancel()
        self._inbox.post(self._submissions.drop_all)

    def kill_call(self, future: Future[Any]) -> None:
        """End the worker that runs the call of a future that was cancelled."""
        self._inbox.post(partial(self._kill_call, future))

    def kill(self, how: str) -> None:
        """End the workers now, whatever they run; the thread ends with them."""
        self._inbox.post(partial(_raise, WorkersKilled(f"{how} ended the worker of this call")))

    def stop(self, grace: Seconds | None = None) -> None:
        """Have the thread end when nothing is left to run; after `grace` seconds, whatever is."""
        until = math.inf if grace is None else self._clock.now() + grace
        self._inbox.post(partial(self._stop, until))

    def join(self) -> None:
        """Wait until everything has run and all workers have ended.

        Raises:
            RuntimeError: this is one of the threads that would have to end.
        """
        if not self._thread.is_alive():
            return
        here = threading.get_ident()
        if here == self._thread.ident or here in self._submissions.tallies.by_thread:
            raise RuntimeError("a call cannot wait for the end of the executor that runs it")
        # Not by `Thread.join` alone: in Python 3.11, one that a signal handler ends takes its
        # thread for one that has ended, and so do all that follow.
        if any(self._served.wait(left) for left in slices(None)):
            self._thread.join()

    # ---- in the thread -----------------------------------------------------------------------

    def _kill_call(self, future: Future[Any]) -> None:
        place = self._submissions.place_of(future)
        if place is not None:  # else its outcome was faster
            self._dispatch.kill(place)

    def _hear(self) -> None:
        self._told = False

    def _stop(self, until: Seconds) -> None:
        self._stopping = True
        self._until = min(self._until, until)

    def _serve(self) -> None:
        """Drive the dispatch until told to stop and nothing is left."""
        try:
            self._drive()
        except BaseException as error:
            # Nobody reads this thread's traceback; whoever waits for a future must.
            self._fail(error)
        finally:
            with _exit_lock:
                _running.discard(self)
            self._served.set()

    def _drive(self) -> None:
        dispatch = self._dispatch
        self._router.begin(dispatch)
        while True:
            self._shortcut.take_in()
            self._fill()  # which may find that nothing is left but cancelled calls
            if self._stopping and self._may_end():
                break
            patience = self._patience()
            if self._has_shortcut:
                self._shortcut.open()
            if dispatch.in_flight and any(
                lane.in_flight for lane in dispatch.lanes if lane.plan.mechanism == "process"
            ):
                dispatch.wait(patience)  # may have to ask for what a busy process has not started
            else:
                self._inbox.wait(patience, expecting=self._shortcut.leads_to)
            self._shortcut.close()
            self._submissions.hurry()
        dispatch.close(self._until)  # a worker may be unable to end, also without any call

    def _patience(self) -> Seconds | None:
        """Return how long to wait at most.

        Raises:
            WorkersKilled: the grace is over.
        """
        patience = self._submissions.patience
        if self._until == math.inf:
            return patience
        left = self._until - self._clock.now()
        if left <= 0.0:
            self._submissions.drop_all()
            raise WorkersKilled("the grace of shutdown was over before this call had ended")
        return left if patience is None else min(patience, left)

    def _fill(self) -> None:
        # Two lanes that share a limit take turns, so one pass may leave slots free: what was sent,
        # or passed over, may have been what the other lane waited for.
        dispatch, gone = self._dispatch, -1
        while gone != (gone := dispatch.supply.sent + self._submissions.passed_over):
            dispatch.fill()
            if len(dispatch.lanes) < 2:
                return

    def _may_end(self) -> bool:
        if not self._dispatch.finished:
            return False
        with self._lock:  # a call may have arrived
            self.ended = self._dispatch.finished and not self._shortcut.used
        return self.ended

    def _fail(self, error: BaseException) -> None:
        """Fail every call that has no end. The executor's next call gets another dispatcher,
        unless the initializer was at fault: also one that is submitted at the sight of the first
        of these failures.
        """
        ours = error if isinstance(error, PoolwiseError) else own_fault(error)
        if isinstance(ours, InitializerFailed):
            self.broken = ours
        abandon = isinstance(ours, WorkersKilled)
        with self._lock:
            self._shortcut.close()
        self._shortcut.take_in()
        try:
            self._dispatch.close()
        finally:
            with self._lock:
                self.ended = True  # first: a call that arrives from now on is not among these
            self._submissions.fail_all(ours, abandon=abandon)


def _raise(error: BaseException) -> None:
    raise error


#: Whatever number is asked for; programs ask for a billion to say that they have no limit.
_MOST_THREADS = 1 << 16


class _Threads(ThreadPool):
    """Threads that start when a call needs them, and keep what they were sent.

    As in the standard executors: who submits one call pays for one thread, and for one run of the
    initializer. Each batch that is sent while all may be busy starts one more. Which are is known
    from the batches without an end, never too few: so no batch waits for a thread while one more
    may be had. And all are said to be ready at once: an initializer may wait for those of others.

    What was sent is not taken back. Whoever is idle takes it anyway; all that a call could do
    elsewhere is to lose what it shares with the program.
    """

    first_free = False

    def grow(self, workers: int) -> None:
        """Start the first thread; `send` starts the others on demand."""
        if self._closed:
            raise RuntimeError("the pool is closed")
        if not self._serving:
            self._start(0)
        wanted = min(self._wanted + workers, _MOST_THREADS)
        for number in range(self._wanted, wanted):
            self._sink.ready(number)
        self._wanted = wanted

    def take_back(self, batch: BatchId, /) -> None:
        """Do nothing: every call ends here."""

    def nothing_more(self) -> None:
        """Do nothing: more may be submitted."""

    def _announce(self, number: int) -> None:
        """Do nothing: all have been announced."""


class _ThreadMechanism(ThreadMechanism):
    def open(self, options: WorkerOptions, sink: Sink, inbox: Inbox, /) -> ThreadPool:
        return _Threads(options, sink, inbox)


def _mechanism(name: str) -> Mechanism:
    return _ThreadMechanism() if name == "thread" else mechanism_named(name)


# ---- the end of the interpreter, and forks ------------------------------------------------------

#: Dispatchers whose threads live. Guarded, like `_exiting`, by `_exit_lock`.
_running: set[Dispatcher] = set()
_exit_lock = threading.Lock()
_exiting = False


def _finish_all() -> None:
    """Let every executor finish what was submitted, before the interpreter goes.

    Calls that are finished here may submit others, and start other executors. Hooks run in
    reverse order: those of the standard executors are there already and run after this.
    """
    global _exiting
    with _exit_lock:
        _exiting = True
    grace = GRACE_AFTER_INTERRUPT if _is_interrupted() else None
    while True:
        with _exit_lock:
            running = list(_running)
        if not running:
            return
        for dispatcher in running:
            dispatcher.stop(grace)
        for dispatcher in running:
            dispatcher.join()


def _is_interrupted() -> bool:
    """Whether this program ends because of Ctrl-C, and nobody has caught that.

    Not where somebody types at it: what was interrupted last may be long ago.
    """
    last = getattr(sys, "last_type", None)
    typed = hasattr(sys, "ps1")
    return not typed and isinstance(last, type) and issubclass(last, KeyboardInterrupt)


def _is_over() -> bool:
    """Whether this is the main thread, which runs exit handlers after all threads were joined: a
    call that it submits now would be lost.
    """
    main = threading.main_thread()
    return main.ident == threading.get_ident() and not main.is_alive()


def _after_fork() -> None:
    """In a child of the user's: it has none of these threads, and copies of locks they held."""
    global _exit_lock
    _exit_lock = threading.Lock()
    _running.clear()


forks.in_child(_after_fork)

try:
    # As the standard executors do: before non-daemon threads are joined, while threads still
    # start.
    threading._register_atexit(_finish_all)  # type: ignore[attr-defined]
except RuntimeError:  # the interpreter is ending already
    _exiting = True
