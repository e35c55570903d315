"""Updates are lost where something comes between reading and writing."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from small_effort import TINY

from poolwise.machine.communication import races
from poolwise.timing.clock import SystemClock
from poolwise.timing.sample import Sample

GIL = getattr(sys, "_is_gil_enabled", lambda: True)()


def test_updates_are_lost_without_a_lock_only() -> None:
    found = races.race(TINY)
    assert isinstance(found.with_call, Sample)
    assert 0 < found.with_call.values[-1] < found.increments
    assert not any(found.with_call.values[:-1])
    assert isinstance(found.with_lock, Sample)
    assert set(found.with_lock.values) == {0.0}
    assert isinstance(found.plain, Sample)
    assert any(found.plain.values) != GIL


def test_runs_go_on_until_some_are_lost_but_not_for_ever() -> None:
    script: Iterator[int]

    def losing(counter: races._Counter, times: int) -> None:
        counter.n += times - next(script)

    script = iter([0, 0, 0, 0, 1, 2, 0, 0])
    assert list(races._until_lost(losing, 9, 1000)) == [0.0, 0.0, 3.0]
    script = iter([0] * 8)
    assert list(races._until_lost(losing, 4, 1000)) == [0.0] * 4


def test_so_many_are_counted_that_threads_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is done within its first turn has lost nothing: a fast machine counts further."""

    class Watch(SystemClock):
        time = 0.0

        def now(self) -> float:
            return self.time

    watch = Watch()

    def count(counter: races._Counter, times: int) -> None:
        watch.time += times * 10e-9

    monkeypatch.setattr(races, "_with_call", count)
    each = races._enough(watch)
    assert each * 10e-9 >= 4 * sys.getswitchinterval()
    assert each < 5 * sys.getswitchinterval() / 10e-9
