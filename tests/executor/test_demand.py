"""What threads use and want is read at the ends of a stay, however often the owner looks up."""

from __future__ import annotations

import math
import threading

import pytest

from poolwise.executor.demand import DemandMeter, ForeignMeter, Lookout, PagingMeter
from poolwise.probe.contention import Demand
from probe.fake_clock import FakeClock


class Counting(FakeClock):
    """Counts the readings that are dear."""

    dear = 0

    def process_queued(self) -> float:
        self.dear += 1
        return super().process_queued()


def test_it_counts_what_happens_inside() -> None:
    clock = FakeClock()
    meter = DemandMeter(clock)
    for _ in range(3):
        with meter:
            clock.spend(wait=2e-3, cpu=5e-3, others=5e-3, queued=3e-3)
        clock.spend(wait=1.0)
    assert meter.elapsed == pytest.approx(30e-3)
    demand = meter.demand
    assert demand.used == pytest.approx(1.0)
    assert demand.wanted == pytest.approx(1.3)
    assert meter.elapsed == pytest.approx(30e-3)


def test_who_looks_up_for_a_moment_has_not_left() -> None:
    clock = Counting()
    meter = DemandMeter(clock)
    for _ in range(50):
        with meter:
            clock.spend(cpu=1e-3)
        clock.spend(cpu=1e-5)
    assert clock.dear == 1
    assert meter.demand.used == pytest.approx(1.0)
    assert clock.dear == 2


def test_it_goes_on_after_it_was_read() -> None:
    clock = FakeClock()
    meter = DemandMeter(clock)
    with meter:
        clock.spend(cpu=10e-3)
    assert meter.demand.used == pytest.approx(1.0)
    clock.spend(wait=1.0)
    with meter:
        clock.spend(wait=10e-3)
    assert meter.demand.used == pytest.approx(0.5)


def test_nothing_was_used_before_it_began() -> None:
    meter = DemandMeter(FakeClock())
    assert meter.elapsed == 0.0
    assert meter.demand.used == meter.demand.wanted == 0.0


class Crowded(FakeClock):
    """Other threads wait for a CPU as well."""

    in_queue = 0.0

    def process_queued(self) -> float:
        return super().process_queued() + self.in_queue


def test_a_look_tells_what_other_threads_did_since_the_last_one() -> None:
    clock = Crowded()
    clock.spend(cpu=1.0, others=1.0)
    lookout = Lookout(clock)
    clock.spend(wait=0.1, others=0.16)
    clock.in_queue += 0.02
    demand = lookout.look()
    assert (demand.used, demand.wanted) == (pytest.approx(1.6), pytest.approx(1.8))
    clock.spend(cpu=0.1, queued=0.1)  # the one that looks is none of them
    demand = lookout.look()
    assert (demand.used, demand.wanted) == (pytest.approx(0.0), pytest.approx(0.0))


def test_what_threads_want_is_not_known_where_nobody_tells_what_they_queue_for() -> None:
    clock = FakeClock()
    lookout = Lookout(clock)
    clock.spend(wait=0.1, others=0.16)
    assert lookout.look() == Demand(pytest.approx(1.6), math.inf)


class Library(FakeClock):
    foreign = 5.0

    def foreign_cpu(self) -> float:
        return self.foreign


def test_what_a_library_computes_is_told_unless_a_thread_has_ended() -> None:
    clock, hold = Library(), threading.Event()
    thread = threading.Thread(target=hold.wait)
    thread.start()
    try:
        meter = ForeignMeter(clock)
        clock.foreign += 0.25
        assert meter.used == pytest.approx(0.25)
    finally:
        hold.set()
        thread.join()
    assert meter.used == 0.0


class Faulting(FakeClock):
    faults = 10_000

    def page_faults(self) -> int:
        return self.faults


@pytest.mark.parametrize(
    ("faults", "cpu", "share"),
    [
        (1_000, 10e-3, 0.17),
        (300, 10e-3, 0.051),
        (200, 10e-3, 0.0),  # hardly worth a word
        (9_000, 10e-3, 0.7),  # not to be believed
        (1_000, 1e-3, None),  # too little has been computed
    ],
)
def test_page_faults_take_a_part_of_the_computing(
    faults: int, cpu: float, share: float | None
) -> None:
    clock = Faulting()
    clock.spend(cpu=1.0)
    meter = PagingMeter(clock)
    clock.spend(cpu=cpu, wait=1.0)
    clock.faults += faults
    assert meter.share == pytest.approx(share)
