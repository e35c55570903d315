"""Figures and words that more than one rendering uses."""

from __future__ import annotations

import math
from collections.abc import Iterable

from poolwise.cost import Forecast
from poolwise.executor.record import RunRecord
from poolwise.plan import Plan
from poolwise.probe import TaskProfile
from poolwise.units import PerSecond, Seconds, makespan, rate

#: What stands where there is no figure.
NO_FIGURE = "–"

#: What binds where the rate that was reached is far from every ceiling.
NO_CEILING = "no ceiling"

#: Inputs that forecasts are for if nobody knows how many there are.
CALLS_IF_UNKNOWN = 1_000


def calls_of(record: RunRecord) -> int:
    """Return the number of inputs that the forecasts of an advice are for."""
    return record.total or CALLS_IF_UNKNOWN


def time(seconds: Seconds | None) -> str:
    """Write a makespan, or that there is none."""
    return NO_FIGURE if seconds is None or not math.isfinite(seconds) else makespan(seconds)


def calls_per_second(value: PerSecond | None) -> str:
    """Write a throughput, or that there is none."""
    return NO_FIGURE if value is None or not math.isfinite(value) else rate(value)


def times(ratio: float) -> str:
    """Write a ratio: ``'5.8×'``, ``'2,100×'``."""
    return f"{ratio:.1f}×" if ratio < 9.95 else f"{ratio:,.0f}×"


def share(part: float, whole: float) -> str | None:
    """Write a share of at most 100 %, or ``None`` where it has no meaning."""
    if not (whole > 0.0 and math.isfinite(whole) and math.isfinite(part) and part >= 0.0):
        return None
    return f"{min(1.0, part / whole):.0%}".replace("%", " %")


def residual(observed: float, predicted: float) -> str | None:
    """Write how far `observed` is from `predicted`: ``'+3 %'``, or ``'12×'`` where far off."""
    if not (observed > 0.0 and predicted > 0.0 and math.isfinite(observed / predicted)):
        return None
    ratio = observed / predicted
    if ratio >= 3.0:
        return f"{times(ratio)} that"
    percent = round((ratio - 1.0) * 100)
    return f"{percent:+} %" if percent else "±0 %"


def longer(seconds: Seconds) -> str:
    """Write a difference of makespans with its sign."""
    return f"+{makespan(seconds)}" if seconds >= 0 else f"-{makespan(-seconds)}"


def family(plan: Plan) -> str:
    """Return the kind of plan, for comparisons between kinds."""
    if plan.mechanism == "inline":
        return "a plain loop"
    if plan.mechanism == "thread":
        return "threads"
    plural = f"{plan.mechanism}es" if plan.mechanism.endswith("s") else f"{plan.mechanism}s"
    return plural if plan.threads_per_worker == 1 else f"{plural} × threads"


def possible(forecasts: Iterable[Forecast]) -> list[Forecast]:
    """Return the forecasts of plans that are not refused and have an end."""
    return [f for f in forecasts if f.refusal is None and math.isfinite(f.makespan)]


def best_of_each_family(forecasts: Iterable[Forecast]) -> dict[str, Forecast]:
    """Return the shortest makespan of each family, the shortest first; refused ones left out."""
    best: dict[str, Forecast] = {}
    for each in sorted(possible(forecasts), key=lambda each: each.makespan):
        best.setdefault(family(each.plan), each)
    return best


def bound_by(forecast: Forecast, calls: float | None = None) -> str:
    """Say what keeps the makespan of `calls` calls from being shorter.

    It is the lowest ceiling, unless starting takes the larger part, or there are fewer calls
    than could run at once, or what was measured is far from that ceiling.
    """
    if forecast.makespan > 0.0 and forecast.startup > 0.5 * forecast.makespan:
        return "start-up"
    if calls is not None and too_few(forecast, calls):
        return "few inputs"
    if not explained(forecast):
        return NO_CEILING
    if forecast.ceilings.binding == "concurrency" and forecast.plan.mechanism != "inline":
        return f"{forecast.plan.concurrency} calls at once"
    return forecast.bound_by


def explained(forecast: Forecast) -> bool:
    """Whether what was measured, if anything was, is what the lowest ceiling lets one expect."""
    return forecast.measured is None or near(forecast.measured, forecast.ceilings.lowest)


def near(measured: PerSecond, ceiling: PerSecond) -> bool:
    """Whether a ceiling explains a rate; queueing alone can keep it a third below."""
    return 0.6 * ceiling <= measured <= 1.25 * ceiling


def too_few(forecast: Forecast, calls: float) -> bool:
    """Whether there are fewer calls than could run at once, and nothing lower binds."""
    slots, limits = forecast.plan.concurrency, forecast.ceilings
    return 1 <= calls < slots and limits.concurrency * calls / slots <= limits.lowest


def gil_time(profile: TaskProfile) -> Seconds:
    """Return the time per call that holds the GIL, as forecasts take it: amid its bounds."""
    return (profile.gil_low + profile.gil_high) / 2
