"""A token round a ring of two on one CPU: what it costs the kernel to switch between them.

The same primitive, a pipe, on both sides, so that threads and processes differ in nothing else.
Runs in workers.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeAlias

from poolwise.machine.pinning import OnOneCpu
from poolwise.timing.repeat import Unmeasurable
from poolwise.units import Seconds


@dataclass(frozen=True, slots=True)
class Turns:
    """What a member saw: how long its rounds took, and how often it was switched away."""

    took: Seconds
    voluntary: int
    involuntary: int


#: What it reads from, what it writes to, whether it starts, how many rounds: given to `pass_on`.
Place: TypeAlias = tuple[str, str, bool, int]


def pass_on(place: Place) -> Turns:
    """Be one of the two; both open the named pipes, so that no descriptor has to travel.

    Raises:
        OSError: the pipes cannot be opened.
        Unmeasurable: threads cannot be tied to a CPU here.
    """
    source, target, starts, rounds = place
    with ExitStack() as stack:
        # Open for both directions: this waits for nobody.
        ends = [os.open(path, os.O_RDWR | os.O_CLOEXEC) for path in (source, target)]
        for end in ends:
            stack.callback(os.close, end)
        stack.enter_context(OnOneCpu())
        read, write = ends
        if not starts:
            os.write(write, os.read(read, 1))  # the first round is not counted: it waits for both
        else:
            os.write(write, b"1")
            os.read(read, 1)
        voluntary, involuntary = switches()
        began = time.perf_counter()
        if starts:
            for _ in range(rounds):
                os.write(write, b"1")
                os.read(read, 1)
        else:
            for _ in range(rounds):
                os.write(write, os.read(read, 1))
        took = time.perf_counter() - began
        now = switches()
        return Turns(took, now[0] - voluntary, now[1] - involuntary)


def alone(rounds: int) -> Seconds:
    """Return what writing and reading take without anybody to switch to, on the same CPU."""
    read, write = os.pipe()
    try:
        with OnOneCpu():
            began = time.perf_counter()
            for _ in range(rounds):
                os.write(write, b"1")
                os.read(read, 1)
            return time.perf_counter() - began
    finally:
        os.close(read)
        os.close(write)


def compute_until(until: float) -> Turns:
    """Compute on the one CPU until then."""
    with OnOneCpu():
        voluntary, involuntary = switches()
        began = time.perf_counter()
        while time.perf_counter() < until:
            sum(range(100))
        took = time.perf_counter() - began
        now = switches()
        return Turns(took, now[0] - voluntary, now[1] - involuntary)


def switches() -> tuple[int, int]:
    """Return how often this thread was switched away: because it waited, and unasked.

    Raises:
        Unmeasurable: the system counts for whole processes only.
    """
    import resource

    if sys.platform != "linux":
        raise Unmeasurable("this system does not count the switches of a thread")
    usage = resource.getrusage(resource.RUSAGE_THREAD)
    return usage.ru_nvcsw, usage.ru_nivcsw
