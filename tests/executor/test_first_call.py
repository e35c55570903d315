"""What the first call shows while it is watched."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from poolwise.executor import first_call
from poolwise.executor.first_call import Before, FirstCall, Patience
from poolwise.probe.contention import Demand
from poolwise.timing.children import programs
from probe.fake_clock import FakeClock


class Metered:
    """A meter that says what it is told."""

    def __init__(self, demand: Demand) -> None:
        self.elapsed = 0.0
        self.demand = demand

    @property
    def used(self) -> float:
        return self.demand.used * self.elapsed


@pytest.mark.parametrize(
    ("used", "waits", "elapsed", "light"),
    [
        ([0.0], True, 5e-3, True),  # only waits
        ([0.1], True, 5e-3, False),  # waits from the beginning
        ([1.0, 0.0], True, 10e-3, True),  # has imported something before
        ([1.0, 0.1, 0.0], True, 11e-3, True),  # also in a part of the time it was looked at
        ([1.0, 0.1, 0.1], True, 11e-3, False),
        ([1.0, 0.9, 0.9, 0.2, 0.1], True, 21e-3, False),
        ([1.0, 1.0, 1.0, 1.0], False, 20e-3, False),  # computes
    ],
)
def test_a_call_that_comes_to_wait_is_seen_to(
    used: list[float],
    waits: bool,
    elapsed: float,
    light: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`used` are the CPUs that it uses in each window of 5 ms, and in one of a millisecond when it
    has come to wait; if that is a `light` one, many may begin beside it.
    """
    left: Iterator[float] = iter(used)
    meter = Metered(Demand(0.0, 0.0))

    def watch(until: float) -> None:
        cpu = meter.demand.used * meter.elapsed + next(left) * (until - meter.elapsed)
        meter.elapsed = until
        meter.demand = Demand(cpu / until, cpu / until)

    call = watched(meter)
    monkeypatch.setattr(call, "_watch", watch)
    assert call.shows(Patience(5e-3, 20e-3)) == ("waits" if waits else "computes")
    assert meter.elapsed == pytest.approx(elapsed)
    assert call.is_light == light


def test_what_watching_takes_is_not_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Metered(Demand(0.2, 0.2))
    call = watched(meter)

    def watch(until: float) -> None:
        call._dispatch.clock.spend(cpu=0.2 * (until - meter.elapsed))  # type: ignore[attr-defined]
        meter.elapsed = until

    monkeypatch.setattr(call, "_watch", watch)
    assert call.shows(Patience(5e-3, 20e-3)) == "waits"
    assert call.is_light


def test_a_call_that_waits_for_another_program_is_not_light(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """32 of these would take the CPUs from each other."""
    meter = Metered(Demand(0.0, 0.0))
    call = watched(meter)  # which notes the programs that there are
    program = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:

        def watch(until: float) -> None:
            meter.elapsed = until

        monkeypatch.setattr(call, "_watch", watch)
        # It has only just been started, and this takes no time by the clock of the test.
        monkeypatch.setattr(first_call, "cpu_of_programs", lambda clock, but: 0.0)
        assert call.shows(Patience(5e-3, 20e-3)) == "waits"
        assert not call.is_light
    finally:
        program.communicate()


@pytest.mark.parametrize(
    ("busy", "held", "shown"),
    [
        (1.0, 0.0, "lets go"),
        (1.0, 0.5, "computes"),  # the call itself did, before that
        (0.6, 0.0, "computes"),
        (0.1, 0.0, "waits"),
    ],
)
def test_a_call_that_waits_for_a_program_does_what_that_does(
    busy: float, held: float, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program keeps so much of a CPU `busy`."""
    meter = Metered(Demand(0.0, 0.0))
    call = watched(meter, Heard(held))
    clock = call._dispatch.clock
    call._foreign = Foreign(meter, 0.0)  # type: ignore[assignment]

    def watch(until: float) -> None:
        clock.spend(wait=until - meter.elapsed)  # type: ignore[attr-defined]
        meter.elapsed = until

    monkeypatch.setattr(call, "_watch", watch)
    monkeypatch.setattr(first_call, "programs", lambda: frozenset({1}) | call._before.programs)
    monkeypatch.setattr(first_call, "cpu_of_programs", lambda clock, but: busy * clock.now())
    assert call.shows(Patience(2e-3, 20e-3)) == shown
    assert call.programs
    assert not call.is_light


def test_looks_that_take_longer_than_they_should_are_no_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside a call that holds the GIL each takes a turn, and that may be longer than a window."""
    meter = Metered(Demand(1.0, 1.0))
    windows: list[float] = []

    def watch(until: float) -> None:
        windows.append(until - meter.elapsed)
        if meter.elapsed < until:
            meter.elapsed = until + 6e-3

    call = watched(meter)
    monkeypatch.setattr(call, "_watch", watch)
    assert call.shows(Patience(2e-3, 20e-3)) == "computes"
    assert windows == pytest.approx([2e-3] * 3)


def test_a_call_that_has_no_cpu_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Metered(Demand(0.3, 1.0))

    def watch(until: float) -> None:
        meter.elapsed = until

    call = watched(meter)
    monkeypatch.setattr(call, "_watch", watch)
    assert call.shows(Patience(5e-3, 20e-3)) == "computes"


@pytest.mark.parametrize(
    ("taking", "seen"),
    [
        (0.0, [2e-3, 4e-3, 6e-3, 8e-3, 10e-3]),
        (4e-3, [2e-3, 4e-3, 6e-3]),  # it has computed meanwhile
        (50e-3, [2e-3, 4e-3, 6e-3]),  # once more, for it may have come to wait
    ],
)
def test_where_workers_can_be_had_a_call_that_computes_is_soon_a_long_one(
    taking: float, seen: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = Metered(Demand(1.0, 1.0))
    call = watched(meter)
    call._reserve.at_once = True
    looks: list[float] = []
    started: list[float] = []

    def watch(until: float) -> None:
        meter.elapsed = until
        looks.append(until)

    def start() -> None:
        started.append(meter.elapsed)
        call._reserve.started = True
        call._dispatch.clock.spend(wait=taking)  # type: ignore[attr-defined]

    monkeypatch.setattr(call, "_watch", watch)
    call._reserve.start = start  # type: ignore[method-assign]
    assert call.shows(Patience(2e-3, 20e-3)) == "computes"
    assert looks == pytest.approx(seen)
    assert started == pytest.approx([4e-3])


def test_no_workers_are_started_for_a_call_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Metered(Demand(0.1, 0.1))
    call = watched(meter)
    call._reserve.at_once = True

    def watch(until: float) -> None:
        meter.elapsed = until

    monkeypatch.setattr(call, "_watch", watch)
    assert call.shows(Patience(2e-3, 20e-3)) == "waits"
    assert not call._reserve.started


@dataclass
class Foreign:
    """A meter of which such a share is."""

    meter: Metered
    share: float

    @property
    def used(self) -> float:
        return self.share * self.meter.used


@dataclass
class Heard:
    """What the beats beside a call have told."""

    held: float | None
    enough: bool = True


@pytest.mark.parametrize(
    ("heard", "demand", "foreign", "goes"),
    [
        (Heard(0.0), Demand(1.0, 1.0), 0.0, True),
        (Heard(0.0, enough=False), Demand(1.0, 1.0), 0.0, False),
        (Heard(0.06), Demand(1.0, 1.0), 0.0, True),  # one late beat is nobody's
        (Heard(0.06, enough=False), Demand(1.0, 1.0), 0.0, False),
        (Heard(0.5), Demand(1.0, 1.0), 0.0, False),
        (Heard(1.0), Demand(1.0, 1.0), 0.0, False),
        (Heard(None), Demand(1.0, 1.0), 0.0, False),
        (Heard(0.0), Demand(1.9, 1.9), 0.5, False),  # others compute for it
        (Heard(0.0), Demand(1.0, 1.9), 0.5, False),  # and get no CPU
        (Heard(0.0), Demand(1.0, 1.9), 0.0, True),  # it is the owner that gets none
    ],
)
def test_a_call_that_computes_without_the_gil_is_seen_to_let_go(
    heard: Heard, demand: Demand, foreign: float, goes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`foreign` is the share of the computing that threads of libraries do."""
    meter = Metered(demand)

    def watch(until: float) -> None:
        meter.elapsed = until

    call = watched(meter, heard)
    call._foreign = Foreign(meter, foreign)  # type: ignore[assignment]
    monkeypatch.setattr(call, "_watch", watch)
    assert call.shows(Patience(2e-3, 20e-3)) == ("lets go" if goes else "computes")
    # Not sooner than it may be long; workers are not started for it before.
    assert meter.elapsed == pytest.approx(4e-3 if goes else 20e-3)


def test_where_there_is_one_cpu_nothing_begins_beside_a_call_that_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meter = Metered(Demand(1.0, 1.0))

    def watch(until: float) -> None:
        meter.elapsed = until

    call = watched(meter, Heard(0.0))
    call._cpus = 1
    monkeypatch.setattr(call, "_watch", watch)
    assert call.shows(Patience(2e-3, 20e-3)) == "computes"


def watched(meter: Metered, heard: Heard | None = None) -> FirstCall:
    """One that is running, on two CPUs, and no workers can be had at once."""
    call = object.__new__(FirstCall)
    call.lane = SimpleNamespace(in_flight=1)  # type: ignore[assignment]
    call.is_light = call.programs = False
    call._dispatch = SimpleNamespace(clock=FakeClock())  # type: ignore[assignment]
    call._reserve = SimpleNamespace(at_once=False, started=False)  # type: ignore[assignment]
    call._before, call._cpus = Before(0, programs(), cpu=0.0), 2
    call._meter, call._beat = meter, heard or Heard(None)  # type: ignore[assignment]
    return call
