"""Candidates: simple before complex, none twice, none beyond what the user allows."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost.drawn import a_machine, a_task, machines, profiles
from poolwise.machine import MachineProfile
from poolwise.plan import MECHANISMS, Plan
from poolwise.planner import Limits, candidates, evened
from poolwise.probe import TaskProfile

relaxed = settings(deadline=None)
all_limits = st.builds(
    Limits,
    max_concurrency=st.integers(1, 200),
    max_workers=st.none() | st.integers(1, 100),
    threads_per_worker=st.none() | st.integers(1, 40),
)
numbers = st.just(math.inf) | st.integers(1, 200)

WAITS = a_task(wait=20e-3, gil=1e-3)
COMPUTES = a_task(gil=20e-3)


def specs(machine: MachineProfile, task: TaskProfile, limits: Limits) -> list[str]:
    return [plan.spec for plan in candidates(machine, task, limits)]


@relaxed
@given(machines, profiles(), all_limits, numbers)
def test_candidates_come_simple_before_complex_and_once(
    machine: MachineProfile, task: TaskProfile, limits: Limits, calls: float
) -> None:
    plans = list(candidates(machine, task, limits, calls))
    keys = [
        (MECHANISMS.index(each.mechanism), each.workers, each.threads_per_worker) for each in plans
    ]
    assert plans[0] == Plan("inline")
    assert keys == sorted(set(keys))
    assert {each.mechanism for each in plans} >= {"inline", "process"}


@relaxed
@given(machines, profiles(), all_limits, numbers)
def test_no_candidate_exceeds_what_the_user_allows(
    machine: MachineProfile, task: TaskProfile, limits: Limits, calls: float
) -> None:
    for plan in candidates(machine, task, limits, calls):
        assert plan.concurrency <= limits.max_concurrency
        assert limits.max_workers is None or plan.workers <= limits.max_workers
        if plan.mechanism == "process" and limits.threads_per_worker is not None:
            assert plan.threads_per_worker <= limits.threads_per_worker


@relaxed
@given(machines, profiles(), all_limits)
def test_the_most_that_is_allowed_is_among_the_candidates(
    machine: MachineProfile, task: TaskProfile, limits: Limits
) -> None:
    plans = list(candidates(machine, task, limits))
    most = min(limits.max_concurrency, limits.max_workers or limits.max_concurrency)
    if task.waiting < 0.1 * task.wall:
        crowd = 1 if task.gil_low > 0.2 * task.cpu else 2
        most = min(most, crowd * machine.facts.whole_cpus)
    assert max(each.workers for each in plans if each.mechanism != "process") == most
    processes = min(
        limits.max_concurrency,
        machine.facts.whole_cpus if limits.max_workers is None else limits.max_workers,
    )
    assert max(each.workers for each in plans if each.mechanism == "process") == processes


def test_two_cpus_and_calls_that_compute() -> None:
    """More threads than CPUs are a candidate only where they do not come for the GIL in turn."""
    found = specs(a_machine(2.0), COMPUTES, Limits(16))
    assert found == ["inline", "thread:2", "process:2"]
    found = specs(a_machine(2.0), a_task(free=20e-3), Limits(16))
    assert found == ["inline", "thread:2", "thread:4", "process:2"]


def test_few_calls_may_all_run_at_once() -> None:
    """Or in rounds of as many as leave no CPU idle in the last one."""
    few = [plan.spec for plan in candidates(a_machine(2.0), COMPUTES, Limits(16), 5)]
    assert few == ["inline", "thread:2", "process:2", "process:3"]
    few = [plan.spec for plan in candidates(a_machine(2.0), a_task(free=1.0), Limits(16), 3)]
    assert few == ["inline", "thread:2", "thread:3", "thread:4", "process:2", "process:3"]
    few = [plan.spec for plan in candidates(a_machine(2.0), COMPUTES, Limits(16, 2), 5)]
    assert few[-1] == "process:2"


@relaxed
@given(st.integers(1, 100), st.integers(1, 16))
def test_evened_rounds_are_never_longer_and_need_less_than_two_calls_for_each_cpu(
    calls: int, cpus: int
) -> None:
    def lasts(slots: int) -> float:
        left, took = calls, 0.0
        while left > 0:
            took += max(1.0, min(left, slots) / cpus)
            left -= slots
        return took

    slots = evened(calls, cpus)
    assert cpus <= slots < max(2, 2 * cpus)
    assert lasts(slots) <= lasts(cpus)
    assert slots == cpus or lasts(slots) < 0.9 * lasts(cpus)  # each takes memory


def test_eight_cpus_and_calls_that_wait() -> None:
    found = specs(a_machine(8.0), WAITS, Limits(64))
    assert {"process:2", "process:2x4", "process:8", "process:8x2", "process:8x8"} <= set(found)
    assert not [spec for spec in found if spec.startswith("process:4")]


@pytest.mark.parametrize("task", [COMPUTES, a_task(wait=1e-3, gil=20e-3)])
def test_calls_that_hardly_wait_get_no_threads_inside_processes(task: TaskProfile) -> None:
    for plan in candidates(a_machine(8.0), task, Limits()):
        assert plan.mechanism != "process" or plan.threads_per_worker == 1


def test_no_more_threads_inside_processes_than_keep_a_cpu_busy() -> None:
    # One in three computes: three are enough if they take turns evenly, and four times as many
    # if they do not.
    task = a_task(wait=2e-3, gil=1e-3)
    widths = {each.threads_per_worker for each in candidates(a_machine(2.0), task, Limits(64))}
    assert max(widths) == 12


def test_helpers_are_computing_too() -> None:
    task = a_task(gil=1e-3, helpers=19e-3)
    assert specs(a_machine(2.0), task, Limits(4))[-1] == "process:2"


def test_threads_inside_processes_that_the_user_wants_are_all_there_is() -> None:
    for task in (COMPUTES, WAITS):
        found = specs(a_machine(2.0), task, Limits(64, threads_per_worker=5))
        assert [spec for spec in found if "process" in spec] == ["process:2x5"]


def test_one_call_at_once_leaves_a_loop_and_one_process() -> None:
    assert specs(a_machine(8.0), WAITS, Limits(1)) == ["inline", "process:1"]


def test_half_a_cpu_is_one_process() -> None:
    found = specs(a_machine(0.5), COMPUTES, Limits(4))
    assert [spec for spec in found if "process" in spec] == ["process:1"]
