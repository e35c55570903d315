"""Which mechanism a call of an executor goes to.

Everything here belongs to the dispatcher thread and runs no code of the user's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from poolwise import wisdom
from poolwise.executor import notices
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.functions import Seen
from poolwise.executor.learning import Learning
from poolwise.executor.options import RunOptions
from poolwise.machine import MachineProfile
from poolwise.plan import Plan
from poolwise.planner.batching import batch_size, crowd_size
from poolwise.task import Outcomes


class Router(Protocol):
    """Says which mechanism a function's calls go to, and learns from what they used."""

    mechanisms: tuple[str, ...]  # where calls may go at all
    concurrency: int  # calls at once, as other libraries want to know it
    max_concurrency: int | None  # what the dispatch is to see to
    version: int  # grows whenever calls that wait may have to go elsewhere

    @property
    def plan(self) -> Plan:
        """The plan in force; with two of them, that of the processes."""
        ...

    @property
    def only_threads(self) -> bool:
        """Whether processes were tried and cannot be had."""
        ...

    def begin(self, dispatch: Dispatch) -> None:
        """Open what calls begin with."""
        ...

    def met(self, seen: Seen, function: Callable[..., object]) -> None:
        """Take note of a function whose first call has come."""
        ...

    def route(self, seen: Seen) -> str:
        """Return the mechanism for one more call of a function."""
        ...

    def dropped(self, seen: Seen) -> None:
        """Take back the latest answer: the call was cancelled."""
        ...

    def free(self) -> int | None:
        """Return how many more calls may be sent; ``None`` if the dispatch sees to it."""
        ...

    def has_room(self, mechanism: str) -> bool:
        """Whether calls for a mechanism could be sent now."""
        ...

    def most_in_batch(self, seen: Seen) -> int:
        """Return how many calls of a function may go to a process in one batch."""
        ...

    def most_in_thread(self, seen: Seen) -> int:
        """Return how many calls of a function may go to a thread in one batch."""
        ...

    def examines(self, seen: Seen) -> bool:
        """Whether the next call of a function is to be examined."""
        ...

    def learn(self, seen: Seen, mechanism: str, outcomes: Outcomes) -> None:
        """Take note of calls of one function that ran."""
        ...


def make_router(machine: MachineProfile, options: RunOptions) -> Router:
    """Return the router that the user's options ask for."""
    if options.plan is not None:
        return Pinned(options.plan, options.max_concurrency)
    recall = partial(wisdom.recall, facts=machine.facts) if options.wisdom else _nothing
    return Learning(machine, options.limits, options.max_concurrency, recall)


def _nothing(function: Callable[..., object]) -> None:
    """Know nothing of any function."""


class Pinned:
    """The router of a pinned plan: there is one place to go."""

    version = 0
    only_threads = False

    def __init__(self, plan: Plan, most: int | None) -> None:
        self.concurrency = min(plan.concurrency, most or plan.concurrency)
        self.max_concurrency = most
        if plan.mechanism != "process":
            # Inline is one thread here: never the caller's.
            plan = Plan("thread", self.concurrency, batch_size=plan.batch_size)
            self.max_concurrency = None
        self.mechanisms: tuple[str, ...] = (plan.mechanism,)
        self._plan = plan

    def begin(self, dispatch: Dispatch) -> None:
        """Open it."""
        dispatch.open(self._plan)
        notices.plan_changed(self._plan, None, "")

    @property
    def plan(self) -> Plan:
        """It."""
        return self._plan

    def met(self, seen: Seen, function: Callable[..., object]) -> None:
        """Do nothing."""

    def route(self, seen: Seen) -> str:
        """Return it."""
        return self._plan.mechanism

    def dropped(self, seen: Seen) -> None:
        """Do nothing."""

    def free(self) -> int | None:
        """Return ``None``: the dispatch sees to it."""
        return None

    def has_room(self, mechanism: str) -> bool:
        """Return true: nobody else wants it."""
        return True

    def most_in_batch(self, seen: Seen) -> int:
        """Return what the plan says, or as many as take some milliseconds."""
        return self._plan.batch_size or batch_size(self._plan, seen.mean, None)

    def most_in_thread(self, seen: Seen) -> int:
        """Return what the plan says, or one if the calls are not short."""
        return self._plan.batch_size or crowd_size(seen.mean)

    def examines(self, seen: Seen) -> bool:
        """Return false."""
        return False

    def learn(self, seen: Seen, mechanism: str, outcomes: Outcomes) -> None:
        """Learn nothing."""
