"""Outcomes come in any order and go out in parts, compared with a plain list."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise.errors import TransferError
from poolwise.executor.collect import Collector, Ordered, Unordered
from poolwise.task import Outcomes


class Failure(Exception):
    """What the call of this number raises."""


@st.composite
def runs(draw: st.DrawFn) -> tuple[int, set[int], list[range], list[int]]:
    """How many calls, which of them raise, how they are cut, and when each cut arrives."""
    total = draw(st.integers(0, 60))
    errors = draw(st.sets(st.integers(0, max(0, total - 1)), max_size=total))
    cuts = sorted({0, total, *draw(st.sets(st.integers(0, total), max_size=12))})
    segments = [range(*pair) for pair in itertools.pairwise(cuts)]
    arrivals = draw(st.permutations(range(len(segments))))
    return total, errors, segments, arrivals


def outcomes_of(segment: range, errors: set[int]) -> Outcomes:
    return Outcomes(
        [None if number in errors else number for number in segment],
        {number - segment.start: Failure(number) for number in segment if number in errors},
    )


def take(part: Iterator[object]) -> Iterator[object]:
    """What a caller of ``next()`` gets, who goes on after an exception."""
    while True:
        try:
            yield next(part)
        except StopIteration:
            return
        except Failure as error:
            yield error


def drain(collector: Collector) -> Iterator[object]:
    while (part := collector.pop()) is not None:
        yield from take(part)


def numbers(values: list[object]) -> list[object]:
    return [value.args[0] if isinstance(value, Failure) else value for value in values]


@pytest.mark.parametrize("return_errors", [False, True])
@settings(deadline=None)
@given(runs(), st.integers(0, 2**32))
def test_ordered_parts_are_the_list_however_they_arrive(
    return_errors: bool, run: tuple[int, set[int], list[range], list[int]], seed: int
) -> None:
    total, errors, segments, arrivals = run
    collector, rng = Ordered(return_errors=return_errors), random.Random(seed)
    gone: list[object] = []
    arrived: set[int] = set()
    for position in arrivals:
        segment = segments[position]
        collector.add(segment.start, outcomes_of(segment, errors))
        arrived.update(segment)
        if rng.random() < 0.5:
            gone += drain(collector)
            # All that can go out has gone, and nothing else.
            first_missing = next(number for number in range(total + 1) if number not in arrived)
            assert collector.delivered == len(gone) == first_missing
            assert collector.pop() is None
    gone += drain(collector)
    assert numbers(gone) == list(range(total))
    assert {number for number in range(total) if isinstance(gone[number], Failure)} == errors


@pytest.mark.parametrize("return_errors", [False, True])
@settings(deadline=None)
@given(runs())
def test_unordered_parts_go_out_as_they_arrive(
    return_errors: bool, run: tuple[int, set[int], list[range], list[int]]
) -> None:
    total, errors, segments, arrivals = run
    collector = Unordered(return_errors=return_errors)
    for position in arrivals:
        collector.add(segments[position].start, outcomes_of(segments[position], errors))
    gone = list(drain(collector))
    assert numbers(gone) == [number for position in arrivals for number in segments[position]]
    assert {value.args[0] for value in gone if isinstance(value, Failure)} == errors
    assert collector.delivered == total
    assert collector.pop() is None


@pytest.fixture(params=[Ordered, Unordered])
def kind(request: pytest.FixtureRequest) -> type[Ordered | Unordered]:
    return request.param


def part_of(kind: type[Ordered | Unordered], outcomes: Outcomes, errors: bool) -> Iterator[object]:
    collector = kind(return_errors=errors)
    collector.add(0, outcomes)
    part = collector.pop()
    assert part is not None
    return part


def test_an_exception_is_raised_at_its_place_and_iteration_goes_on(
    kind: type[Ordered | Unordered],
) -> None:
    part = part_of(kind, Outcomes([0, None, 2], {1: Failure(1)}), False)
    assert next(part) == 0
    with pytest.raises(Failure):
        next(part)
    assert next(part) == 2
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(part)


def test_an_exception_that_is_asked_for_is_the_very_one(kind: type[Ordered | Unordered]) -> None:
    error, stop = Failure(1), StopIteration(2)
    assert list(part_of(kind, Outcomes([0, None, None], {1: error, 2: stop}), True)) == [
        0,
        error,
        stop,
    ]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_would_end_a_loop_is_never_a_value(
    kind: type[Ordered | Unordered], error: BaseException
) -> None:
    part = part_of(kind, Outcomes([0, None, 2], {1: error}), True)
    assert next(part) == 0
    with pytest.raises(type(error)) as caught:
        next(part)
    assert caught.value is error
    assert next(part) == 2


def test_the_end_of_an_iteration_inside_a_call_does_not_end_the_results(
    kind: type[Ordered | Unordered],
) -> None:
    error = StopIteration("value")
    part = part_of(kind, Outcomes([0, None, 2], {1: error}), False)
    assert next(part) == 0
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        next(part)
    assert caught.value.__cause__ is error
    assert next(part) == 2


def test_an_exception_that_is_a_result_is_a_result(kind: type[Ordered | Unordered]) -> None:
    value = Failure("returned, not raised")
    assert list(part_of(kind, Outcomes([value]), False)) == [value]


def test_what_could_not_be_sent_is_said_with_its_number(kind: type[Ordered | Unordered]) -> None:
    cause = ValueError()
    unsent, nested = TransferError("a call of f failed: so"), TransferError("a call of g failed")
    unsent.__cause__ = cause
    collector = kind(return_errors=True, name="f")
    collector.add(0, Outcomes([0, 1]))
    collector.add(2, Outcomes([None, 3, None], {0: nested, 2: unsent}))
    _, _, other, _, told = list(drain(collector))
    assert str(told) == "call 4 of f failed: so"
    assert isinstance(told, TransferError)
    assert told.__cause__ is cause
    assert other is nested  # what a call of its own raised
