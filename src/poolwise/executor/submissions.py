"""Calls that were submitted one by one, and the futures that wait for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from _poolwise_worker.apply import apply
from poolwise.task import Columns, Outcomes, Task

#: One task for everything that is submitted: functions travel as arguments.
APPLY = Task(apply)


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """One call and its future."""

    future: Future[Any]
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class Router(Protocol):
    """Says which mechanism a function's calls go to, and learns from what they used."""

    def route(self, function: Callable[..., Any]) -> str | None:
        """Return the mechanism, or ``None`` for any."""
        ...

    def learn(self, function: Callable[..., Any], outcomes: Outcomes) -> None:
        """Take note of calls of one function that ran."""
        ...


class Anywhere:
    """The router of a pinned plan: there is one place to go."""

    def route(self, function: Callable[..., Any]) -> str | None:
        """Return ``None``: any."""
        return None

    def learn(self, function: Callable[..., Any], outcomes: Outcomes) -> None:
        """Learn nothing."""


class Submissions:
    """Workload and collector in one: what is drawn here ends in its future here.

    Belongs to the dispatcher thread; `add` and `cancel_all` are posted to it. Futures guard
    themselves.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._waiting: deque[Submission] = deque()
        self._drawn: dict[int, Submission] = {}
        self._count = 0
        self.closing = False
        self.delivered = 0

    # ---- Workload --------------------------------------------------------------------------

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing to draw now: more may be submitted later."""
        return not self._waiting

    @property
    def remaining(self) -> int | None:
        """Calls that wait."""
        return len(self._waiting)

    def draw(self, limit: int, mechanism: str) -> tuple[Task, Columns] | None:
        """Return the next calls of one function that go to `mechanism`.

        Calls of a function that goes elsewhere are passed over and keep their place.
        """
        taken: list[Submission] = []
        passed: list[Submission] = []
        while self._waiting and len(taken) < limit:
            submission = self._waiting[0]
            if taken and submission.function is not taken[0].function:
                break
            self._waiting.popleft()
            if self._router.route(submission.function) not in (None, mechanism):
                passed.append(submission)
            elif submission.future.set_running_or_notify_cancel():
                taken.append(submission)
        self._waiting.extendleft(reversed(passed))
        if not taken:
            return None
        for submission in taken:
            self._drawn[self._count] = submission
            self._count += 1
        return APPLY, (
            [each.function for each in taken],
            [each.args for each in taken],
            [each.kwargs for each in taken],
        )

    # ---- Collector -------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """False: nobody asks for parts here."""
        return False

    def add(self, first: int, outcomes: Outcomes) -> None:
        """Resolve futures."""
        self._router.learn(self._drawn[first].function, outcomes)
        self.delivered += len(outcomes.values)
        for position, value in enumerate(outcomes.values):
            future = self._drawn.pop(first + position).future
            error = outcomes.errors.get(position)
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

    def pop(self) -> Iterator[object] | None:
        """Return nothing."""
        return None

    # ---- posted by the executor ------------------------------------------------------------

    def submit(self, submission: Submission) -> None:
        """Queue a call."""
        self._waiting.append(submission)

    def cancel_all(self) -> None:
        """Cancel every call that has not been drawn."""
        waiting, self._waiting = self._waiting, deque()
        for submission in waiting:
            submission.future.cancel()
            submission.future.set_running_or_notify_cancel()

    def fail_all(self, error: BaseException) -> None:
        """Fail every call that has no end: the dispatcher cannot go on."""
        self._waiting.extendleft(self._drawn.values())
        self._drawn.clear()
        for submission in self._waiting:
            if submission.future.running() or submission.future.set_running_or_notify_cancel():
                submission.future.set_exception(error)
        self._waiting.clear()
