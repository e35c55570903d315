"""What a switch costs, between threads and between processes, and how often there is one."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from poolwise.machine.door import Door
from poolwise.machine.resources import ring
from poolwise.timing.repeat import NORMAL, Effort, gap, in_turns, repeat
from poolwise.timing.sample import Figure, Gap, Sample
from poolwise.units import Seconds

_ROUNDS = 400


def rings(effort: Effort) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """Return the cost of a switch, and how many there were in a round; both kinds in turns."""
    rounds: dict[str, list[float]] = {"thread": [], "process": []}
    readings: dict[str, Callable[[], Seconds]] = {}
    with ExitStack() as stack:
        for kind in rounds:
            try:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                door = stack.enter_context(Door(kind, ring.pass_on, workers=2))
                readings[kind] = partial(_round_trip, door, _pipes(folder), rounds[kind])
            except Exception as error:
                readings[kind] = partial(_fail, error)
        switch = in_turns(readings, "s", effort)
    voluntary = {
        kind: each if isinstance(each, Gap) else Sample("1", tuple(rounds[kind]))
        for kind, each in switch.items()
    }
    return switch, voluntary


def _fail(error: Exception) -> Seconds:
    raise error


def _pipes(folder: str) -> tuple[str, str]:
    paths = os.path.join(folder, "there"), os.path.join(folder, "back")
    for path in paths:
        os.mkfifo(path)
    return paths


def _round_trip(door: Door, pipes: tuple[str, str], rounds: list[float]) -> Seconds:
    """Return what a switch takes: half a round, less what the pipes take without one."""
    there, back = pipes
    places = [(there, back, False, _ROUNDS), (back, there, True, _ROUNDS)]
    turns: list[ring.Turns] = door.calls([(place,) for place in places])
    rounds.append(sum(each.voluntary for each in turns) / _ROUNDS)
    return (turns[1].took / 2 - ring.alone(_ROUNDS)) / _ROUNDS


def involuntary(kind: str, effort: Effort) -> Figure:
    """Return how often a second two that compute are switched away from one CPU."""
    few = replace(effort, least=2 if effort.least < NORMAL.least else 3, most=8)

    def reading() -> float:
        until = time.perf_counter() + 8 * effort.piece
        turns: list[ring.Turns] = door.calls([(until,), (until,)])
        return sum(each.involuntary for each in turns) / max(each.took for each in turns)

    try:
        with Door(kind, ring.compute_until, workers=2) as door:
            return repeat(reading, "1/s", few, warm=0)
    except Exception as error:
        return gap(error)
