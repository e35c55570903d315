"""What is learnt of the GIL, the CPUs and the other side, as decision tables."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost.drawn import a_task, profiles
from poolwise.probe import Payload, Sample, TaskProfile
from poolwise.probe.contention import (
    Demand,
    after_a_while,
    after_confirming,
    after_helping,
    after_listening,
    after_progress,
    after_widening,
    are_helped,
    computes_in_vain,
    is_divided,
    progress,
)
from poolwise.units import PerSecond, Seconds

relaxed = settings(deadline=None)
demands = st.builds(
    lambda used, more: Demand(used, used + more), st.floats(0.0, 64.0), st.floats(0.0, 4.0)
)


def unknown(wait: Seconds = 0.0, cpu: Seconds = 0.0, helpers: Seconds = 0.0) -> TaskProfile:
    """A task after the pilot: what it computes may hold the GIL or not."""
    return replace(a_task(wait=wait, gil=cpu, helpers=helpers), gil_low=0.0)


def share(task: TaskProfile) -> tuple[float, float]:
    """Bounds of the share of the computing that holds the GIL."""
    return task.gil_low / task.cpu, task.gil_high / task.cpu


def quiet(used: float) -> Demand:
    """What threads use where nothing else wants the CPUs."""
    return Demand(used, used)


# ---- computing calls, one by one -----------------------------------------------------------------

COMPUTES = unknown(cpu=1e-3)


@pytest.mark.parametrize(
    ("case", "task", "held", "threads", "low", "high"),
    [
        ("holds the GIL", COMPUTES, 1.0, 1, 1.0, 1.0),
        ("holds the GIL, but once", COMPUTES, 0.75, 1, 0.9, 1.0),
        ("holds it, and waits for a third of its time", unknown(0.5e-3, 1e-3), 0.6, 1, 0.9, 1.0),
        ("releases it", COMPUTES, 0.0, 1, 0.0, 0.0),
        ("releases it, and one beat was late", COMPUTES, 0.17, 1, 0.0, 0.17),
        ("holds it for some of the time", COMPUTES, 0.4, 1, 0.4, 1.0),
        ("two that wait for half of their time", unknown(1e-3, 1e-3), 0.9, 2, 0.9, 1.0),
        ("a program computes meanwhile", unknown(cpu=1e-3, helpers=1e-3), 0.45, 1, 0.9, 1.0),
        (
            "the library computes elsewhere",
            replace(unknown(cpu=1e-3, helpers=1e-3), wall=1e-3),
            0.5,
            1,
            0.0,
            0.0,
        ),
    ],
)
def test_what_is_heard_beside_a_call(
    case: str, task: TaskProfile, held: float, threads: int, low: float, high: float
) -> None:
    learnt = after_listening(task, held, threads)
    assert share(learnt) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01)), case
    assert replace(learnt, gil_low=0.0, gil_high=task.cpu) == task


def test_calls_that_do_not_compute_say_nothing() -> None:
    task = unknown(wait=1e-3)
    assert after_listening(task, 0.0) == task


@relaxed
@given(profiles(), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.integers(1, 8))
def test_who_holds_the_gil_more_often_holds_it_for_longer(
    task: TaskProfile, one: float, other: float, threads: int
) -> None:
    less, more = (after_listening(task, each, threads) for each in sorted((one, other)))
    assert 0.0 <= less.gil_low <= less.gil_high <= max(task.cpu, task.gil_high)
    assert less.gil_low <= more.gil_low
    assert less.gil_high <= more.gil_high


# ---- computing calls, two at once ----------------------------------------------------------------

SEEMS_FREE = after_listening(COMPUTES, 0.0)


@pytest.mark.parametrize(
    ("case", "used", "wanted", "low", "high"),
    [
        ("take turns with the GIL after all", 1.0, 1.0, 0.9, 1.0),
        ("take turns, and the switches show", 0.9, 1.2, 0.9, 1.0),
        ("run at once", 2.0, 2.0, 0.0, 0.0),
        ("run at once on a busy machine", 1.4, 2.0, 0.0, 0.0),
        ("cannot be told apart on a busy machine", 1.0, 2.0, 0.5, 1.0),
    ],
)
def test_two_computing_calls(
    case: str, used: float, wanted: float, low: float, high: float
) -> None:
    learnt = after_confirming(SEEMS_FREE, 2, Demand(used, wanted))
    assert share(learnt) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01)), case


def test_calls_that_hold_it_now_and_then_and_run_at_once_hold_it_for_no_longer_than_that() -> None:
    learnt = after_confirming(after_listening(COMPUTES, 0.4), 2, Demand(1.6, 1.7))
    assert share(learnt) == (pytest.approx(0.4), pytest.approx(0.625))


def test_calls_that_want_no_more_than_they_get_are_kept_from_it() -> None:
    """By the GIL, or another lock of the process: no other load has hidden that they would."""
    kept = after_confirming(SEEMS_FREE, 2, Demand(1.4, 1.45))
    assert share(kept) == (pytest.approx(0.9 / 1.4), pytest.approx(1 / 1.4))
    assert after_confirming(SEEMS_FREE, 2, Demand(1.4, 1.9)) == SEEMS_FREE
    dear = replace(SEEMS_FREE, payload=Payload(1e-3, 1e-3, bytes_in=1 << 20))
    assert after_confirming(dear, 2, Demand(1.4, 1.45)) == dear


def test_calls_that_wait_for_a_third_and_run_at_once_need_not_fill_two_cpus() -> None:
    seems_free = after_listening(unknown(wait=1e-3, cpu=2e-3), 0.0)
    assert after_confirming(seems_free, 2, Demand(1.3, 1.3)) == seems_free


def test_what_is_dear_to_send_is_not_sent_on_suspicion() -> None:
    dear = replace(SEEMS_FREE, payload=Payload(1e-3, 1e-3, bytes_in=1 << 20))
    assert after_confirming(dear, 2, Demand(1.0, 2.0)) == dear
    assert share(after_confirming(dear, 2, Demand(1.0, 1.0))) == (0.9, 1.0)


@pytest.mark.parametrize(
    ("held", "divided"), [(0.0, False), (1 / 16, False), (3 / 16, True), (0.4, True), (1.0, False)]
)
def test_who_holds_the_gil_for_a_part_may_be_in_the_way_of_others(
    held: float, divided: bool
) -> None:
    assert is_divided(after_listening(COMPUTES, held)) == divided


def threads_of(task: TaskProfile, service: float, cpu: float) -> Sample:
    """Two threads that have done ten calls, each of which took so long, and used so much CPU."""
    return Sample(10, 2, 5 * service, 10 * service, 10 * cpu)


def test_threads_that_use_two_cpus_and_do_no_more_than_one_take_turns() -> None:
    task = after_listening(COMPUTES, 0.4)
    gained = progress(task, threads_of(task, 2.0 * task.wall, 1.4 * task.cpu))
    assert gained == pytest.approx(1.0)
    assert share(after_progress(task, gained, 2)) == (pytest.approx(1.0), pytest.approx(1.0))


def test_threads_that_do_twice_as_much_as_one_have_nothing_to_confess() -> None:
    task = after_listening(COMPUTES, 0.4)
    gained = progress(task, threads_of(task, 1.05 * task.wall, task.cpu))
    assert gained == pytest.approx(1.9, abs=0.05)
    assert share(after_progress(task, gained, 2))[1] == pytest.approx(0.525, abs=0.01)


def test_calls_that_start_programs_keep_each_other_for_longer_than_they_compute() -> None:
    """Whoever starts one holds the GIL until it is there, and has no CPU meanwhile."""
    task = TaskProfile(1, 7e-3, 1e-3, 6e-3, 0.0, 1e-3)
    kept = after_progress(task, 1.25, 2, programs=True)
    assert kept.gil_low == kept.gil_high == pytest.approx(7e-3 / 1.25)
    assert after_progress(task, 1.9, 2, programs=True).gil_high <= 1e-3


def test_what_is_dear_to_send_needs_more_than_a_lack_of_progress() -> None:
    dear = replace(after_listening(COMPUTES, 0.4), payload=Payload(1e-3, 1e-3, bytes_in=1 << 20))
    assert after_progress(dear, 1.0, 2) == dear


def test_a_first_call_that_warmed_up_does_not_make_threads_look_better() -> None:
    task = after_listening(COMPUTES, 0.4)
    gained = progress(task, threads_of(task, task.wall, 0.6 * task.cpu))
    assert gained == pytest.approx(1.2, abs=0.01)


@relaxed
@given(profiles(), st.integers(2, 8), demands)
def test_confirming_never_contradicts_itself(
    task: TaskProfile, threads: int, demand: Demand
) -> None:
    learnt = after_confirming(task, threads, demand)
    assert 0.0 <= learnt.gil_low <= learnt.gil_high <= max(task.cpu, task.gil_high)
    assert not (demand.at_once and demand.in_turn)


@pytest.mark.parametrize(
    ("used", "low", "high"), [(1.0, 0.9, 1.0), (0.6, 0.9, 1.0), (1.6, 0.56, 0.62)]
)
def test_a_while_tells_what_other_load_hid(used: float, low: float, high: float) -> None:
    hidden = after_confirming(COMPUTES, 2, Demand(1.0, 2.0))
    learnt = after_a_while(hidden, quiet(used), 4)
    assert share(learnt) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
    assert after_a_while(learnt, quiet(1.0), 4) == learnt  # once and for all


def test_a_while_finds_calls_out_that_seemed_to_leave_the_gil_alone() -> None:
    assert share(after_a_while(SEEMS_FREE, quiet(1.0), 2)) == (0.9, 1.0)
    assert after_a_while(SEEMS_FREE, quiet(1.9), 2).gil_high == 0.0


def test_a_while_finds_a_lock_that_nobody_hears() -> None:
    kept = after_a_while(SEEMS_FREE, Demand(1.6, 1.65), 2)
    assert share(kept) == (pytest.approx(0.56, abs=0.01), pytest.approx(0.62, abs=0.01))
    beside_others = after_a_while(SEEMS_FREE, Demand(1.6, 2.0), 2)
    assert beside_others.gil_high == 0.0


def test_threads_that_compute_for_much_longer_than_one_do_so_in_vain() -> None:
    many = Sample(10, 2, wall=0.1, service=0.2, cpu=0.16)
    assert computes_in_vain(unknown(cpu=10e-3), many)
    assert not computes_in_vain(unknown(cpu=12e-3), many)


def test_threads_that_use_what_calls_use_alone_have_nothing_to_confess() -> None:
    seems_free = after_listening(unknown(wait=4e-3, cpu=6e-3), 0.0)
    assert after_a_while(seems_free, quiet(1.2), 2) == seems_free
    assert share(after_a_while(seems_free, quiet(1.2), 4)) == (0.9, 1.0)


def test_a_while_tightens_what_was_only_a_bound() -> None:
    half_free = after_confirming(COMPUTES, 2, Demand(1.4, 1.9))
    learnt = share(after_a_while(half_free, quiet(1.5), 4))
    assert learnt == (pytest.approx(0.6, abs=0.01), pytest.approx(0.67, abs=0.01))


def test_a_while_says_nothing_where_it_cannot_matter() -> None:
    assert after_a_while(WAITS, quiet(1.0), 2) == WAITS
    dear = replace(COMPUTES, payload=Payload(1e-3, 1e-3, bytes_in=1 << 20))
    assert after_a_while(dear, quiet(1.0), 2) == dear


# ---- waiting calls, in more and more threads -------------------------------------------------

WAITS = unknown(wait=5e-3, cpu=1e-3)
HARDLY_COMPUTES = unknown(wait=100e-3, cpu=1e-4)


def reached(threads: int, rate: PerSecond, cpu: Seconds = 1e-3) -> Sample:
    """A hundred calls of so many threads that finish at this rate for ever."""
    return Sample(100, threads, wall=100 / rate, service=100 * threads / rate, cpu=100 * cpu)


@pytest.mark.parametrize(
    ("case", "threads", "rate", "low", "high"),
    [
        ("nothing holds them back, below one CPU", 4, 660.0, 0.0, 1.0),
        ("nothing holds them back, above one", 8, 1330.0, 0.0, 0.75),
        ("the CPUs are full", 32, 1950.0, 0.0, 0.51),
        ("the GIL is full", 16, 950.0, 0.9, 1.0),
        ("part of the computing holds the GIL", 16, 1400.0, 0.0, 0.71),
    ],
)
def test_waiting_calls(case: str, threads: int, rate: PerSecond, low: float, high: float) -> None:
    learnt = after_widening(WAITS, None, reached(threads, rate), 2.0)
    assert share(learnt) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01)), case
    assert learnt.outside is None


@pytest.mark.parametrize(
    ("case", "cpu", "helpers", "service", "helped"),
    [
        ("a library computes for them, which takes them longer", 9e-3, 8e-3, 0.1, True),
        ("it computes a little", 9e-3, 2e-3, 0.1, False),
        ("threads poll for nobody, and calls take as long as ever", 9e-3, 8e-3, 0.022, False),
        ("they poll, and light calls are held back by the other side", 2e-4, 2e-3, 0.1, False),
    ],
)
def test_who_computes_for_calls_that_seem_to_wait(
    case: str, cpu: Seconds, helpers: Seconds, service: Seconds, helped: bool
) -> None:
    task = unknown(wait=12e-3, cpu=9e-3)
    sample = Sample(8, 8, service, 8 * service, 8 * cpu, 8 * helpers)
    assert are_helped(task, sample) == helped


def test_helped_calls_compute_as_long_as_they_seemed_to_wait() -> None:
    sample = Sample(8, 8, 0.1, 0.8, 8 * 9e-3, 8 * 8e-3)
    learnt = after_helping(unknown(wait=12e-3, cpu=9e-3), sample)
    assert (learnt.cpu, learnt.helpers) == (pytest.approx(9e-3), pytest.approx(8e-3))
    assert not learnt.waits
    assert learnt.gil_high == pytest.approx(1e-3)


def test_one_cpu_is_full_before_the_gil_tells() -> None:
    learnt = after_widening(WAITS, None, reached(16, 980.0), 1.0)
    assert share(learnt) == (0.0, 1.0)


def test_throughput_that_stops_growing_with_idle_cpus_is_a_limit_outside() -> None:
    narrow, wide = reached(16, 158.0, cpu=1e-4), reached(32, 161.0, cpu=1e-4)
    learnt = after_widening(HARDLY_COMPUTES, narrow, wide, 2.0)
    assert learnt == replace(HARDLY_COMPUTES, outside=161.0)


def test_throughput_that_falls_was_as_high_as_it_gets() -> None:
    narrow, wide = reached(32, 161.0, cpu=1e-4), reached(64, 120.0, cpu=1e-4)
    learnt = after_widening(HARDLY_COMPUTES, narrow, wide, 2.0)
    assert learnt.outside == 161.0


def test_one_width_alone_tells_no_limit_and_growth_none_either() -> None:
    wide = reached(32, 220.0, cpu=1e-4)
    for narrow in (None, reached(16, 150.0, cpu=1e-4)):
        learnt = after_widening(HARDLY_COMPUTES, narrow, wide, 2.0)
        assert learnt == HARDLY_COMPUTES


FREE = WAITS.with_gil(0.0, 0.0)


def test_without_a_gil_none_is_found() -> None:
    learnt = after_widening(FREE, None, reached(16, 950.0), 4.0)
    assert learnt.gil_low == learnt.gil_high == 0.0


def test_without_a_gil_none_is_found_where_nothing_holds_calls_back() -> None:
    learnt = after_widening(FREE, None, reached(8, 1330.0), 4.0)
    assert learnt.gil_low == learnt.gil_high == 0.0


def test_no_calls_say_nothing() -> None:
    nothing = Sample(0, 8, 0.1, 0.0, 0.0)
    assert after_widening(WAITS, None, nothing, 2.0) == WAITS
