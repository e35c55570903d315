"""Measure the machine twice and put every median beside the other.

What it should show: on a quiet machine, two runs of ``poolwise measure`` agree within 25 % on every
median, so that a verdict on a claim does not depend on the day.

How to read it: the ratio is the larger of two medians over the smaller, the first run is the one
before the bar. The worst rows come first. Figures without a unit of time or size that differ by
one count (CPU numbers, switches) may be anything, and so may lost updates; a row that says
"throttled" was measured while a quota took CPU time away. Other load shows here first: look at the
load average in the head, and at the last line. It says by how much medians of one bare loop differ
that are read before, between and after the runs: no figure can be steadier than the machine.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from _report import begin, median, options, table

from poolwise import MachineProfile, measure
from poolwise.machine.profile import DIMENSIONS
from poolwise.timing.sample import Gap, Sample
from poolwise.units import Seconds, duration, rate, size

#: What two runs on a quiet machine are to agree within.
GOAL = 1.25

#: Medians of a bare loop, each of some 50 ms, before and after each run.
_CONTROLS = 5

#: Answers are equal or not; counts below this differ by more than a quarter as soon as by one.
_FEW = 4.0


def figures(value: object, path: str = "") -> Iterator[tuple[str, Sample | Gap]]:
    """Yield every figure of a record with its place in it."""
    if isinstance(value, Sample | Gap):
        yield path, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from figures(each, f"{path}[{key}]")
    elif is_dataclass(value):
        for field in fields(value):
            yield from figures(getattr(value, field.name), f"{path}.{field.name}")


def of(profile: MachineProfile) -> dict[str, Sample | Gap]:
    """Return every figure of a profile by its place."""
    return {
        place: figure
        for name in DIMENSIONS
        for place, figure in figures(getattr(profile, name), name)
    }


def agreement(one: float, other: float) -> float:
    """Return how many times as much the larger is."""
    low, high = sorted((abs(one), abs(other)))
    if one * other < 0 or (low == 0) != (high == 0):
        return math.inf
    return high / low if low else 1.0


def shown(figure: Sample) -> str:
    """Write a median with its unit."""
    match figure.unit:
        case "s":
            return duration(figure.median)
        case "B":
            return size(round(figure.median))
        case "B/s":
            return f"{size(round(figure.median))}/s"
        case "1/s":
            return f"{rate(figure.median)}/s"
        case unit:
            return f"{figure.median:.3g} {unit}".removesuffix(" 1")


def bare_loops() -> list[Seconds]:
    """Return some medians of what a loop of plain Python takes, read without any of our code."""

    def loop() -> Seconds:
        begin, total = time.perf_counter(), 0
        for number in range(20_000):
            total += number
        return time.perf_counter() - begin

    return [median([loop() for _ in range(50)]) for _ in range(_CONTROLS)]


def main() -> None:
    """Measure twice or more often, compare each run with the first."""
    given = begin(options(__doc__, rounds=2))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["POOLWISE_CACHE"] = folder  # the user's profile stays what it is
        runs, loops = [], bare_loops()
        for _ in range(max(2, given.rounds)):
            runs.append(of(measure(quick=given.smoke)))
            loops += bare_loops()
    rows: list[tuple[float, list[str]]] = []
    gaps = 0
    for place, first in runs[0].items():
        others = [run.get(place) for run in runs[1:]]
        samples = [each for each in (first, *others) if isinstance(each, Sample)]
        if len(samples) < len(runs):
            gaps += 1
            continue
        few = samples[0].unit in ("1", "yes") and max(each.median for each in samples) < _FEW
        few = few or "lost_" in place  # how many a race loses is luck
        ratio = max(agreement(samples[0].median, each.median) for each in samples[1:])
        within = "few" if few else "yes" if ratio <= GOAL else "no"
        if any(each.throttled for each in samples):
            within += ", throttled"
        spread = median([each.high - each.low for each in samples]) / (abs(first.median) or 1.0)
        rows.append(
            (
                0.0 if few else ratio,
                [place, *map(shown, samples), f"{ratio:.2f}", f"{spread:.0%}", within],
            )
        )
    rows.sort(key=lambda row: -row[0])
    head = [
        "figure",
        *(f"run {number + 1}" for number in range(len(runs))),
        "ratio",
        "spread",
        "ok",
    ]
    print(f"\n{table(head, [row for _, row in rows])}")
    ratios = [ratio for ratio, _ in rows if ratio]
    within = sum(ratio <= GOAL for ratio in ratios)
    print(
        f"\n{within} of {len(ratios)} medians agree within {GOAL - 1:.0%}; the middle ratio is "
        f"{median(ratios):.2f}; {gaps} figures are gaps\n"
        f"{len(loops)} medians of one bare loop differ by {max(loops) / min(loops):.2f} x"
    )


if __name__ == "__main__":
    main()
