"""Options: what each one means, and which contradict each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.simulation import MACHINE
from poolwise.executor.guards import Guards
from poolwise.executor.options import RunOptions, run_options
from poolwise.plan import Plan
from poolwise.planner import Limits

#: The machine of the table below: four CPUs.
FOUR = replace(MACHINE, facts=replace(MACHINE.facts, usable_cpus=4.0))

counts = st.none() | st.integers(1, 100)


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POOLWISE_PLAN", "POOLWISE_WISDOM"):
        monkeypatch.delenv(name, raising=False)


def options(**given: Any) -> RunOptions:
    return run_options(FOUR, **given)


def test_nothing_asked_for_leaves_the_choice_free() -> None:
    assert options() == RunOptions(None, Limits(64, None, None), None)


@pytest.mark.parametrize(
    ("given", "spec"),
    [
        ({"mechanism": "inline"}, "inline"),
        ({"mechanism": "inline", "max_workers": 1}, "inline"),
        ({"mechanism": "thread"}, "thread:8"),
        ({"mechanism": "thread", "max_workers": 3}, "thread:3"),
        ({"mechanism": "process"}, "process:4"),
        ({"mechanism": "process", "max_workers": 3}, "process:3"),
        ({"mechanism": "process", "threads_per_worker": 8}, "process:4x8"),
        ({"mechanism": "process", "max_workers": 2, "threads_per_worker": 8}, "process:2x8"),
        ({"plan": "process:4x8/16"}, "process:4x8/16"),
        ({"plan": " thread:2 "}, "thread:2"),
        ({"plan": Plan("thread", 5)}, "thread:5"),
        ({"plan": "thread:2", "max_concurrency": 9}, "thread:2"),
    ],
)
def test_what_is_asked_for_is_pinned(given: dict[str, Any], spec: str) -> None:
    chosen = options(**given)
    assert chosen.plan == Plan.parse(spec)
    assert chosen.max_concurrency == given.get("max_concurrency")


@pytest.mark.parametrize(
    ("cpus", "threads", "processes"), [(0.5, 5, 1), (1.0, 5, 1), (2.5, 7, 3), (64.0, 32, 64)]
)
def test_how_many_workers_there_are_if_nobody_says(
    cpus: float, threads: int, processes: int
) -> None:
    machine = replace(MACHINE, facts=replace(MACHINE.facts, usable_cpus=cpus))
    assert run_options(machine, mechanism="thread").plan == Plan("thread", threads)
    assert run_options(machine, mechanism="process").plan == Plan("process", processes)


@pytest.mark.parametrize(
    ("given", "limits", "most"),
    [
        ({"max_workers": 5}, Limits(5, 5, None), 5),
        ({"max_concurrency": 7}, Limits(7, None, None), 7),
        ({"max_concurrency": 500}, Limits(500, None, None), 500),
        ({"max_workers": 5, "max_concurrency": 7}, Limits(7, 5, None), 7),
        ({"threads_per_worker": 3}, Limits(64, None, 3), None),
        # With both numbers the user says how many calls run at once: as many as they make.
        ({"max_workers": 5, "threads_per_worker": 3}, Limits(64, 5, 3), None),
    ],
)
def test_what_bounds_the_choice(given: dict[str, Any], limits: Limits, most: int | None) -> None:
    assert options(**given) == RunOptions(None, limits, most)


@settings(deadline=None)
@given(counts, counts, counts)
def test_max_concurrency_is_never_exceeded_and_max_workers_alone_is_one(
    max_workers: int | None, threads_per_worker: int | None, max_concurrency: int | None
) -> None:
    chosen = options(
        max_workers=max_workers,
        threads_per_worker=threads_per_worker,
        max_concurrency=max_concurrency,
    )
    assert chosen.plan is None
    assert chosen.limits.max_workers == max_workers
    assert chosen.limits.threads_per_worker == threads_per_worker
    if max_concurrency is not None:
        assert chosen.limits.max_concurrency == chosen.max_concurrency == max_concurrency
    elif max_workers is not None and threads_per_worker is None:
        assert chosen.limits.max_concurrency == chosen.max_concurrency == max_workers


# ---- the environment -------------------------------------------------------------------------


def test_the_environment_pins_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLWISE_PLAN", " process:2x3 ")
    assert options().plan == Plan("process", 2, 3)
    assert options(max_concurrency=4) == RunOptions(Plan("process", 2, 3), Limits(), 4)


@pytest.mark.parametrize(
    ("given", "spec"),
    [
        ({"plan": "inline"}, "inline"),
        ({"mechanism": "thread"}, "thread:8"),
        ({"mechanism": "process", "max_workers": 3}, "process:3"),
        ({"max_workers": 3}, None),
        ({"threads_per_worker": 3}, None),
        ({"use_environment": False}, None),
    ],
)
def test_what_is_said_in_the_call_comes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], spec: str | None
) -> None:
    without = options(**given)
    monkeypatch.setenv("POOLWISE_PLAN", "process:2")
    assert options(**given) == without
    assert without.plan == (None if spec is None else Plan.parse(spec))


def test_isolated_calls_have_processes_and_nothing_else() -> None:
    apart = Guards(isolate=True)
    assert options(guards=apart).plan == Plan("process", 4)
    assert options(guards=apart, max_workers=2, threads_per_worker=3).plan == Plan("process", 2, 3)
    assert options(guards=apart, plan="process:3x2").plan == Plan("process", 3, 2)


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLWISE_PLAN", "  ")
    assert options().plan is None


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLWISE_PLAN", "eight threads")
    with pytest.raises(ValueError, match=r"POOLWISE_PLAN.*eight threads") as caught:
        options()
    assert caught.value.__suppress_context__


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"plan": "thread:2", "mechanism": "thread"}, "mechanism="),
        ({"plan": "thread:2", "max_workers": 2}, "max_workers="),
        ({"plan": Plan("process", 2), "threads_per_worker": 1}, "threads_per_worker="),
        ({"plan": "inline", "mechanism": "thread", "max_workers": 2}, "mechanism, max_workers="),
        ({"mechanism": "thread", "threads_per_worker": 2}, "max_workers is the number of threads"),
        ({"mechanism": "inline", "threads_per_worker": 2}, "has none$"),
        ({"mechanism": "inline", "max_workers": 2}, "max_workers=1"),
    ],
)
def test_options_that_contradict_each_other(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        options(**given)


@pytest.mark.parametrize("mechanism", ["threads", "", "AUTO", "dask", None, 3, ["thread"]])
def test_a_mechanism_that_does_not_exist(mechanism: object) -> None:
    with pytest.raises(ValueError, match="auto, inline, thread, process"):
        options(mechanism=mechanism)


@pytest.mark.parametrize("plan", ["eight threads", "thread:0", "inline:2", ""])
def test_a_plan_that_means_nothing(plan: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        options(plan=plan)


@pytest.mark.parametrize("plan", [8, 2.0, ("thread", 8), Plan, b"thread:8"])
def test_a_plan_of_another_type(plan: object) -> None:
    with pytest.raises(TypeError, match="plan takes a Plan or its text"):
        options(plan=plan)


@pytest.mark.parametrize("name", ["max_workers", "threads_per_worker", "max_concurrency"])
def test_counts_are_whole_numbers_from_one_on(name: str) -> None:
    for value in (0, -1):
        with pytest.raises(ValueError, match=name):
            options(**{name: value})
    for value in (2.0, "2", True, [2]):
        with pytest.raises(TypeError, match=name):
            options(**{name: value})
