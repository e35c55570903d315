"""The task profile: where the time of a call goes, and how it is brought up to date."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost.drawn import a_task, profiles
from poolwise.probe import Payload, Sample, TaskProfile
from poolwise.units import Seconds

relaxed = settings(deadline=None)
seconds = st.floats(0.0, 10.0)


@relaxed
@given(st.integers(0, 10**6), seconds, seconds, seconds, st.booleans())
def test_a_profile_of_any_sample_makes_sense(
    calls: int, wall: Seconds, cpu: Seconds, helpers: Seconds, gil: bool
) -> None:
    task = TaskProfile.of(Sample(calls, 1, wall, wall, cpu, helpers), Payload(), gil=gil)
    assert task.wall > 0.0
    assert 0.0 <= task.gil_low <= task.gil_high <= task.cpu <= task.wall
    assert 0.0 <= task.waiting <= task.wall
    assert task.helpers >= 0.0


def test_before_any_race_all_computing_may_hold_the_gil() -> None:
    sample = Sample(10, 1, 1.0, 1.0, 0.4)
    assert TaskProfile.of(sample, Payload()).gil_high == pytest.approx(0.04)
    assert not TaskProfile.of(sample, Payload()).gil_known
    assert TaskProfile.of(sample, Payload(), gil=False).gil_known


def test_hardly_any_helping_is_none() -> None:
    def helpers(share: float) -> Seconds:
        return TaskProfile.of(Sample(10, 1, 1.0, 1.0, 0.4, share), Payload()).helpers

    assert helpers(0.01) == 0.0
    assert helpers(0.5) == pytest.approx(0.05)


def test_waiting_is_what_nobody_computes() -> None:
    assert a_task(wait=0.2, gil=0.1, free=0.1, helpers=0.1).waiting == pytest.approx(0.2)
    assert TaskProfile.of(Sample(1, 1, 1.0, 1.0, 1.0, 3.0), Payload()).waiting == 0.0
    assert a_task(wait=0.3, gil=0.2).waits
    assert not a_task(wait=0.2, gil=0.3).waits


@relaxed
@given(profiles(), seconds, seconds)
def test_the_gil_is_held_for_no_longer_than_a_call_computes(
    task: TaskProfile, one: Seconds, other: Seconds
) -> None:
    low, high = sorted((one, other))
    better = task.with_gil(low, high)
    assert better.gil_low <= better.gil_high <= task.cpu
    assert better.wall == task.wall


def nearly_equal(one: TaskProfile, other: TaskProfile) -> bool:
    return one.payload == other.payload and all(
        getattr(one, name) == pytest.approx(getattr(other, name))
        for name in ("calls", "wall", "cpu", "helpers", "gil_low", "gil_high", "waiting", "outside")
    )


def test_other_load_slows_computing_and_a_busy_other_side_waiting() -> None:
    task = a_task(wait=4.0, gil=2.0, free=1.0, helpers=1.0)
    assert nearly_equal(task.slowed(2.0, 1.0), a_task(wait=4.0, gil=4.0, free=2.0, helpers=2.0))
    assert nearly_equal(task.slowed(1.0, 3.0), a_task(wait=12.0, gil=2.0, free=1.0, helpers=1.0))


def test_helpers_that_compute_meanwhile_take_no_time_of_their_own() -> None:
    # As in a product of matrices with threads of its own: one second of three CPUs.
    task = TaskProfile.of(Sample(1, 1, 1.0, 1.0, 1.0, 2.0), Payload())
    assert task.slowed(2.0, 1.0).wall == pytest.approx(2.0)


@relaxed
@given(profiles(), st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_slowing_down_can_be_undone(task: TaskProfile, cpu: float, waiting: float) -> None:
    assert nearly_equal(task.slowed(1.0, 1.0), task)
    # What rounding leaves of no waiting at all must not count.
    if task.waiting == 0.0 or task.waiting > 1e-6 * task.wall:
        assert nearly_equal(task.slowed(cpu, waiting).slowed(1 / cpu, 1 / waiting), task)


@relaxed
@given(profiles(), st.floats(1e-6, 10.0))
def test_calls_that_compute_for_longer_wait_as_they_did(task: TaskProfile, cpu: Seconds) -> None:
    other = task.with_cpu(cpu)
    if not task.cpu:
        assert other == task
        return
    assert other.cpu == pytest.approx(cpu)
    assert other.helpers * task.cpu == pytest.approx(task.helpers * cpu)
    assert other.gil_high * task.cpu == pytest.approx(task.gil_high * cpu)
    assert other.waiting == pytest.approx(task.waiting, rel=1e-6, abs=1e-9 * other.wall)


@relaxed
@given(profiles(), st.floats(max_value=0.0))
def test_without_any_computing_there_is_nothing_to_learn(task: TaskProfile, cpu: Seconds) -> None:
    assert task.with_cpu(cpu) == task


@relaxed
@given(st.integers(1, 64), st.integers(1, 1_000), st.floats(1e-6, 10.0))
def test_a_steady_rate_needs_no_long_window(slots: int, calls: int, each: Seconds) -> None:
    # Calls that began together also end together: as many a second as there are slots for, however
    # long was watched.
    sample = Sample(calls, slots, wall=each, service=calls * each, cpu=0.0)
    assert sample.steady_rate == pytest.approx(slots / each)
    assert sample.rate == pytest.approx(calls / each)
