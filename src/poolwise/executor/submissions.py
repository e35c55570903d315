"""Calls that were submitted one by one, and the futures that wait for them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from operator import attrgetter
from typing import Any

from poolwise.errors import (
    MemoryLimitExceeded,
    PoolwiseError,
    TaskTimeout,
    TransferError,
    WorkerCrashed,
)
from poolwise.executor.again import Retries
from poolwise.executor.carried import APPLY
from poolwise.executor.functions import Functions, Seen
from poolwise.executor.offers import Offers
from poolwise.executor.routing import Router
from poolwise.executor.specimen import can_be_pickled
from poolwise.executor.stats import Tallies, Tally
from poolwise.executor.submission import Submission
from poolwise.task import Columns, Outcomes, Task
from poolwise.timing.clock import SystemClock
from poolwise.units import Seconds

#: When no call has come back from the processes for so long, and for several times as long as the
#: next one should take, a thread that is idle takes it: all that run may wait for it. They would
#: not where calls stay in threads, of which there are more.
_STUCK: Seconds = 0.1
_STUCK_MEANS = 4


class Submissions:
    """Workload and collector in one: what is drawn here ends in its future here.

    A call that waits is in `_arrived` or in the queue of a mechanism. One that was sent to a
    process is in `_drawn`, under its place in the output; those for the threads are in `offers`.

    Any thread may call `arrive` and `cancel`; all else belongs to the dispatcher thread. Futures
    guard themselves.
    """

    def __init__(self, router: Router, retries: Retries = Retries()) -> None:  # noqa: B008
        self._router = router
        self.tallies = Tallies()
        self._clock = SystemClock()
        self._functions = Functions(router.met)
        self._numbers = itertools.count()
        self._arrived: deque[Submission] = deque()
        self._waiting: dict[str, deque[Submission]] = {
            mechanism: deque() for mechanism in router.mechanisms
        }
        self._sorted = router.version
        self._drawn: dict[int, Submission] = {}
        self._away = 0  # calls in processes
        self.latest: Seen | None = None  # the function whose call has come back from there last
        self._places = itertools.count()
        self.offers = Offers(
            router, retries, self.tallies, self._clock, self._places, self._pass_over
        )
        self._stuck = 0, 0.0  # calls delivered when the processes were last looked at, and when
        self.delivered = 0
        self.passed_over = 0  # calls that left a queue because they were cancelled
        self.pace = 0.0

    # ---- from any thread ---------------------------------------------------------------------

    def arrive(self, submission: Submission) -> None:
        """Queue a call."""
        self._arrived.append(submission)

    def cancel(self) -> None:
        """Cancel the futures of calls that have not started, as far as can be seen from here."""
        for queue in (self._arrived, *self._waiting.values(), self.offers.waiting):
            for each in queue.copy():
                if each.future is not None:
                    each.future.cancel()

    # ---- Workload --------------------------------------------------------------------------

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing to draw now: more may be submitted later."""
        return not (self._arrived or self.offers.more or any(self._waiting.values()))

    @property
    def at_hand(self) -> None:
        """Calls come one by one."""

    @property
    def remaining(self) -> int | None:
        """Calls that wait."""
        return len(self._arrived) + sum(map(len, self._waiting.values()))

    @property
    def queued(self) -> int:
        """Calls that wait for their turn; from any thread."""
        waiting = sum(map(len, list(self._waiting.values())))
        return len(self._arrived) + waiting + len(self.offers.waiting)

    @property
    def running(self) -> int:
        """Calls that have been sent and have no end yet; from any thread."""
        return len(self._drawn) + sum(each.running is not None for each in self.tallies.all())

    def draw(self, limit: int, mechanism: str) -> tuple[Task, Columns] | None:
        """Return the next calls of one function that go to `mechanism`."""
        self._take_in(mechanism)
        queue = self._waiting[mechanism]
        if mechanism == "thread" and self.offers.more:
            return self.offers.draw_one_more()
        if not queue or not self._has_turn(mechanism):
            return None
        if mechanism == "thread":
            return self.offers.draw(limit, queue)
        return self._draw_for_processes(limit, queue)

    @property
    def patience(self) -> Seconds | None:
        """When to `hurry` if nothing happens before; ``None`` if no call can be held up."""
        overdue = self.offers.patience
        if overdue is not None:
            return overdue
        return _STUCK if len(self._waiting) > 1 and self._waits_for_processes else None

    def hurry(self) -> None:
        """Give idle threads what has not started for long, though it was to run elsewhere."""
        if len(self._waiting) > 1:
            self._relieve_processes()
        self.offers.hurry()

    @property
    def _waits_for_processes(self) -> bool:
        """Whether a call waits until processes have room while threads, of which there are as
        well, have some.
        """
        router = self._router
        if (
            not self._waiting["process"]
            or router.has_room("process")
            or not router.has_room("thread")
        ):
            return False
        free = router.free()
        return free is None or free > 0

    def _relieve_processes(self) -> None:
        delivered, since = self._stuck
        now = self._clock.now()
        if delivered != self.delivered or not self._waits_for_processes:
            self._stuck = self.delivered, now
            return
        queue = self._waiting["process"]
        if now - since >= max(_STUCK, _STUCK_MEANS * (queue[0].seen.mean or 0.0)):
            self._stuck = delivered, now
            submission = queue.popleft()
            if submission.fixed:
                self._router.dropped(submission.seen)
            submission.mechanism, submission.fixed = "thread", True
            self._waiting["thread"].appendleft(submission)

    def _draw_for_processes(
        self, limit: int, queue: deque[Submission]
    ) -> tuple[Task, Columns] | None:
        """Take calls of one function, so many as take some milliseconds.

        They count as running from now on: what lies in a batch cannot be cancelled.
        """
        taken: list[Submission] = []
        seen: Seen | None = None
        while queue and len(taken) < limit:
            submission = queue[0]
            if seen is not None and submission.seen is not seen:
                break
            if submission.begin():
                if seen is None:
                    seen = submission.seen
                    limit = min(limit, self._router.most_in_batch(seen))
                self._drawn[next(self._places)] = submission
                taken.append(submission)
                if submission.arrived:
                    waited = self._clock.now() - submission.arrived
                    self.tallies.mine().waits.add(waited)
                    submission.arrived = 0.0
            else:
                self._pass_over(submission)
            queue.popleft()
        if not taken:
            return None
        functions = [each.function for each in taken if each.function is not None]  # none is
        reach = taken[0].seen.reach
        reach.look(functions[0], idle=not self._away)
        self._away += len(taken)
        task, sent = reach.sent(functions)
        return task, (sent, [each.args for each in taken], [each.kwargs for each in taken])

    def was_sent(self, submission: Submission, seen: Seen, at: Seconds) -> None:
        """Note a call that whoever submitted it has sent to a process, at this time."""
        submission.number = next(self._numbers)
        submission.seen = seen
        self._drawn[next(self._places)] = submission
        self._away += 1
        if submission.arrived:
            self.tallies.mine().waits.add(at - submission.arrived)

    def come_back(self, submission: Submission) -> None:
        """Queue a call that was sent to a process that is not there any more, before others."""
        self._arrived.appendleft(submission)

    def _take_in(self, mechanism: str) -> None:
        """Put calls that arrived into their queues; sort the queues when routes have changed."""
        arrived, function, seen = self._arrived, None, None
        while arrived:
            submission = arrived[0]
            if seen is None or submission.function is not function:
                function = submission.function
                assert function is not None
                seen = self._functions.find(function)
            submission.number = next(self._numbers)
            submission.seen = seen
            self._put(submission, self._waiting)
            arrived.popleft()
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

    def _pass_over(self, submission: Submission) -> None:
        self.passed_over += 1
        self.tallies.mine().cancelled += 1
        if submission.fixed and submission.mechanism == "process":
            self._router.dropped(submission.seen)

    # ---- Collector -------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """False: nobody asks for parts here."""
        return False

    def add(self, first: int, outcomes: Outcomes) -> None:
        """Give futures their ends, and learn."""
        self.delivered += len(outcomes.values)
        expected = self.offers.expected_at(first)
        if expected is None:
            self._add_from_processes(first, outcomes)
        else:
            self.offers.ended(first, expected, outcomes)

    def _add_from_processes(self, first: int, outcomes: Outcomes) -> None:
        """Learn first: as soon as a future has its end, whoever waits for it wants the GIL."""
        drawn, errors, seen = self._drawn, outcomes.errors, self._drawn[first].seen
        count = len(outcomes.values)
        self.latest = seen
        self._away -= count
        tally = self.tallies.mine()
        tally.done += count - len(errors)
        tally.count_service(outcomes)
        seen.note(outcomes)
        self._router.learn(seen, "process", outcomes)
        for place, value in enumerate(outcomes.values):
            submission = drawn.pop(first + place)
            if place not in errors:
                submission.finish(value)
            elif submission.future is not None:
                self._end(submission, value, errors[place], tally)

    def place_of(self, future: Future[Any]) -> int | None:
        """Return the place of a call that was sent to a process, if it has no end yet."""
        for place, sent in self._drawn.items():
            if sent.future is future:
                return place
        return None

    def _end(
        self, submission: Submission, value: object, error: BaseException, tally: Tally
    ) -> None:
        """End a call that failed in a process."""
        if isinstance(error, WorkerCrashed):
            call = f"a call of {submission.name}"
            error = WorkerCrashed(call, error.exit, None, error.tries)
        elif isinstance(error, TaskTimeout):
            error = TaskTimeout(f"a call of {submission.name}", error.seconds)
        elif isinstance(error, MemoryLimitExceeded):
            error = MemoryLimitExceeded(f"a call of {submission.name}", error.limit)
        elif isinstance(error, TransferError):
            if self._can_run_here(submission):
                submission.mechanism, submission.fixed = "thread", True
                self._waiting["thread"].appendleft(submission)
                return
            error = _renamed(error, submission.name)
        if isinstance(error, CancelledError) and submission.future and submission.future.done():
            tally.cancelled += 1
        else:
            tally.failed += 1
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
        tally = self.tallies.mine()
        for submission in self._take_unstarted():
            tally.cancelled += 1
            submission.drop()

    def fail_all(self, error: PoolwiseError, *, abandon: bool = False) -> None:
        """Fail every call that has no end; nothing that was sent comes back any more.

        Calls that run in threads of this process go on and give their futures their ends, unless
        they are abandoned.
        """
        tally = self.tallies.mine()
        for submission in self._take_unstarted():
            if submission.begin():
                tally.failed += 1
                submission.finish(None, error.again())
            else:
                tally.cancelled += 1
        for sent in self._drawn.values():
            if sent.future is not None and sent.future.cancelled():  # its worker was being killed
                tally.cancelled += 1
            else:
                tally.failed += 1
            sent.finish(None, error.again())
        for tally in self.tallies.all() if abandon else ():
            running = tally.running
            if isinstance(running, Submission):
                running.abandon(error.again())
        self._drawn.clear()
        self.offers.forget()

    def _take_unstarted(self) -> Iterator[Submission]:
        for queue in (self._arrived, *self._waiting.values(), self.offers.waiting):
            while True:
                try:
                    submission = queue.popleft()
                except IndexError:  # the threads take from what is offered, too
                    break
                yield submission


def _renamed(error: TransferError, name: str) -> TransferError:
    """Name the function that the user knows, and not the one that calls it."""
    other = TransferError(str(error).replace(f" {APPLY.name} ", f" {name} ", 1))
    other.__cause__ = error.__cause__
    return other
