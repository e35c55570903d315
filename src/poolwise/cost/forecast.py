"""The forecast: what a plan would cost, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from poolwise.plan import Plan
from poolwise.task import Refusal
from poolwise.units import PerSecond, Seconds


@dataclass(frozen=True, slots=True)
class Ceilings:
    """At most so many calls a second, for each reason that there is."""

    concurrency: PerSecond = math.inf
    gil: PerSecond = math.inf
    cores: PerSecond = math.inf
    dispatch: PerSecond = math.inf
    outside: PerSecond = math.inf

    @property
    def lowest(self) -> PerSecond:
        """The throughput of the plan."""
        return min(self._by_name().values())

    @property
    def binding(self) -> str:
        """The name of the lowest ceiling: it is the explanation."""
        by_name = self._by_name()
        return min(by_name, key=by_name.__getitem__)

    def _by_name(self) -> dict[str, PerSecond]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan would cost for the calls that are left, or why it is refused.

    `makespan` is in seconds, start-up and straggler included; `predicted` in calls a second.
    Where the plan has run on a slice of its own, `measured` is the rate that it reached there,
    and `makespan` follows it.
    """

    plan: Plan
    ceilings: Ceilings = Ceilings()
    startup: Seconds = 0.0
    straggler: Seconds = 0.0
    makespan: Seconds = math.inf
    predicted: PerSecond = 0.0
    measured: PerSecond | None = None
    refusal: Refusal | None = None

    @property
    def rate(self) -> PerSecond:
        """Calls a second once all workers are there."""
        return self.predicted if self.measured is None else self.measured

    @property
    def bound_by(self) -> str:
        """What keeps the plan from being faster, in the words that people read."""
        return _WORDS[self.ceilings.binding] if self.plan.mechanism != "inline" else "one at a time"


_WORDS = {
    "concurrency": "calls at once",
    "gil": "GIL",
    "cores": "cores",
    "dispatch": "dispatch",
    "outside": "what it waits for",
}
