"""Taking the best forecast."""

from __future__ import annotations

from collections.abc import Sequence

from poolwise.cost import Forecast

#: A plan must be so much better than a simpler one: forecasts are not better than this.
_MARGIN = 0.05


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

    Among plans whose makespans are within 5 % of the best, the first is taken: candidates come
    with the simpler ones first (a loop before threads, threads before processes, few before
    many).

    Raises:
        ValueError: every plan is refused.
    """
    possible = [each for each in forecasts if each.refusal is None]
    if not possible:
        raise ValueError("every plan is refused")
    best = min(each.makespan for each in possible)
    return next(each for each in possible if each.makespan <= best * (1.0 + _MARGIN))
