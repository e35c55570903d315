"""Work of each kind is what its name says."""

from __future__ import annotations

import inspect
import time

import pytest

from poolwise.machine.concurrency import work
from poolwise.machine.concurrency.speedup import KINDS


def test_kinds_are_those_that_are_measured() -> None:
    assert set(work._KINDS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_when_it_ran_and_what_it_computed(kind: str) -> None:
    before = time.perf_counter()
    begin, end, cpu = work.perform(kind, KINDS[kind])
    assert before <= begin <= end <= time.perf_counter()
    assert cpu >= 0


def test_waiting_takes_no_cpu_and_computing_does() -> None:
    begin, end, cpu = work.work("waits", 0.02)
    assert cpu < (end - begin) / 2
    assert work.work("holds the GIL", 1e6)[2] > cpu


def test_a_trace_says_on_which_cpus_it_ran() -> None:
    trace = work.perform("trace", 0.002)
    times = [when for when, _ in trace]
    assert times == sorted(times)
    assert times[-1] - times[0] <= 0.002 or len(times) > 1
    assert all(cpu >= 0 for _, cpu in trace)


def test_its_text_is_a_program_that_needs_no_poolwise() -> None:
    text = inspect.getsource(work)
    assert "poolwise" not in text.partition('"""')[2].partition('"""')[2]
    space: dict[str, object] = {"__name__": "__main__"}
    exec(text, space)
    assert callable(space["perform"])
