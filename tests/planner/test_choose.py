"""Choosing: the shortest makespan, unless something simpler is about as short."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost.drawn import machines, profiles
from poolwise.cost import Forecast, forecast
from poolwise.machine import MachineProfile
from poolwise.plan import Plan
from poolwise.planner import Limits, candidates, choose, ranked
from poolwise.probe import TaskProfile
from poolwise.task import Refusal

NO = Refusal("it is not picklable", "use threads")


def of(**makespans: float | Refusal) -> list[Forecast]:
    """Forecasts by plan: ``process_2x4=1.0`` is ``process:2x4``; a refusal instead of a time."""
    forecasts = []
    for name, makespan in makespans.items():
        plan = Plan.parse(name.replace("_", ":"))
        if isinstance(makespan, Refusal):
            forecasts.append(Forecast(plan, refusal=makespan))
        else:
            forecasts.append(Forecast(plan, makespan=makespan))
    return forecasts


@st.composite
def forecast_lists(draw: st.DrawFn) -> list[Forecast]:
    """What is forecast for the candidates of some task; of the makespans many are close."""
    plans = ["inline", "thread:2", "thread:4", "process:2", "process:2x2", "process:4"]
    chosen = draw(st.lists(st.sampled_from(plans), min_size=1, unique=True))
    result = []
    for spec in sorted(chosen, key=plans.index):
        makespan = draw(st.sampled_from([0.95, 0.99, 1.0, 1.005, 1.04, 1.06, 2.0]))
        refusal = draw(st.sampled_from([None, None, None, NO]))
        result.append(Forecast(Plan.parse(spec), makespan=makespan, refusal=refusal))
    return result


@pytest.mark.parametrize(
    ("forecasts", "spec"),
    [
        (of(inline=1.0, thread_2=0.5, process_2=0.6), "thread:2"),
        (of(inline=1.0, thread_2=0.97), "inline"),
        (of(inline=1.0, thread_2=0.94), "thread:2"),
        (of(inline=2.0, thread_2=1.03, process_2=1.0), "thread:2"),
        (of(inline=2.0, thread_2=1.10, process_2=1.0), "process:2"),
        (of(inline=2.0, thread_2=1.004, thread_4=1.0), "thread:2"),
        (of(inline=2.0, thread_2=1.04, thread_4=1.0), "thread:4"),
        (of(inline=2.0, thread_2=1.04, thread_4=1.003, thread_8=1.0), "thread:4"),
        (of(inline=2.0, process_2=1.04, process_4=1.0), "process:4"),
        (of(inline=2.0, process_2=1.04, process_2x2=1.0), "process:2"),
        (of(inline=2.0, process_2=1.2, process_2x2=1.0, process_2x4=1.004), "process:2x4"),
        (of(inline=2.0, process_2=1.2, process_2x2=1.0, process_2x4=1.02), "process:2x2"),
        (of(inline=NO, thread_2=NO, process_2=3.0), "process:2"),
        (of(inline=1.0, thread_2=NO, process_2=2.0), "inline"),
        (of(inline=15.3, thread_2=14.8, process_2=14.5), "process:2"),
        (of(inline=15.3, thread_2=14.5, process_2=14.4), "thread:2"),
        (of(inline=15.3, thread_2=14.8, process_2=14.8), "inline"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_the_plan_to_take(forecasts: list[Forecast], spec: str) -> None:
    assert choose(forecasts).plan.spec == spec


@settings(deadline=None)
@given(forecast_lists())
def test_what_is_chosen_is_possible_about_the_best_and_the_simplest_such(
    forecasts: list[Forecast],
) -> None:
    possible = [each for each in forecasts if each.refusal is None]
    if not possible:
        with pytest.raises(ValueError, match="refused"):
            choose(forecasts)
        return
    chosen = choose(forecasts)
    best = min(each.makespan for each in possible)
    assert chosen in possible
    assert chosen.makespan <= best * 1.05 * 1.01
    for place, simpler in enumerate(possible[: possible.index(chosen)]):
        if simpler.plan.mechanism != chosen.plan.mechanism and simpler.makespan <= best * 1.05:
            # As good, but not so much better than what is simpler still.
            assert any(each.makespan <= simpler.makespan * 1.05 for each in possible[:place])


@settings(deadline=None)
@given(forecast_lists())
def test_the_ranking_is_the_chosen_one_the_others_and_the_refused(
    forecasts: list[Forecast],
) -> None:
    if all(each.refusal is not None for each in forecasts):
        with pytest.raises(ValueError, match="refused"):
            ranked(forecasts)
        return
    first, *rest = ranked(forecasts)
    assert first is choose(forecasts)
    assert sorted([first, *rest], key=id) == sorted(forecasts, key=id)
    keys = [(each.refusal is not None, each.makespan) for each in rest]
    assert keys == sorted(keys)


def test_nothing_at_all_cannot_be_chosen_from() -> None:
    with pytest.raises(ValueError, match="refused"):
        choose([])


@settings(deadline=None)
@given(machines, profiles(), st.integers(1, 100_000))
def test_the_choice_is_about_the_best_of_all_candidates(
    machine: MachineProfile, task: TaskProfile, calls: int
) -> None:
    plans = candidates(machine, task, Limits())
    forecasts = [forecast(machine, task, plan, calls, startup=1e-3) for plan in plans]
    best = min(each.makespan for each in forecasts)
    assert choose(forecasts).makespan <= best * 1.05 * 1.01
