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
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from poolwise.machine.chores import CHORES, IMAGE_SIZE, perform, serve
from poolwise.machine.dimensions import Suitability
from poolwise.machine.door import Door
from poolwise.machine.facts import read_facts
from poolwise.timing.repeat import Effort, Unmeasurable, gap, in_turns
from poolwise.timing.sample import Figure
from poolwise.units import Seconds
from poolwise.worker import Worker

#: Plan and mechanism.
_PLANS = {"loop": "inline", "thread": "thread", "process": "process"}

#: Calls for each worker: a few, so that the last ones do not decide.
_CALLS = 2

#: Short tasks, of which there are many.
_MANY = 50

#: How long the server waits before it answers.
_DELAY: Seconds = 1e-3

#: Bytes of the file that is read.
_FILE = 1 << 20

_PATIENCE: Seconds = 10.0


def measure_suitability(effort: Effort) -> Suitability:
    """Measure every kind of work under every plan; call in a program of its own."""
    workers = max(2, read_facts().whole_cpus)
    with ExitStack() as stack:
        doors: dict[str, Door | Exception] = {}
        for plan, mechanism in _PLANS.items():
            try:
                count = 1 if mechanism == "inline" else workers
                door = Door(mechanism, perform, workers=count, siblings=count)
                doors[plan] = stack.enter_context(door)
            except Exception as error:
                doors[plan] = error
        return Suitability(
            makespan={kind: _makespans(kind, doors, workers, effort) for kind in CHORES}
        )


def _makespans(
    kind: str, doors: Mapping[str, Door | Exception], workers: int, effort: Effort
) -> dict[str, Figure]:
    try:
        with _needs(kind) as given:
            call = (kind, _amount(kind, given, effort.piece / 2), given)
            calls = [call] * (_MANY if kind == "short tasks" else _CALLS) * workers
            readings = {plan: partial(_makespan, door, calls) for plan, door in doors.items()}
            return in_turns(readings, "s", replace(effort, most=20))
    except Exception as error:
        return dict.fromkeys(doors, gap(error))


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
        took = min(_timed(partial(perform, kind, amount, given)) for _ in range(2))
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
        with tempfile.TemporaryDirectory() as folder, _server(folder) as path:
            yield path
    else:
        yield None


@contextmanager
def _server(folder: str) -> Iterator[str]:
    """Run a server in a process of its own; it ends with this one at the latest."""
    import socket

    path = os.path.join(folder, "server")
    server = Worker(serve, (path, _DELAY), mechanism="process", daemon=True)
    server.start()
    try:
        until = time.monotonic() + _PATIENCE
        while True:  # nothing says when it listens, but that it answers
            with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(path)
                break
            server.join(1e-2)
            if not server.is_alive() or time.monotonic() > until:
                raise Unmeasurable(f"no server could be started: {server.exception(0)}")
        yield path
    finally:
        server.kill()
        server.join()
