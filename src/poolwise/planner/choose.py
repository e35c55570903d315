"""Taking the best forecast."""

from __future__ import annotations

import math
from collections.abc import Sequence

from poolwise.cost import Forecast
from poolwise.plan import Plan

#: A mechanism must be so much better than a simpler one: forecasts are not better than this.
MARGIN = 0.05

#: More workers must be so much better than fewer: they cost little, but others may pay for them.
_MORE_WORKERS = 0.01


def ranked(forecasts: Sequence[Forecast]) -> tuple[Forecast, ...]:
    """Return the forecast to take, then the others from best to worst, refused ones last.

    Raises:
        ValueError: every plan is refused.
    """
    chosen = choose(forecasts)
    rest = (each for each in forecasts if each is not chosen)
    return chosen, *sorted(rest, key=lambda each: (each.refusal is not None, each.makespan))


def choose(forecasts: Sequence[Forecast]) -> Forecast:
    """Return the forecast of the plan to take.

    Candidates come with the simpler ones first: a loop, threads, processes, processes that run
    threads; few before many. From each mechanism to the next the step must win 5 %: threads that
    are nearly as good as processes, but no better than a loop, are not taken. Of its plans it is
    the first that comes within 1 % of its own best; of processes that run threads the last: a
    thread that is not needed costs nearly nothing there, and too few leave CPUs idle where calls
    wait for longer than those seen so far. One that has run on a slice of inputs goes before its
    siblings.

    Raises:
        ValueError: every plan is refused.
    """
    families: dict[tuple[str, bool], list[Forecast]] = {}
    for each in forecasts:
        if each.refusal is None:
            families.setdefault(kind(each.plan), []).append(each)
    if not families:
        raise ValueError("every plan is refused")
    taken: list[Forecast] = []
    best = math.inf
    for family in families.values():
        best_here = min(each.makespan for each in family)
        if not taken or best_here * (1.0 + MARGIN) < best:
            taken, best = family, best_here
    close = [each for each in taken if each.makespan <= best * (1.0 + _MORE_WORKERS)]
    seen = [each for each in close if each.measured is not None]
    if seen:
        return seen[0]
    return close[-1 if close[0].plan.threads_per_worker > 1 else 0]


def kind(plan: Plan) -> tuple[str, bool]:
    """Return what plans have in common that differ in numbers only: the mechanism, and whether
    its workers run threads.
    """
    return plan.mechanism, plan.threads_per_worker > 1
