"""Readings again and again until they can be trusted, or the time for them is over."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from poolwise.timing.cgroups import times_throttled
from poolwise.timing.clock import Clock, SystemClock
from poolwise.timing.sample import Figure, Gap, Sample
from poolwise.units import Bytes, Seconds

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is spent on a figure.

    A figure has `least` readings, however long they take, and at most `most`; in between it ends
    when it can be trusted or when `seconds` are over. It can be trusted when the standard error of
    its median is less than `tolerance` of it. `piece` is how long one piece of work is where work
    is to be timed, `largest` the largest message.
    """

    seconds: Seconds
    least: int
    most: int
    tolerance: float
    piece: Seconds
    largest: Bytes


class Unmeasurable(Exception):
    """Something cannot be measured here; the text says why."""


#: Some 150 figures in about 20 s.
NORMAL = Effort(0.1, least=5, most=200, tolerance=0.02, piece=0.02, largest=64 << 20)

#: The same in 4 s.
QUICK = Effort(0.005, least=3, most=50, tolerance=0.1, piece=0.002, largest=1 << 20)


def repeat(
    reading: Callable[[], float],
    unit: str,
    effort: Effort,
    *,
    warm: int = 1,
    clock: Clock | None = None,
) -> Figure:
    """Return what `reading` gives, again and again; the first `warm` do not count.

    Whatever it raises makes a `Gap` of the figure: there is none here.
    """
    clock = clock or SystemClock()
    return gather(_until_trusted(reading, effort, warm, clock), unit)


def gather(readings: Iterable[float], unit: str) -> Figure:
    """Return readings as a figure; marked if the machine took CPU time away meanwhile."""
    before = times_throttled()
    try:
        values = tuple(map(float, readings))
    except Exception as error:
        return gap(error)
    if not values:
        return Gap("there was no reading")
    return Sample(unit, values, throttled=times_throttled() > before)


def in_turns(
    readings: Mapping[K, Callable[[], float]],
    unit: str,
    effort: Effort,
    *,
    warm: int = 1,
    clock: Clock | None = None,
) -> dict[K, Figure]:
    """Return what several readings give that are to be compared: each round takes all of them.

    One after the other would compare what else the machine did. One that raises is a gap; the
    others go on, until each can be trusted or the time of all is over.
    """
    clock = clock or SystemClock()
    began, before = clock.now(), times_throttled()
    values: dict[K, list[float]] = {name: [] for name in readings}
    gaps: dict[K, Figure] = {}
    for number in range(effort.most + warm):
        for name, reading in readings.items():
            if name not in gaps:
                try:
                    value = float(reading())
                except Exception as error:
                    gaps[name] = gap(error)
                else:
                    values[name] += [value] if number >= warm else []
        count = number + 1 - warm
        if count < effort.least:
            continue
        if clock.now() - began >= effort.seconds * len(readings):
            break
        if _is_milestone(count, effort.least) and all(
            is_trusted(values[name], effort.tolerance) for name in readings if name not in gaps
        ):
            break
    throttled = times_throttled() > before
    return {
        name: gaps.get(name) or Sample(unit, tuple(values[name]), throttled) for name in readings
    }


def once(reading: Callable[[], float], unit: str) -> Figure:
    """Return one reading, for what is the same each time."""
    return gather((reading() for _ in range(1)), unit)


def per_call(action: Callable[[], object], effort: Effort, *, clock: Clock | None = None) -> Figure:
    """Return what one call of a short action takes, from loops that are long beside the clock."""
    clock = clock or SystemClock()
    turns = _turns(action, min(1e-3, effort.seconds / effort.least / 2), clock)

    def reading() -> Seconds:
        return _loop(action, turns, clock) / turns

    return repeat(reading, "s", effort, clock=clock)


def gap(error: BaseException) -> Gap:
    """Return a gap that says what was raised."""
    text = str(error).strip()
    if isinstance(error, Unmeasurable):
        return Gap(text)
    return Gap(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def is_trusted(values: list[float], tolerance: float) -> bool:
    """Whether the standard error of the median is within `tolerance` of it.

    For a normal distribution it is 1.25 σ/√n, and the quartiles are 1.35 σ apart.
    """
    sample = Sample("1", tuple(values))
    error = 1.25 / 1.35 * (sample.high - sample.low) / math.sqrt(len(values))
    return error <= tolerance * abs(sample.median)


def _until_trusted(
    reading: Callable[[], float], effort: Effort, warm: int, clock: Clock
) -> Iterator[float]:
    began = clock.now()
    for _ in range(warm):
        reading()
    values: list[float] = []
    while len(values) < effort.most:
        values.append(reading())
        yield values[-1]
        if len(values) >= effort.least:
            if clock.now() - began >= effort.seconds:
                break
            # Seldom, because it sorts: at 5, 10, 20 and so on of them.
            if _is_milestone(len(values), effort.least) and is_trusted(values, effort.tolerance):
                break


def _is_milestone(count: int, least: int) -> bool:
    quotient, rest = divmod(count, least)
    return not rest and not quotient & (quotient - 1)


def _turns(action: Callable[[], object], seconds: Seconds, clock: Clock) -> int:
    """Return how many turns of a loop take about so long."""
    turns = 1
    try:
        while (took := _loop(action, turns, clock)) < seconds and turns < 1 << 24:
            turns = max(turns + 1, min(10 * turns, int(turns * seconds / max(took, 1e-9))))
    except Exception:
        return 1  # the figure says what was raised
    return turns


def _loop(action: Callable[[], object], turns: int, clock: Clock) -> Seconds:
    began = clock.now()
    for _ in range(turns):
        action()
    return clock.now() - began
