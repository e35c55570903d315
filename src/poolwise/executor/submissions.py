"""Calls that were submitted one by one, and the futures that wait for them."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterator
from operator import attrgetter

from poolwise.errors import PoolwiseError, TransferError, WorkerCrashed
from poolwise.executor.carried import APPLY
from poolwise.executor.functions import Functions
from poolwise.executor.routing import Router
from poolwise.executor.specimen import Specimen, can_be_pickled
from poolwise.executor.submission import Submission
from poolwise.task import Columns, Outcomes, Task


class Submissions:
    """Workload and collector in one: what is drawn here ends in its future here.

    A call that waits is in `_arrived` or in the queue of a mechanism; one that was sent is in
    `_drawn`, under its place in the output. Calls for threads are also in `_unstarted` until
    somebody claims them, which is atomic: the thread that runs the call, or the dispatcher when
    it cancels or fails it.

    Any thread may call `arrive` and `cancel`; all else belongs to the dispatcher thread. Futures
    guard themselves.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._functions = Functions()
        self._numbers = itertools.count()
        self._arrived: deque[Submission] = deque()
        self._waiting: dict[str, deque[Submission]] = {
            mechanism: deque() for mechanism in router.mechanisms
        }
        self._sorted = router.version
        self._drawn: dict[int, Submission] = {}
        self._count = 0
        self._unstarted: set[Submission] = set()
        self._here = Task(self._run_here)
        self.threads: set[int] = set()  # those that run calls; each adds itself
        self.delivered = 0
        self.pace = 0.0

    # ---- from any thread ---------------------------------------------------------------------

    def arrive(self, submission: Submission) -> None:
        """Queue a call."""
        self._arrived.append(submission)

    def cancel(self) -> None:
        """Cancel the futures of calls that have not started, as far as can be seen from here."""
        queues = [self._arrived, *self._waiting.values()]
        for each in itertools.chain(*(queue.copy() for queue in queues), self._unstarted.copy()):
            future = each.future
            if future is not None:
                future.cancel()

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
        self._take_in(mechanism)
        queue = self._waiting[mechanism]
        if not queue or not self._has_turn(mechanism):
            return None
        if mechanism == "thread":
            return self._draw_for_threads(limit, queue)
        return self._draw_for_processes(limit, queue)

    def _draw_for_threads(
        self, limit: int, queue: deque[Submission]
    ) -> tuple[Task, Columns] | None:
        """Take calls that may still be cancelled: each starts when a thread claims it."""
        taken: list[object] = []
        while queue and len(taken) < limit:
            submission = queue[0]
            assert submission.future is not None
            if submission.future.cancelled():
                submission.begin()
            else:
                submission.examined = self._router.examines(submission.seen)
                self._unstarted.add(submission)
                self._give_place(submission)
                taken.append(submission)
            queue.popleft()
        return (self._here, (taken,)) if taken else None

    def _draw_for_processes(
        self, limit: int, queue: deque[Submission]
    ) -> tuple[Task, Columns] | None:
        """Take calls of one function, so many as take some milliseconds.

        They count as running from now on: what lies in a batch cannot be cancelled.
        """
        taken: list[Submission] = []
        while queue and len(taken) < limit:
            submission = queue[0]
            if taken and submission.seen is not taken[0].seen:
                break
            if submission.begin():
                self._give_place(submission)
                taken.append(submission)
                limit = min(limit, self._router.most_in_batch(submission.seen))
            elif submission.fixed:
                self._router.dropped(submission.seen)
            queue.popleft()
        if not taken:
            return None
        reach = taken[0].seen.reach
        assert taken[0].function is not None
        reach.look(taken[0].function, taken[0].name)
        return reach.task, (
            _functions_of(taken),
            [each.args for each in taken],
            [each.kwargs for each in taken],
        )

    def _take_in(self, mechanism: str) -> None:
        """Put calls that arrived into their queues; sort the queues when routes have changed."""
        while self._arrived:
            submission = self._arrived[0]
            assert submission.function is not None
            submission.number = next(self._numbers)
            submission.seen = self._functions.find(submission.function)
            self._put(submission, self._waiting)
            self._arrived.popleft()
        if mechanism == "process":
            stale = self._sorted != self._router.version
        else:
            stale = self._router.only_threads and bool(self._waiting["process"])
        if stale:
            self._sorted = self._router.version
            self._sort()

    def _sort(self) -> None:
        queues: dict[str, deque[Submission]] = {mechanism: deque() for mechanism in self._waiting}
        for submission in sorted(
            itertools.chain(*self._waiting.values()), key=attrgetter("number")
        ):
            submission.fixed = submission.fixed and not self._router.only_threads
            self._put(submission, queues)
        self._waiting = queues

    def _put(self, submission: Submission, queues: dict[str, deque[Submission]]) -> None:
        if not submission.fixed:
            seen = submission.seen
            submission.mechanism = self._router.route(seen)
            submission.fixed = submission.mechanism == "process" and seen.home == "trial"
        queues[submission.mechanism].append(submission)

    def _has_turn(self, mechanism: str) -> bool:
        """Whether `mechanism` may have the next slot, where several share what the user allows:
        those who wait longest come first, so that none is left waiting for ever.
        """
        free = self._router.free()
        if free is None or free < 1:
            return free is None
        first = self._waiting[mechanism][0].number
        return not any(
            queue and queue[0].number < first and self._router.has_room(other)
            for other, queue in self._waiting.items()
        )

    def _give_place(self, submission: Submission) -> None:
        self._drawn[self._count] = submission
        self._count += 1

    # ---- in a worker thread ------------------------------------------------------------------

    def _run_here(self, submission: Submission) -> Specimen | None:
        self.threads.add(threading.get_ident())
        return submission.run() if self._claim(submission) else None

    def _claim(self, submission: Submission) -> bool:
        """Take over a call that has not started; true for one of those who try."""
        try:
            self._unstarted.remove(submission)
        except KeyError:
            return False
        return True

    # ---- Collector -------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """False: nobody asks for parts here."""
        return False

    def add(self, first: int, outcomes: Outcomes) -> None:
        """Give futures their ends, and learn."""
        seen, mechanism = self._drawn[first].seen, self._drawn[first].mechanism
        for place, value in enumerate(outcomes.values):
            submission = self._drawn[first + place]
            if submission.future is not None:
                self._end(submission, value, outcomes.errors.get(place))
            del self._drawn[first + place]
        self.delivered += len(outcomes.values)
        seen.note(outcomes)
        self._router.learn(seen, mechanism, outcomes)

    def _end(self, submission: Submission, value: object, error: BaseException | None) -> None:
        """End a call that ran in a process (or did not, in a thread, by a fault of ours)."""
        if isinstance(error, WorkerCrashed):
            error = WorkerCrashed(f"a call of {submission.name}", error.exit)
        elif isinstance(error, TransferError):
            if self._can_run_here(submission):
                submission.mechanism, submission.fixed = "thread", True
                self._waiting["thread"].appendleft(submission)
                return
            error = _renamed(error, submission.name)
        submission.finish(value, error)

    def _can_run_here(self, submission: Submission) -> bool:
        """Whether a call never started in a process, because its arguments cannot be sent, and
        may run in a thread instead.
        """
        call = submission.function, submission.args, submission.kwargs
        return "thread" in self._waiting and not can_be_pickled(call)

    def pop(self) -> Iterator[object] | None:
        """Return nothing."""
        return None

    # ---- ends ------------------------------------------------------------------------------

    def drop_all(self) -> None:
        """Cancel every call that has not started, and tell those who wait for it."""
        for submission in self._take_unstarted():
            submission.drop()

    def fail_all(self, error: PoolwiseError, *, abandon: bool = False) -> None:
        """Fail every call that has no end; nothing that was sent comes back any more.

        Calls that run in threads of this process go on and give their futures their ends, unless
        they are abandoned.
        """
        for submission in self._take_unstarted():
            if submission.begin():
                submission.finish(None, error.again())
        for submission in self._drawn.values():
            if submission.mechanism != "thread":
                submission.finish(None, error.again())
            elif abandon:
                submission.abandon(error.again())
        self._drawn.clear()

    def _take_unstarted(self) -> Iterator[Submission]:
        for queue in (self._arrived, *self._waiting.values()):
            while queue:
                yield queue.popleft()
        for submission in self._unstarted.copy():
            if self._claim(submission):
                yield submission


def _renamed(error: TransferError, name: str) -> TransferError:
    """Name the function that the user knows, and not the one that calls it."""
    other = TransferError(str(error).replace(f" {APPLY.name} ", f" {name} ", 1))
    other.__cause__ = error.__cause__
    return other


def _functions_of(batch: list[Submission]) -> list[object]:
    """Return the functions to send, each made ready once."""
    ready: dict[int, object] = {}
    for each in batch:
        assert each.function is not None
        if id(each.function) not in ready:
            ready[id(each.function)] = each.seen.reach.carried(each.function)
    return [ready[id(each.function)] for each in batch]
