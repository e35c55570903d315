"""The pilot, under a clock that moves only by what calls spend."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise.probe import Pilot, Sample
from poolwise.probe import pilot as pilot_module
from poolwise.probe.pilot import BUDGET, WARM_UP
from poolwise.units import Seconds


class Inputs:
    """So many calls, each of which spends what `spend` says of its number."""

    def __init__(self, spend: Callable[[int], object], total: int = 10**9) -> None:
        self.ran = 0
        self._spend = spend
        self._total = total

    def run(self, calls: int) -> int:
        calls = min(calls, self._total - self.ran)
        for number in range(self.ran, self.ran + calls):
            self._spend(number)
        self.ran += calls
        return calls


def pilot(inputs: Inputs, clock: FakeClock) -> Sample:
    return Pilot(inputs.run, clock).sample()


def means(sample: Sample) -> tuple[Seconds, Seconds, Seconds]:
    return sample.wall / sample.calls, sample.cpu / sample.calls, sample.helpers / sample.calls


def test_without_inputs_there_is_nothing_to_say() -> None:
    inputs = Inputs(lambda number: None, 0)
    sample = pilot(inputs, FakeClock())
    assert sample == Sample(0, 1, 0.0, 0.0, 0.0, 0.0)
    assert sample.rate == sample.steady_rate == 0.0


def test_one_long_call_is_enough() -> None:
    clock = FakeClock()
    inputs = Inputs(lambda number: clock.spend(wait=0.3, cpu=0.2))
    sample = pilot(inputs, clock)
    assert inputs.ran == sample.calls == 1
    assert means(sample) == pytest.approx((0.5, 0.2, 0.0))
    assert sample.wall == sample.service


def test_where_a_call_spends_its_time_is_seen() -> None:
    clock = FakeClock()
    inputs = Inputs(lambda number: clock.spend(wait=1e-3, cpu=5e-4, others=2e-4, children=1e-4))
    sample = pilot(inputs, clock)
    assert sample.calls == inputs.ran > 1
    assert means(sample) == pytest.approx((1.5e-3, 5e-4, 3e-4))


def test_a_first_call_that_imports_and_connects_is_left_out() -> None:
    clock = FakeClock()
    inputs = Inputs(lambda number: clock.spend(cpu=2e-4 if number else 4e-3))
    sample = pilot(inputs, clock)
    assert sample.calls == inputs.ran - 1
    assert means(sample) == pytest.approx((2e-4, 2e-4, 0.0))


def test_a_first_call_that_outlasts_the_budget_by_little_is_not_taken_for_the_others() -> None:
    clock = FakeClock()
    inputs = Inputs(lambda number: clock.spend(cpu=2e-4 if number else 12e-3))
    sample = pilot(inputs, clock)
    assert sample.calls == inputs.ran - 1 > 10
    assert means(sample) == pytest.approx((2e-4, 2e-4, 0.0))


def test_a_first_call_that_is_a_bit_longer_counts() -> None:
    clock = FakeClock()
    inputs = Inputs(lambda number: clock.spend(cpu=2e-4 if number else 8e-4))
    sample = pilot(inputs, clock)
    assert sample.calls == inputs.ran


def test_a_slow_first_call_is_all_that_is_known_if_it_outlasts_the_budget() -> None:
    clock = FakeClock()
    sample = pilot(Inputs(lambda number: clock.spend(cpu=2e-4 if number else 0.1)), clock)
    assert (sample.calls, sample.wall) == (1, pytest.approx(0.1))


def test_tiny_calls_are_not_measured_by_what_reading_the_clock_costs() -> None:
    clock = FakeClock(reading=1e-7)
    inputs = Inputs(lambda number: clock.spend(cpu=5e-8))
    sample = pilot(inputs, clock)
    assert means(sample)[0] == pytest.approx(5e-8, rel=0.02)
    assert inputs.ran > pilot_module._WHILE / 5e-8 / 2
    assert clock.readings < 1_000


@pytest.mark.parametrize(("each", "calls"), [(0.1e-3, 20), (0.3e-3, 16), (0.4e-3, 13), (2e-3, 3)])
def test_many_short_calls_end_it_sooner_than_few_longer_ones(each: Seconds, calls: int) -> None:
    clock = FakeClock()
    inputs = Inputs(lambda number: clock.spend(cpu=each))
    assert pilot(inputs, clock).calls == inputs.ran == calls


def test_tiny_calls_behind_a_first_one_that_warms_up_do_not_prolong_the_pilot() -> None:
    clock = FakeClock(reading=1e-7)
    warm = {0: 1e-3, 1: 3e-6, 2: 3e-6}
    inputs = Inputs(lambda number: clock.spend(cpu=warm.get(number, 5e-8)), 10**6)

    def run(calls: int) -> int:
        clock.spend(cpu=9e-6)  # what a batch takes
        return inputs.run(calls)

    sample = Pilot(run, clock).sample()
    assert means(sample)[0] == pytest.approx(5e-8, rel=0.15)
    assert inputs.ran < 2 * BUDGET / 5e-8


def test_a_few_tiny_inputs_are_all_run_and_no_more() -> None:
    clock = FakeClock(reading=1e-7)
    inputs = Inputs(lambda number: clock.spend(cpu=5e-8), total=100)
    sample = pilot(inputs, clock)
    assert inputs.ran == 100
    assert 0 < sample.calls <= 100


def test_waiting_for_a_cpu_is_not_the_task_waiting() -> None:
    clock = FakeClock()
    sample = pilot(Inputs(lambda number: clock.spend(cpu=1e-3, queued=3e-3)), clock)
    assert means(sample) == pytest.approx((1e-3, 1e-3, 0.0))


def test_getting_inputs_ready_is_not_the_calls_time() -> None:
    clock = FakeClock()
    inputs = Inputs(lambda number: clock.spend(cpu=1e-3))
    ready: list[int] = []

    def prepare(calls: int) -> None:
        ready.append(calls)
        clock.spend(wait=1e-3 * calls)

    sample = Pilot(inputs.run, clock, prepare).sample()
    assert means(sample) == pytest.approx((1e-3, 1e-3, 0.0))
    assert sum(ready) == inputs.ran


def test_a_clock_that_stands_still_does_not_stop_the_pilot_from_ending() -> None:
    sample = pilot(Inputs(lambda number: None, total=1_000), FakeClock())
    assert sample.calls <= 1_000
    assert sample.wall == 0.0


@settings(deadline=None)
@given(
    st.floats(1e-6, 0.1),
    st.floats(0.0, 1.0),
    st.integers(0, 200),
)
def test_equal_calls_are_measured_right_within_the_budget(
    each: Seconds, computing: float, total: int
) -> None:
    clock = FakeClock()
    cpu = computing * each
    inputs = Inputs(lambda number: clock.spend(wait=each - cpu, cpu=cpu), total)
    sample = pilot(inputs, clock)
    assert sample.calls <= inputs.ran <= total
    another = each if each < WARM_UP else 0.0  # in case the first was longer than others
    last = max(each, 2 * pilot_module._SHORT)  # a batch that was doubled for the last time
    assert clock.now() <= max(BUDGET + last, each + another) * (1 + 1e-9)
    assert bool(sample.calls) == bool(total)
    if total:
        assert means(sample)[:2] == pytest.approx((each, cpu))
