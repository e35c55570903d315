"""Speed-up is how much sooner so many are done; whoever fails makes a gap."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from poolwise.machine import deadline
from poolwise.machine.concurrency import speedup
from poolwise.machine.facts import read_facts
from poolwise.timing.clock import SystemClock
from poolwise.timing.repeat import NORMAL, QUICK, Effort
from poolwise.timing.sample import Gap, Sample

TINY = Effort(0.001, least=3, most=3, tolerance=1.0, piece=0.002, largest=1 << 16)


class Watch(SystemClock):
    """Shows the time that it is set to."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


class Fake:
    """Workers that take a second for a call, and `beside` more for each call beside another."""

    def __init__(self, beside: float = 0.0) -> None:
        self._beside = beside
        self.clock = Watch()
        self.asked: list[int] = []

    def calls(self, arguments: Sequence[Sequence[Any]]) -> list[Any]:
        self.asked.append(len(arguments))
        begin = self.clock.time
        self.clock.time += 1.0 + self._beside * (len(arguments) - 1)
        return [(begin, self.clock.time, 0.5)] * len(arguments)

    def close(self, grace: float | None = None) -> None:
        pass

    def read(self, *numbers: int) -> speedup.Readings:
        return speedup.read(self, ["waits"], numbers, TINY, clock=self.clock)["waits"]


def medians(readings: speedup.Readings) -> dict[int, float]:
    figures = readings.figures()
    return {n: each.median for n, each in figures.items() if isinstance(each, Sample)}


@pytest.mark.parametrize(
    ("beside", "figures"),
    [
        pytest.param(0.0, {1: 1.0, 2: 2.0, 4: 4.0}, id="at once"),
        pytest.param(1.0, {1: 1.0, 2: 1.0, 4: 1.0}, id="in turn"),
        pytest.param(3.0, {1: 1.0, 2: 0.5, 4: 0.4}, id="in each other's way"),
    ],
)
def test_speedup_is_how_much_sooner_so_many_are_done(
    beside: float, figures: dict[int, float]
) -> None:
    assert medians(Fake(beside).read(1, 2, 4)) == figures


def test_two_show_what_they_compute_at_once_and_what_one_does_to_the_other() -> None:
    assert Fake(0.25).read(1, 2).busy == [1.0 / 1.25] * TINY.least
    assert Fake(0.25).read(1, 2).slowed == [1.25] * TINY.least


def test_all_numbers_are_tried_in_each_round() -> None:
    fake = Fake()
    fake.read(1, 2, 3)
    assert fake.asked == [3] + [1, 2, 3] * TINY.least


def test_kinds_take_turns_and_one_that_fails_ends_no_other() -> None:
    done: list[str] = []

    class Partial(Fake):
        def calls(self, arguments: Sequence[Sequence[Any]]) -> list[Any]:
            ((kind, _), *_) = arguments
            done.append(kind)
            if kind == "holds the GIL":
                raise OSError("not this")
            return super().calls(arguments)

    kinds = ["holds the GIL", "waits", "releases the GIL"]
    fake = Partial()
    found = speedup.read(fake, kinds, [1, 2], TINY, clock=fake.clock)
    assert found["holds the GIL"].failed == Gap("OSError: not this")
    assert medians(found["waits"]) == medians(found["releases the GIL"]) == {1: 1.0, 2: 2.0}
    turn = ["waits"] * 2 + ["releases the GIL"] * 2
    assert done == [*kinds, *turn * TINY.least]


def test_numbers_of_workers_go_up_to_twice_the_cpus() -> None:
    assert speedup.counts(1, NORMAL) == speedup.counts(1, QUICK) == [1, 2]
    assert speedup.counts(3, NORMAL) == [1, 2, 3, 4, 5, 6]
    assert speedup.counts(4, NORMAL) == [1, 2, 4, 8]
    assert speedup.counts(96, NORMAL) == [1, 2, 4, 8, 16, 32, 64, 96, 128, 192]
    assert speedup.counts(96, QUICK) == [1, 2, 96]


class Failing(Fake):
    def calls(self, arguments: Sequence[Sequence[Any]]) -> list[Any]:
        raise OSError("no more workers")


class Hanging(Fake):
    def calls(self, arguments: Sequence[Sequence[Any]]) -> list[Any]:
        time.sleep(30.0)
        return []


def test_what_fails_is_a_gap_everywhere() -> None:
    readings = Failing().read(1, 2)
    assert readings.figures() == dict.fromkeys((1, 2), Gap("OSError: no more workers"))
    assert readings.figure(readings.busy) == Gap("OSError: no more workers")


def test_what_hangs_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speedup, "PATIENCE", 0.05)
    assert deadline.PATIENCE > 0.05
    readings = Hanging().read(1, 2)
    assert "did not come within 0.05 s" in str(readings.figures()[2])


def test_what_memory_has_no_room_for_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = replace(read_facts(), free_memory=50_000_000)
    monkeypatch.setattr(speedup, "read_facts", lambda: facts)
    readings = speedup.read(Failing(), ["memory bandwidth"], [1, 2], TINY)
    assert readings["memory bandwidth"].failed == Gap("it takes 101 MB of memory; 50 MB are free")


def test_an_interrupt_is_none() -> None:
    class Interrupted(Fake):
        def calls(self, arguments: Sequence[Sequence[Any]]) -> list[Any]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Interrupted().read(1, 2)


@pytest.mark.parametrize("kind", speedup.KINDS)
def test_more_time_takes_more_work(kind: str) -> None:
    assert 0 < speedup.amount_for(kind, 1e-4) < speedup.amount_for(kind, 50e-3)


@pytest.mark.parametrize("throttled", [False, True])
def test_speedups_say_whether_they_were_throttled(
    monkeypatch: pytest.MonkeyPatch, throttled: bool
) -> None:
    times = itertools.count(7) if throttled else itertools.repeat(7)
    monkeypatch.setattr(speedup, "times_throttled", times.__next__)
    figure = Fake().read(1, 2).figures()[2]
    assert isinstance(figure, Sample)
    assert figure.throttled is throttled
