"""What would change the advice: how many inputs there are, and the GIL. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from poolwise.cost import Forecast, forecast
from poolwise.cost.model import queued
from poolwise.executor.record import RunRecord
from poolwise.explain.words import calls_of, family, possible
from poolwise.plan import MECHANISMS
from poolwise.planner import batch_size, choose
from poolwise.probe import TaskProfile
from poolwise.units import PerSecond

Kind: TypeAlias = Literal["fewer_inputs", "more_inputs", "free_threaded"]

#: How far to look for a number of inputs at which another kind of plan is better. Far beyond
#: what is asked for, forecasts from a small sample mean little.
_FURTHEST = 1_000

#: That one input alone wants a plain loop is no news.
_FEWEST = 2

#: The step of the search for a change; between two steps it is narrowed down by halving.
_STEP = 1.5

#: Below this much shorter, a makespan is no news. Forecasts are not better than this.
_NEWS = 0.95


@dataclass(frozen=True, slots=True)
class Change:
    """Under one changed circumstance, what is the plan to take: `forecast`.

    For ``fewer_inputs`` it is taken below `inputs` inputs, for ``more_inputs`` above. For
    ``free_threaded``, a build without the GIL, `inputs` is the number asked for, and `same` says
    that nothing is gained.
    """

    kind: Kind
    inputs: int
    forecast: Forecast
    same: bool = False


def find_changes(record: RunRecord, forecasts: tuple[Forecast, ...]) -> tuple[Change, ...]:
    """Return what would change the choice of ``forecasts[0]``, as far as can be computed."""
    able = sorted(possible(forecasts), key=_simplest_first)
    if record.profile is None or not able or forecasts[0].refusal is not None:
        return ()
    here = calls_of(record)
    found = (
        *_with_other_inputs(_best_for(record, record.profile, able), forecasts[0], here),
        _without_gil(record, record.profile, able, forecasts[0]),
    )
    return tuple(change for change in found if change is not None)


def _simplest_first(each: Forecast) -> tuple[int, int, int]:
    """Order as `choose` wants it, which takes the first of those that are about equal."""
    plan = each.plan
    return MECHANISMS.index(plan.mechanism), plan.workers, plan.threads_per_worker


# ---- other numbers of inputs -------------------------------------------------------------------


def _best_for(
    record: RunRecord, profile: TaskProfile, able: Sequence[Forecast]
) -> Callable[[int], Forecast]:
    """Return a function: the forecast to take for so many inputs, with the rates as they are."""
    rates = [(each, _full_rate(record, profile, each)) for each in able]

    def best(calls: int) -> Forecast:
        return choose([_at(record, profile, each, rate, calls) for each, rate in rates])

    return best


def _at(
    record: RunRecord, profile: TaskProfile, each: Forecast, rate: PerSecond, calls: int
) -> Forecast:
    return forecast(record.machine, profile, each.plan, calls, startup=each.startup, measured=rate)


def _full_rate(record: RunRecord, profile: TaskProfile, each: Forecast) -> PerSecond:
    """Return the rate with as many inputs as the plan has room for."""
    if each.measured is not None or calls_of(record) >= each.plan.concurrency:
        return each.rate
    return queued(record.machine, each.plan, each.ceilings)


def _with_other_inputs(
    best: Callable[[int], Forecast], chosen: Forecast, here: int
) -> list[Change | None]:
    kind = family(chosen.plan)

    def kept(calls: int) -> bool:
        return family(best(calls).plan) == kind

    if not kept(here):
        return []  # the choice rests on more than these lines say
    fewer = _nearest_change(kept, here, min(here, _FEWEST))
    more = _nearest_change(kept, here, here * _FURTHEST)
    return [
        None if fewer is None else Change("fewer_inputs", fewer + 1, best(fewer)),
        None if more is None else Change("more_inputs", more - 1, best(more)),
    ]


def _nearest_change(kept: Callable[[int], bool], here: int, furthest: int) -> int | None:
    """Return the number of inputs nearest to `here`, up to `furthest`, that is not `kept`."""
    near, far = here, here
    while kept(far):
        if far == furthest:
            return None
        near, far = far, _next(far, furthest)
    while abs(far - near) > 1:
        middle = (near + far) // 2
        near, far = (middle, far) if kept(middle) else (near, middle)
    return far


def _next(calls: int, furthest: int) -> int:
    if furthest < calls:
        return max(furthest, int(calls / _STEP))
    return min(furthest, math.ceil(calls * _STEP))


# ---- a build without the GIL -------------------------------------------------------------------


def _without_gil(
    record: RunRecord, profile: TaskProfile, able: Sequence[Forecast], chosen: Forecast
) -> Change | None:
    """Forecast every candidate as if nothing held a GIL, and all else were equal."""
    if not record.machine.facts.gil:
        return None
    calls, free = calls_of(record), replace(profile, gil_low=0.0, gil_high=0.0)
    forecasts = [
        forecast(
            record.machine,
            free,
            each.plan,
            calls,
            batch=batch_size(each.plan, free.wall, calls),
            startup=each.startup,
        )
        for each in able
    ]
    best = choose(forecasts)
    return Change("free_threaded", calls, best, same=not _is_news(best, chosen))


def _is_news(best: Forecast, chosen: Forecast) -> bool:
    """Whether `best` is clearly shorter, or another kind of plan does as well."""
    if family(best.plan) == family(chosen.plan):
        return best.makespan < _NEWS * chosen.makespan
    return best.makespan < chosen.makespan / _NEWS
