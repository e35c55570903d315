"""Calls that were submitted one by one, and the futures that wait for them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any

from _poolwise_worker.apply import apply
from poolwise.errors import TransferError, WorkerCrashed
from poolwise.executor.routing import Functions, Router, Seen
from poolwise.executor.specimen import Examination, Specimen, can_be_sent
from poolwise.mechanisms.running import strip
from poolwise.planner.batching import batch_size
from poolwise.task import Columns, Outcomes, Task

#: One task for all calls that go to processes: functions travel as arguments.
APPLY = Task(apply)


class Submission:
    """One call and its future.

    `begin` and `finish` are called by whoever has the call at that moment; see `Submissions`.
    """

    __slots__ = ("args", "examined", "function", "future", "kwargs", "mechanism", "seen", "started")

    def __init__(
        self,
        future: Future[Any],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.future: Future[Any] | None = future
        self.function: Callable[..., Any] | None = function
        self.args: tuple[Any, ...] = args
        self.kwargs: Mapping[str, Any] = kwargs
        self.started = False
        self.examined = False  # what it takes and returns is to be looked at
        self.mechanism = ""  # where it was sent
        self.seen: Seen

    def begin(self) -> bool:
        """Set the future running; false if it was cancelled, and then those who wait are told."""
        if self.started:  # in a process where it could not run
            return True
        future = self.future
        assert future is not None
        try:
            self.started = future.set_running_or_notify_cancel()
        except (RuntimeError, InvalidStateError):  # somebody else has played the executor
            self.started = not future.done()
        if not self.started:
            self._let_go()
        return self.started

    def run(self) -> Specimen | None:
        """Run the call in this thread, unless it was cancelled, and give the future its end."""
        if not self.begin():
            return None
        assert self.function is not None
        # No local variable holds anything of the user's: the traceback of an exception keeps this
        # frame, and the exception lives for as long as the future does.
        examination = Examination(self.function, self.args, self.kwargs) if self.examined else None
        try:
            value = self.function(*self.args, **self.kwargs)
        except BaseException as error:
            self.finish(None, strip(error))
            return None
        specimen = None if examination is None else examination.end(value)
        self.finish(value)
        return specimen

    def finish(self, value: object, error: BaseException | None = None) -> None:
        """Give the future its end and let go of everything; never raises."""
        future = self.future
        self._let_go()
        if future is None:
            return
        try:
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        except InvalidStateError:
            pass  # somebody else has given it an end
        except BaseException:
            # What a callback raised, if it is no `Exception`: the future itself logs those, in
            # the same place. Other calls must not suffer for it.
            logging.getLogger("concurrent.futures").exception("callback of %r", future)

    def _let_go(self) -> None:
        self.future = self.function = None
        self.args, self.kwargs = (), {}


class Submissions:
    """Workload and collector in one: what is drawn here ends in its future here.

    A call that waits is in `_arrived` or in the queue of a mechanism, one that was sent is in
    `_drawn` under its number. Calls for threads are also in `_unstarted` until one of three takes
    them out, which is atomic and gives the right to go on: the thread that runs the call and
    gives its future its end there and then, `cancel_all`, or `fail_all`.

    Any thread may append to `_arrived` and call `cancel`; all else belongs to the dispatcher
    thread. Futures guard themselves.
    """

    #: What is submitted is there; drawing it waits for nobody.
    pace = 0.0

    def __init__(self, router: Router) -> None:
        self._router = router
        self._functions = Functions()
        self._arrived: deque[Submission] = deque()
        self._waiting: dict[str, deque[Submission]] = {
            mechanism: deque() for mechanism in router.mechanisms
        }
        self._sorted = router.version
        self._drawn: dict[int, Submission] = {}
        self._unstarted: set[Submission] = set()
        self._count = 0
        self._here = Task(self._run_here)
        self.delivered = 0
        #: Threads that run calls; each adds itself.
        self.threads: set[int] = set()

    # ---- Workload --------------------------------------------------------------------------

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing to draw now: more may be submitted later."""
        return not self._arrived and not any(self._waiting.values())

    @property
    def remaining(self) -> int | None:
        """Calls that wait."""
        return len(self._arrived) + sum(map(len, self._waiting.values()))

    def draw(self, limit: int, mechanism: str) -> tuple[Task, Columns] | None:
        """Return the next calls of one function that go to `mechanism`."""
        self._take_in()
        self._sort(mechanism)
        queue = self._waiting[mechanism]
        if not queue or self._router.full:
            return None
        return self._draw_here(limit) if mechanism == "thread" else self._draw_away(limit, queue)

    def _draw_here(self, limit: int) -> tuple[Task, Columns] | None:
        """Take calls for threads. They are not running yet: each may be cancelled until a thread
        begins it.
        """
        taken: list[object] = []
        queue = self._waiting["thread"]
        while queue and len(taken) < limit:
            submission = queue.popleft()
            assert submission.future is not None
            if submission.future.cancelled():
                submission.begin()
                continue
            submission.examined = self._router.wants_specimen(submission.seen)
            self._unstarted.add(submission)
            self._number(submission, "thread")
            taken.append(submission)
        return (self._here, (taken,)) if taken else None

    def _draw_away(self, limit: int, queue: deque[Submission]) -> tuple[Task, Columns] | None:
        """Take calls of one function for processes, for a few milliseconds as far as is known.

        They are running from now on: what lies in a batch cannot be cancelled.
        """
        plan = self._router.plan
        taken: list[Submission] = []
        while queue and len(taken) < limit:
            if taken and queue[0].seen is not taken[0].seen:
                break
            submission = queue.popleft()
            if not submission.begin():
                self._router.dropped(submission.seen)
                continue
            self._number(submission, "process")
            taken.append(submission)
            if plan.batch_size is None:
                limit = min(limit, batch_size(plan, submission.seen.mean, None))
        if not taken:
            return None
        return APPLY, (
            [each.function for each in taken],
            [each.args for each in taken],
            [each.kwargs for each in taken],
        )

    def _take_in(self) -> None:
        while self._arrived:
            submission = self._arrived.popleft()
            assert submission.function is not None
            submission.seen = self._functions.find(submission.function)
            self._waiting[self._router.route(submission.seen)].append(submission)

    def _sort(self, mechanism: str) -> None:
        """Have calls that wait go where the router would send them now."""
        if mechanism == "process" and self._sorted != self._router.version:
            self._sorted = self._router.version
            waiting, self._waiting["thread"] = self._waiting["thread"], deque()
            for submission in waiting:
                self._waiting[self._router.route(submission.seen)].append(submission)
        elif mechanism == "thread" and self._router.only_threads and "process" in self._waiting:
            self._waiting["thread"].extendleft(reversed(self._waiting["process"]))
            self._waiting["process"].clear()

    def _number(self, submission: Submission, mechanism: str) -> None:
        submission.mechanism = mechanism
        self._drawn[self._count] = submission
        self._count += 1

    def _run_here(self, submission: Submission) -> Specimen | None:
        """Run a call in a worker thread."""
        self.threads.add(threading.get_ident())
        return submission.run() if self._claim(submission) else None

    def _claim(self, submission: Submission) -> bool:
        try:
            self._unstarted.remove(submission)
        except KeyError:
            return False
        return True
