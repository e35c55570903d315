"""What a lock costs, by its kind: taken by one alone, and beside another that does nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import repeat as times
from typing import Any, Literal, TypeAlias

from poolwise.machine.deadline import deadline
from poolwise.machine.facts import read_facts
from poolwise.machine.partner import Partner
from poolwise.machine.pinning import one_cpu
from poolwise.timing.clock import SystemClock
from poolwise.timing.repeat import NORMAL, Effort, gap, gather, once, repeat
from poolwise.timing.sample import Figure
from poolwise.units import Seconds

Lock: TypeAlias = AbstractContextManager[Any, Any]

#: So many are asked what a contended lock takes.
_PAIRS = 10

#: A reading of a lock that nobody else wants.
_ALONE: Seconds = 5e-4

#: The shortest reading beside a thread: so long that both get the GIL in it, for 5 ms each.
_TURNS: Seconds = 10e-3


@dataclass(frozen=True, slots=True)
class Kind:
    """A lock, who contends for it, and how to make one."""

    name: str
    rival: Literal["thread", "process"]
    make: Callable[[], Lock]


def _of_poolwise(name: str) -> Callable[[], Lock]:
    def make() -> Lock:
        from poolwise import ipc

        lock: Lock = getattr(ipc, name)()
        return lock

    return make


def _of_multiprocessing(name: str) -> Callable[[], Lock]:
    def make() -> Lock:
        import multiprocessing

        lock: Lock = getattr(multiprocessing.get_context("fork"), name)()
        return lock

    return make


KINDS = (
    Kind("Lock thread", "thread", threading.Lock),
    Kind("RLock thread", "thread", threading.RLock),
    Kind("Lock process", "process", _of_poolwise("Lock")),
    Kind("RLock process", "process", _of_poolwise("RLock")),
    Kind("mp.Lock process", "process", _of_multiprocessing("Lock")),
    Kind("mp.RLock process", "process", _of_multiprocessing("RLock")),
)


def alone(kind: Kind, effort: Effort) -> Figure:
    """Return what it takes to acquire and release a lock that nobody else wants."""
    effort = replace(effort, seconds=effort.seconds / 5)
    try:
        lock = kind.make()
        count = 100
        while (took := _hold(lock, count)) < _ALONE:
            count = int(count * min(10.0, 1.2 * _ALONE / took)) + 1
        return repeat(lambda: _hold(lock, count) / count, "s", effort)
    except Exception as error:
        return gap(error)


def contended(kind: Kind, effort: Effort) -> Figure:
    """Return the same beside another that acquires and releases it all the time.

    Each reading has a rival of its own: two get into step, or out of it, and stay so. With one pair
    readings differed by a tenth, and from pair to pair by half. Threads that share a GIL never run
    at once; on one CPU, how soon the other CPU wakes up does not come into it.
    """
    seconds = max(_TURNS, effort.piece) if kind.rival == "thread" else 0.75 * effort.piece
    where = one_cpu() if kind.rival == "thread" and read_facts().gil else nullcontext()

    def reading() -> Seconds:
        lock = kind.make()

        def compete(_: int, told: Callable[[], bool]) -> None:
            while not told():
                _hold(lock, 100)

        with where, Partner(kind.rival, compete=compete) as rival:
            rival.begin("compete")
            with deadline():
                took = _hold_for(seconds, lock)
            rival.end()
            return took

    pairs = _PAIRS if effort.least >= NORMAL.least else effort.least
    return gather((reading() for _ in range(pairs)), "s")


def reentered() -> Figure:
    """Return whether the owner of a ``threading.RLock`` may take it again."""

    def reading() -> float:
        lock = threading.RLock()
        with lock:
            again = lock.acquire(timeout=0.1)
            if again:
                lock.release()
            return float(again)

    return once(reading, "yes")


def _hold(lock: Lock, count: int) -> Seconds:
    clock = SystemClock()
    begin = clock.now()
    for _ in times(None, count):
        with lock:
            pass
    return clock.now() - begin


def _hold_for(seconds: Seconds, lock: Lock) -> Seconds:
    """Return what it took each time, as often as it could be had in so long."""
    taken, took = 0, 0.0
    while took < seconds:
        took += _hold(lock, 100)
        taken += 100
    return took / taken
