"""Dimension 5: how long work of several kinds takes in a loop, in threads, in processes.

As many workers in each, one for each usable CPU and at least two, started before: what starting
them costs is dimension 2. Every call travels by itself.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from poolwise.machine.chores import CHORES, IMAGE_SIZE, perform, server
from poolwise.machine.dimensions import Suitability
from poolwise.machine.door import Door
from poolwise.machine.facts import read_facts
from poolwise.machine.partner import Partner
from poolwise.timing.repeat import Effort, in_turns
from poolwise.units import Seconds

T = TypeVar("T")

#: Plan and mechanism.
_PLANS = {"loop": "inline", "thread": "thread", "process": "process"}

#: Calls for each worker: a few, so that the last ones do not decide.
_CALLS = 2

#: Short tasks, of which there are many.
_MANY = 250

#: How long the server waits before it answers.
_DELAY: Seconds = 1e-3

#: Bytes of the file that is read.
_FILE = 1 << 20


def measure_suitability(effort: Effort) -> Suitability:
    """Measure every kind of work under every plan.

    Call in the main thread of a program that runs no other thread: it forks.
    """
    workers = max(2, read_facts().whole_cpus)
    with ExitStack() as stack:
        given = {kind: _entered(stack, partial(_needs, kind)) for kind in CHORES}
        doors = {
            plan: _entered(stack, partial(_open, mechanism, workers))
            for plan, mechanism in _PLANS.items()
        }
        readings: dict[tuple[str, str], Callable[[], Seconds]] = {}
        for kind, each in given.items():
            makespans = _makespans(kind, each, doors, workers, effort)
            readings |= {(kind, plan): reading for plan, reading in makespans.items()}
        # All in turns: what makes calls slow for a moment is to be one reading of each.
        found = in_turns(readings, "s", replace(effort, most=20))
    return Suitability(
        makespan={kind: {plan: found[kind, plan] for plan in _PLANS} for kind in CHORES}
    )


def _entered(stack: ExitStack, make: Callable[[], AbstractContextManager[T]]) -> T | Exception:
    """Return what is there until the stack is left, or why it is not."""
    try:
        return stack.enter_context(make())
    except Exception as error:
        return error


def _open(mechanism: str, workers: int) -> Door:
    count = 1 if mechanism == "inline" else workers
    return Door(mechanism, perform, workers=count, siblings=count)


def _makespans(
    kind: str, given: Any, doors: Mapping[str, Door | Exception], workers: int, effort: Effort
) -> dict[str, Callable[[], Seconds]]:
    """Return what reads how long work of a kind takes, by plan; it raises what is in the way."""
    try:
        if isinstance(given, Exception):
            raise given
        call = (kind, _amount(kind, given, effort.piece / 2), given)
    except Exception as error:
        return dict.fromkeys(doors, partial(_fail, error))
    calls = [call] * (_MANY if kind == "short tasks" else _CALLS) * workers
    return {plan: partial(_makespan, door, calls) for plan, door in doors.items()}


def _fail(error: Exception) -> Seconds:
    raise error


def _makespan(door: Door | Exception, calls: list[tuple[str, int, Any]]) -> Seconds:
    if isinstance(door, Exception):
        raise door
    began = time.perf_counter()
    door.calls(calls)
    return time.perf_counter() - began


def _amount(kind: str, given: Any, seconds: Seconds) -> int:
    """Return how much of it takes about so long, of one that does not compete with others."""
    if kind == "short tasks":
        return 1
    amount = 1
    while True:
        took = min(_timed(partial(perform, kind, amount, given)) for _ in range(4))
        if took >= seconds / 2:
            return max(1, math.ceil(amount * seconds / took))
        amount *= max(2, min(10, int(seconds / max(took, 1e-6))))


def _timed(action: Callable[[], object]) -> Seconds:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


@contextmanager
def _needs(kind: str) -> Iterator[Any]:
    """Yield what a kind of work is given."""
    if kind == "image":
        yield bytes(range(256)) * (IMAGE_SIZE // 256)
    elif kind == "files cached":
        with tempfile.NamedTemporaryFile() as file:
            file.write((b"x" * 79 + b"\n") * (_FILE // 80))
            file.flush()
            yield file.name
    elif kind == "network":
        with _served() as path:
            yield path
    else:
        yield None


@contextmanager
def _served() -> Iterator[str]:
    """Run a server in a fork of this program, in which no other thread runs; yield where it is."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "server")
        with (
            server(path, _DELAY) as listening,  # so whoever asks need not wait until it serves
            Partner("process", serve=lambda *_: listening.serve_forever()) as partner,
        ):
            partner.begin("serve")
            yield path
