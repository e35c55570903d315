"""Readings are taken until they can be trusted, or the time for them is over."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from poolwise.timing import repeat as module
from poolwise.timing.repeat import (
    NORMAL,
    Effort,
    Unmeasurable,
    gather,
    in_turns,
    is_trusted,
    once,
    per_call,
    repeat,
)
from poolwise.timing.sample import Gap, Sample

EFFORT = Effort(1.0, least=4, most=20, tolerance=0.05, piece=0.01, largest=1 << 20)


class Clock:
    """Stands still until a reading moves it."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    thread_cpu = process_cpu = children_cpu = queued = process_queued = now

    def reading(self, takes: float, values: Callable[[], float]) -> Callable[[], float]:
        def read() -> float:
            self.time += takes
            return values()

        return read


def sample(figure: Sample | Gap) -> Sample:
    assert isinstance(figure, Sample), figure
    return figure


def test_readings_that_agree_are_trusted_at_once() -> None:
    clock = Clock()
    figure = sample(repeat(clock.reading(1e-3, lambda: 2.0), "s", EFFORT, clock=clock))
    assert (figure.unit, figure.values) == ("s", (2.0,) * 4)


def test_readings_that_differ_go_on_until_the_time_is_over() -> None:
    clock, values = Clock(), itertools.cycle([1.0, 2.0, 4.0])
    figure = sample(repeat(clock.reading(0.125, values.__next__), "s", EFFORT, warm=0, clock=clock))
    assert figure.count == 8


def test_the_first_do_not_count() -> None:
    clock, values = Clock(), itertools.count(1.0)
    figure = sample(repeat(clock.reading(9.0, values.__next__), "s", EFFORT, warm=2, clock=clock))
    assert figure.values == (3.0, 4.0, 5.0, 6.0)  # the least, however long they take


def test_there_are_never_more_than_the_most() -> None:
    clock, values = Clock(), itertools.cycle([1.0, 9.0])
    assert sample(repeat(clock.reading(0.0, values.__next__), "s", EFFORT, clock=clock)).count == 20


def test_more_readings_of_the_same_spread_are_trusted_more() -> None:
    few = [1.0, 1.1, 1.2, 1.3]
    assert not is_trusted(few, 0.05)
    assert is_trusted(few * 10, 0.05)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError("no such device"), "OSError: no such device"),
        (KeyError(), "KeyError"),
        (Unmeasurable("there is no GIL here"), "there is no GIL here"),
    ],
)
@pytest.mark.parametrize("at", [1, 3])
def test_what_a_reading_raises_is_why_there_is_a_gap(error: Exception, why: str, at: int) -> None:
    numbers = itertools.count(1)

    def reading() -> float:
        if next(numbers) == at:
            raise error
        return 1.0

    assert repeat(reading, "s", EFFORT) == Gap(why)


def test_an_interrupt_is_no_gap() -> None:
    def reading() -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repeat(reading, "s", EFFORT)
    with pytest.raises(KeyboardInterrupt):
        in_turns({"one": reading}, "s", EFFORT)


def test_no_reading_is_a_gap() -> None:
    assert isinstance(gather([], "s"), Gap)


def test_one_reading_is_enough_for_what_is_always_the_same() -> None:
    assert once(lambda: True, "yes") == Sample("yes", (1.0,))


def test_turns_take_everyone_in_each_round_and_leave_out_who_fails() -> None:
    clock, order = Clock(), list[str]()

    def reading(name: str) -> float:
        order.append(name)
        clock.time += 0.1
        if name == "bad" and len(order) > 4:
            raise OSError("gone")
        return float(len(order))

    figures = in_turns(
        {name: (lambda name=name: reading(name)) for name in ("one", "bad", "two")},
        "s",
        EFFORT,
        clock=clock,
    )
    assert order[:7] == ["one", "bad", "two", "one", "bad", "two", "one"]
    assert figures["bad"] == Gap("OSError: gone")
    assert order.count("bad") == 2
    assert sample(figures["one"]).count == sample(figures["two"]).count >= EFFORT.least


def test_a_short_action_is_timed_in_loops() -> None:
    calls = itertools.count()
    clock = Clock()

    def action() -> None:
        clock.time += 1e-6
        next(calls)

    figure = sample(per_call(action, EFFORT, clock=clock))
    assert figure.median == pytest.approx(1e-6)
    assert next(calls) > 1000 * figure.count


def test_an_action_that_fails_is_a_gap() -> None:
    def action() -> None:
        raise LookupError("nothing there")

    assert per_call(action, NORMAL) == Gap("LookupError: nothing there")


@pytest.mark.parametrize("throttled", [False, True])
def test_a_figure_says_whether_it_was_throttled(
    monkeypatch: pytest.MonkeyPatch, throttled: bool
) -> None:
    times = itertools.count(7) if throttled else itertools.repeat(7)
    monkeypatch.setattr(module, "times_throttled", times.__next__)
    few = replace(EFFORT, most=4)
    assert sample(repeat(lambda: 1.0, "s", few)).throttled is throttled
    assert sample(in_turns({"one": lambda: 1.0}, "s", few)["one"]).throttled is throttled
