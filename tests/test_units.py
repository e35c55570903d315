"""Figures for people: few digits, the right ones, and never an exception."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise.units import duration, makespan, plural, rate, size

FACTORS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0}
FACTORS |= {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9}

WRITERS: dict[Callable[..., str], st.SearchStrategy[float]] = {
    duration: st.floats(1e-10, 1e6),
    makespan: st.floats(1e-10, 1e6),
    size: st.integers(0, 10**15),
    rate: st.floats(1e-3, 1e12),
}
each_writer = pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)


def read(text: str) -> float:
    """The number that was written."""
    figure, _, unit = text.partition(" ")
    return float(figure.replace(",", "")) * FACTORS[unit]


@each_writer
@settings(deadline=None)
@given(data=st.data())
def test_what_is_written_is_the_value_to_two_digits(
    write: Callable[..., str], data: st.DataObject
) -> None:
    value = data.draw(WRITERS[write])
    assert read(write(value)) == pytest.approx(value, rel=0.0501)


@each_writer
@settings(deadline=None)
@given(data=st.data())
def test_a_larger_value_never_reads_as_a_smaller_one(
    write: Callable[..., str], data: st.DataObject
) -> None:
    lower, higher = sorted(data.draw(st.tuples(WRITERS[write], WRITERS[write])))
    assert read(write(lower)) <= read(write(higher)) * (1 + 1e-12)


@each_writer
@settings(deadline=None)
@given(data=st.data())
def test_a_figure_is_short(write: Callable[..., str], data: st.DataObject) -> None:
    text = write(data.draw(WRITERS[write]))
    figure = text.partition(" ")[0]
    assert re.fullmatch(r"\d{1,3}(,\d{3})*|\d{1,2}\.\d{1,2}|0\.0*\d{1,2}", figure), text


@settings(deadline=None)
@given(st.floats())
def test_no_number_of_seconds_or_calls_is_too_odd_to_be_written(value: float) -> None:
    for write in (duration, makespan, rate):
        assert write(value)


DURATIONS = {
    0.0: "0 s",
    1e-9: "1 ns",
    4.2e-8: "42 ns",
    999.4e-9: "999 ns",
    999.6e-9: "1 µs",
    5.14e-3: "5.1 ms",
    9.96e-3: "10 ms",
    99.6e-3: "100 ms",
    0.9996: "1 s",
    75.2: "75 s",
    3600.0: "3,600 s",
    -0.0051: "-5.1 ms",
    math.inf: "inf s",
}


def test_durations() -> None:
    assert {seconds: duration(seconds) for seconds in DURATIONS} == DURATIONS


MAKESPANS = {
    0.0213: "21 ms",
    0.9994: "999 ms",
    0.9996: "1.00 s",
    1.937: "1.94 s",
    9.994: "9.99 s",
    9.996: "10.0 s",
    99.94: "99.9 s",
    99.96: "100 s",
}


def test_makespans_have_three_digits_from_a_second_on() -> None:
    assert {seconds: makespan(seconds) for seconds in MAKESPANS} == MAKESPANS


SIZES = {
    0: "0 B",
    999: "999 B",
    1_000: "1 KB",
    1_240: "1.2 KB",
    999_600: "1 MB",
    1_600_000_000: "1.6 GB",
    5_000_000_000_000: "5,000 GB",
}


def test_sizes() -> None:
    assert {count: size(count) for count in SIZES} == SIZES


def test_a_count_agrees_with_its_noun() -> None:
    assert plural(0, "input") == "0 inputs"
    assert plural(1, "process") == "1 process"
    assert plural(12_000, "process") == "12,000 processes"
