"""What sending costs is learnt without sending, and without a copy of what is large."""

from __future__ import annotations

import sys
import threading
import tracemalloc

import numpy as np
import pytest
from fake_clock import FakeClock

from poolwise.probe import Payload, measure_payload
from poolwise.task import Columns
from poolwise.timing.clock import SystemClock
from poolwise.units import Seconds


class Slow:
    """Takes so long to pickle, on a clock that stands still otherwise."""

    def __init__(self, clock: FakeClock, seconds: Seconds) -> None:
        self._clock = clock
        self._seconds = seconds

    def __reduce__(self) -> tuple[object, ...]:
        self._clock.spend(cpu=self._seconds)
        return int, ()


def carried(*values: object) -> bool:
    """Whether these can be sent, as arguments and as results."""
    there = measure_payload(([*values],), [None] * len(values), SystemClock()).carried
    back = measure_payload(([None] * len(values),), [*values], SystemClock()).carried
    assert there == back
    return there


def test_no_calls_cost_nothing() -> None:
    assert measure_payload(([],), [], FakeClock()) == Payload()


def test_times_are_those_of_one_call_both_ways() -> None:
    clock = FakeClock()
    arguments: Columns = ([Slow(clock, 1e-3) for _ in range(4)], [None] * 4)
    results: list[object] = [Slow(clock, 2e-3) for _ in range(4)]
    payload = measure_payload(arguments, results, clock)
    # Each side writes one of them and reads the other.
    assert payload.caller == pytest.approx(3e-3, rel=1e-3)
    assert payload.worker == payload.caller
    assert payload.carried


def test_the_first_pickle_of_all_is_not_taken_for_what_others_cost() -> None:
    clock = FakeClock()

    class SlowAtFirst(Slow):
        def __reduce__(self) -> tuple[object, ...]:
            made = super().__reduce__()
            self._seconds = 1e-6
            return made

    payload = measure_payload(([SlowAtFirst(clock, 1e-4)],), [None], clock)
    assert payload.caller == pytest.approx(1e-6, rel=0.2)


def test_what_takes_long_to_pickle_is_pickled_once() -> None:
    clock = FakeClock()
    measure_payload(([Slow(clock, 1.0)],), [None], clock)
    assert clock.now() == pytest.approx(1.0)


def test_sizes_are_those_of_one_call_each_way() -> None:
    arguments: Columns = ([bytes([number]) * 1_000 for number in range(8)],)
    payload = measure_payload(arguments, [bytes([number]) * 50 for number in range(8)], FakeClock())
    assert payload.bytes_in == pytest.approx(1_000, abs=20)
    assert payload.bytes_out == pytest.approx(50, abs=20)


def test_what_is_the_same_in_all_calls_is_sent_once() -> None:
    same = bytes(100_000)
    payload = measure_payload(([same] * 10,), [None] * 10, FakeClock())
    assert payload.bytes_in == pytest.approx(10_000, abs=20)


def test_large_buffers_are_sized_without_a_copy() -> None:
    array = np.zeros(1_000_000)
    tracemalloc.start()
    try:
        payload = measure_payload(([array],), [array.reshape(1_000, 1_000)], FakeClock())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert payload.bytes_in == pytest.approx(array.nbytes, rel=0.001)
    assert payload.bytes_out == pytest.approx(array.nbytes, rel=0.001)
    assert most < array.nbytes / 10
    # What writing it there and mapping what comes back will cost is in the forecast, though.
    assert payload.caller == pytest.approx(array.nbytes * 2.5e-10, rel=0.01)


def test_what_does_not_pickle_is_not_carried() -> None:
    assert not carried(threading.Lock())
    assert not carried(1, 2, threading.Lock(), 4)
    assert not carried(number for number in range(3))
    assert measure_payload(([threading.Lock()],), [1], FakeClock()) == Payload(carried=False)


def test_what_breaks_while_it_is_pickled_is_not_carried() -> None:
    class Broken:
        def __reduce__(self) -> str:
            raise RuntimeError("no")

    assert not carried(Broken())


def test_what_is_sent_by_value_is_carried() -> None:
    factor = 3

    class Local:
        pass

    assert carried(lambda number: factor * number, Local(), Local)


def test_what_only_the_main_script_knows_is_sent_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    class Item:
        lock: object = None

    Item.__module__, Item.__qualname__ = "__main__", "Item"
    monkeypatch.setattr(sys.modules["__main__"], "Item", Item, raising=False)
    assert carried(Item())
    # Forks are sent a reference, so that is what a call is said to cost.
    assert measure_payload(([Item()],), [None], FakeClock()).bytes_in < 100
    # By reference it would pickle, but a worker has another main module; and by value it cannot.
    Item.lock = threading.Lock()
    assert not carried(Item())
