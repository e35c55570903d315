"""Ticks beside work, and CPUs moment by moment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from poolwise.machine.concurrency import heartbeat
from poolwise.machine.concurrency.work import perform
from poolwise.machine.door import Door
from poolwise.timing.repeat import QUICK
from poolwise.timing.sample import Gap, Sample

GIL = getattr(sys, "_is_gil_enabled", lambda: True)()


def test_ticks_are_late_beside_a_thread_that_computes() -> None:
    with Door("thread", perform, workers=1) as door:
        beats = heartbeat.heartbeats(door, QUICK)
    waiting, computing = beats["waiting"], beats["computing"]
    assert isinstance(waiting, Sample)
    assert isinstance(computing, Sample)
    assert waiting.unit == computing.unit == "s"
    if GIL:
        assert computing.median > waiting.median
        switch = heartbeat.switch_interval(beats)
        assert isinstance(switch, Sample)
        assert switch.count == computing.count
        assert 0 < switch.median < computing.median


def test_what_is_late_by_itself_does_not_count_as_waiting_for_the_gil() -> None:
    beats = {"waiting": Sample("s", (1.0, 2.0, 3.0)), "computing": Sample("s", (1.0, 7.0))}
    assert heartbeat.switch_interval(beats) == Sample("s", (0.0, 5.0))
    beats["waiting"] = Sample("s", (1.0,), throttled=True)
    assert heartbeat.switch_interval(beats) == Sample("s", (0.0, 6.0), throttled=True)


@pytest.mark.parametrize("name", ["waiting", "computing"])
def test_a_gap_in_one_is_a_gap_in_what_is_read_from_both(name: str) -> None:
    beats: dict[str, Any] = {"waiting": Sample("s", (1.0,)), "computing": Sample("s", (2.0,))}
    beats[name] = Gap("because")
    assert heartbeat.switch_interval(beats) == Gap("because")


class Traced:
    def __init__(self, *traces: list[tuple[float, int]]) -> None:
        self._traces = list(traces)

    def calls(self, arguments: Sequence[Sequence[Any]]) -> list[Any]:
        assert len(arguments) == 2
        return self._traces

    def close(self, grace: float | None = None) -> None:
        pass


def cpus(*traces: list[tuple[float, int]]) -> object:
    return heartbeat.cpus_at_once(Traced(*traces), QUICK)


def test_cpus_are_counted_where_both_ran() -> None:
    first = [(i * 1e-4, 0) for i in range(100)]
    second = [(5e-3 + i * 1e-4, 1) for i in range(100)]
    found = cpus(first, second)
    assert isinstance(found, Sample)
    assert set(found.values) == {2.0}
    assert found.count == 20


def test_those_that_take_turns_are_not_at_once() -> None:
    turns = [range(20), range(40, 60), range(80, 100)], [range(20, 40), range(60, 80)]
    first, second = ([(i * 1e-3 + 5e-4, n) for r in own for i in r] for n, own in enumerate(turns))
    second.insert(0, (20e-3, 1))  # moments are counted from here
    found = cpus(first, second)
    assert isinstance(found, Sample)
    assert set(found.values) == {1.0}


def test_one_that_is_moved_is_not_at_two_places_at_once() -> None:
    moved = [(i * 1e-5, i % 2) for i in range(1000)]
    found = cpus(moved, [(i * 1e-4, 1) for i in range(100)])
    assert isinstance(found, Sample)
    assert set(found.values) == {1.0}


def test_those_that_never_met_are_a_gap() -> None:
    assert cpus([(0.0, 0), (1.0, 0)], [(2.0, 1), (3.0, 1)]) == Gap("there was no reading")
