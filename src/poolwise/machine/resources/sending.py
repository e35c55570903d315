"""What it takes to send work to a worker."""

from __future__ import annotations

import time

from poolwise.machine.door import Door
from poolwise.timing.repeat import Effort, gap, repeat
from poolwise.timing.sample import Figure
from poolwise.units import Seconds

#: Batches under way while dispatch is measured: one runs, one waits, as in a map.
_AHEAD = 2


def _nothing(_: object) -> None:
    pass


def dispatch(kind: str, effort: Effort) -> Figure:
    """Return what a batch of one call that does nothing takes while others are under way."""
    count = 100
    arguments = [(None,)] * count

    def reading() -> Seconds:
        began = time.perf_counter()
        door.calls(arguments, _AHEAD)
        return (time.perf_counter() - began) / count

    try:
        with Door(kind, _nothing, workers=1) as door:
            return repeat(reading, "s", effort)
    except Exception as error:
        return gap(error)


def call_overhead(effort: Effort) -> Figure:
    """Return what the loop of a worker adds to each call of a batch."""
    column = [None] * 10_000

    def reading() -> Seconds:
        began = time.perf_counter()
        door.batch(column)
        between = time.perf_counter()
        for value in column:
            _nothing(value)
        return (2 * between - began - time.perf_counter()) / len(column)

    try:
        with Door("thread", _nothing, workers=1) as door:
            return repeat(reading, "s", effort)
    except Exception as error:
        return gap(error)
