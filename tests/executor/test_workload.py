"""Inputs are drawn as `zip` would pair them, a bounded number at a time, and never ahead."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise.executor.workload import DRAW_FOR, Inputs
from poolwise.task import Task
from poolwise.timing.clock import SystemClock
from poolwise.units import Seconds

TASK = Task(print)

relaxed = settings(deadline=None)
columns = st.lists(st.lists(st.integers(), max_size=40), min_size=1, max_size=3)
limits = st.lists(st.integers(0, 12), min_size=1, max_size=8)

#: Ways to hand over a list: sequences are drawn at once, others with an eye on the clock.
FORMS: list[Callable[[list[int]], Iterable[int]]] = [
    list,
    tuple,
    iter,
    lambda values: (value for value in values),
    lambda values: dict(enumerate(values)).values(),
    lambda values: np.array(values, dtype=object),
    lambda values: map(int, values),
]


class FakeClock(SystemClock):
    """A wall clock that moves when it is told to."""

    def __init__(self) -> None:
        self.time = 0.0
        self.readings = 0

    def now(self) -> Seconds:
        self.readings += 1
        return self.time


class Watched:
    """An iterator over values that counts what was asked of it; an exception is raised."""

    def __init__(self, values: Iterable[object], clock: FakeClock | None = None) -> None:
        self.asked = 0
        self.each: Seconds = 0.0
        self._values = iter(values)
        self._clock = clock

    def __iter__(self) -> Watched:
        return self

    def __next__(self) -> object:
        if self._clock is not None:
            self._clock.time += self.each
        value = next(self._values)
        self.asked += 1
        if isinstance(value, BaseException):
            raise value
        return value


def inputs_of(*iterables: Iterable[object], total: int | None = None) -> Inputs:
    return Inputs(TASK, iterables, FakeClock(), total)


def draw(inputs: Inputs, limit: int) -> list[tuple[object, ...]]:
    """Draw once; the calls' arguments."""
    drawn = inputs.draw(limit)
    if drawn is None:
        return []
    task, columns = drawn
    assert task is TASK
    assert all(type(column) is list for column in columns)
    rows = list(zip(*columns, strict=True))
    assert 0 < len(rows) <= limit
    return rows


def draw_all(inputs: Inputs, limits: Iterable[int]) -> list[tuple[object, ...]]:
    """Draw with these limits in turn, for as long as any of them is above 0."""
    rows: list[tuple[object, ...]] = []
    for limit in itertools.cycle([*limits, 1]):
        if inputs.exhausted:
            return rows
        rows += draw(inputs, limit)
    raise AssertionError


@relaxed
@given(columns, st.data(), limits)
def test_what_is_drawn_is_what_zip_pairs(
    lists: list[list[int]], data: st.DataObject, limits: list[int]
) -> None:
    inputs = inputs_of(*(data.draw(st.sampled_from(FORMS))(values) for values in lists))
    rows = draw_all(inputs, limits)
    assert rows == list(zip(*lists, strict=False))
    assert inputs.error is None
    assert (inputs.drawn, inputs.remaining) == (len(rows), 0)
    assert inputs.draw(5) is None


@relaxed
@given(columns, limits)
def test_iterators_advance_as_zip_advances_them(lists: list[list[int]], limits: list[int]) -> None:
    model, drawn = [iter(values) for values in lists], [iter(values) for values in lists]
    list(zip(*model, strict=False))
    draw_all(inputs_of(*drawn), limits)
    assert [list(each) for each in drawn] == [list(each) for each in model]


@relaxed
@given(st.integers(0, 30), st.integers(0, 2), st.integers(1, 3), limits)
def test_an_exception_ends_the_inputs_after_those_before_it(
    before: int, where: int, count: int, limits: list[int]
) -> None:
    error = LookupError("no more")
    iterables: list[Iterable[object]] = [itertools.count() for _ in range(count)]
    iterables[where % count] = Watched([*range(before), error, *range(5)])
    inputs = inputs_of(*iterables)
    rows = draw_all(inputs, limits)
    assert rows == [(number,) * count for number in range(before)]
    assert inputs.error is error
    assert inputs.exhausted
    assert inputs.remaining == 0


@relaxed
@given(st.integers(1, 1_000), st.integers(1, 3), st.floats(0.0, 2e-3))
def test_never_more_is_asked_for_than_the_limit(limit: int, count: int, each: Seconds) -> None:
    clock = FakeClock()
    watched = [Watched(itertools.count(), clock) for _ in range(count)]
    watched[0].each = each
    inputs = Inputs(TASK, tuple(watched), clock, None)
    rows = draw(inputs, limit)
    assert [each.asked for each in watched] == [len(rows)] * count
    assert rows


def test_a_slow_generator_is_left_when_a_millisecond_is_spent() -> None:
    clock = FakeClock()
    slow = Watched(itertools.count(), clock)
    inputs = Inputs(TASK, (slow,), clock, None)
    slow.each = 2 * DRAW_FOR
    assert len(draw(inputs, 100)) == 1
    slow.each = DRAW_FOR / 10
    assert 10 <= len(draw(inputs, 100)) < 20
    slow.each = 0.0
    assert len(draw(inputs, 100)) == 100


def test_the_pace_is_how_long_one_input_is_waited_for() -> None:
    clock = FakeClock()
    slow = Watched(itertools.count(), clock)
    inputs = Inputs(TASK, (slow,), clock, None)
    paces = []
    for slow.each in (0.0, 2 * DRAW_FOR, DRAW_FOR / 2, 5 * DRAW_FOR, 0.0):
        draw(inputs, 10)
        paces.append(inputs.pace)
    assert paces == [0.0, pytest.approx(2 * DRAW_FOR), 0.0, pytest.approx(5 * DRAW_FOR), 0.0]


def test_a_fast_generator_is_not_slowed_by_looking_at_the_clock() -> None:
    clock = FakeClock()
    inputs = Inputs(TASK, (iter(range(10_000)),), clock, None)
    assert len(draw(inputs, 10_000)) == 10_000
    assert clock.readings < 50


def test_sequences_are_drawn_at_once_however_long_that_takes() -> None:
    class Restless(FakeClock):
        def now(self) -> Seconds:
            self.time += DRAW_FOR
            return self.time

    for iterables in (([*range(100)],), (range(100), "x" * 100, (None,) * 100)):
        assert len(draw(Inputs(TASK, iterables, Restless(), None), 100)) == 100


def test_nothing_is_touched_before_the_first_draw() -> None:
    class Untouchable:
        def __iter__(self) -> Iterator[object]:
            raise AssertionError

    inputs = inputs_of(Untouchable())
    assert not inputs.exhausted
    assert inputs.remaining is None
    assert draw(inputs, 1) == []
    assert isinstance(inputs.error, AssertionError)


@pytest.mark.parametrize("count", [1, 2])
def test_each_iterable_is_asked_for_one_iterator(count: int) -> None:
    class Once:
        asked = 0

        def __iter__(self) -> Iterator[int]:
            self.asked += 1
            return iter(range(3))

    iterables = [Once() for _ in range(count)]
    draw_all(inputs_of(*iterables), [1])
    assert [each.asked for each in iterables] == [1] * count


def test_what_is_not_iterable_is_an_error_at_its_place() -> None:
    inputs = inputs_of([1, 2], 3)  # type: ignore[arg-type]
    assert draw(inputs, 5) == []
    assert isinstance(inputs.error, TypeError)


def test_the_first_of_several_that_ends_stops_the_others() -> None:
    longer = Watched(range(10))
    inputs = inputs_of([1, 2], longer)
    assert draw(inputs, 10) == [(1, 0), (2, 1)]
    assert longer.asked == 2


def test_only_the_end_of_an_iterator_is_the_end() -> None:
    inputs = inputs_of(iter([1, 2]))
    assert draw(inputs, 2) == [(1,), (2,)]
    assert not inputs.exhausted
    assert draw(inputs, 2) == []
    assert inputs.exhausted


def test_after_close_nothing_is_drawn() -> None:
    watched = Watched(range(10))
    inputs = inputs_of(watched)
    draw(inputs, 3)
    inputs.close()
    assert draw(inputs, 3) == []
    assert watched.asked == 3
    assert (inputs.exhausted, inputs.remaining, inputs.error) == (True, 0, None)


@pytest.mark.parametrize("drawn", [0, 1])
def test_after_close_nothing_is_held(drawn: int) -> None:
    watched = Watched(range(10))
    seen = weakref.ref(watched)
    inputs = inputs_of(watched)
    draw(inputs, drawn)
    del watched
    gc.collect()
    assert seen() is not None
    inputs.close()
    gc.collect()
    assert seen() is None


def test_an_interrupt_while_inputs_are_drawn_is_not_held_back() -> None:
    inputs = inputs_of(Watched([1, 2, KeyboardInterrupt()]))
    with pytest.raises(KeyboardInterrupt):
        inputs.draw(5)
    assert inputs.exhausted
    assert inputs.error is None


def test_an_exit_that_the_inputs_ask_for_has_its_place() -> None:
    inputs = inputs_of(Watched([1, 2, SystemExit(3)]))
    assert draw(inputs, 5) == [(1,), (2,)]
    assert isinstance(inputs.error, SystemExit)


# ---- how many are left -----------------------------------------------------------------------


class Sized:
    """Claims a length that need not be its own."""

    def __init__(self, length: object, values: Iterable[object]) -> None:
        self._length = length
        self._values = values

    def __len__(self) -> int:
        if isinstance(self._length, BaseException):
            raise self._length
        return self._length  # type: ignore[return-value]

    def __iter__(self) -> Iterator[object]:
        return iter(self._values)


@pytest.mark.parametrize(
    ("iterables", "remaining"),
    [
        (([1, 2, 3],), 3),
        ((range(10**12),), 10**12),
        (({1, 2}, "abcd"), 2),
        ((iter([1, 2, 3]),), 3),
        ((itertools.count(), [1, 2]), None),
        (((number for number in range(3)),), None),
        ((itertools.repeat(0, 7),), 7),
        (([],), 0),
        ((Sized(5, [1]),), 5),
        ((Sized(RuntimeError("no length"), [1]),), None),
        ((Sized(-1, [1]),), None),
        ((Sized("long", [1]),), None),
    ],
    ids=lambda each: "",
)
def test_what_is_left_is_the_shortest_length_that_all_claim(
    iterables: tuple[Iterable[object], ...], remaining: int | None
) -> None:
    assert inputs_of(*iterables).remaining == remaining


def test_what_is_left_counts_down_and_does_not_end_the_inputs() -> None:
    inputs = inputs_of(Sized(2, range(4)))
    assert [(draw(inputs, 1), inputs.remaining)[1] for _ in range(4)] == [1, 0, 0, 0]
    assert inputs.drawn == 4
    assert not inputs.exhausted


def test_a_total_that_the_user_gives_is_believed() -> None:
    inputs = inputs_of(itertools.count(), total=10)
    assert inputs.remaining == 10
    draw(inputs, 3)
    assert inputs.remaining == 7
    assert inputs_of([1, 2, 3], total=0).remaining == 0
