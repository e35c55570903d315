"""How much sooner so many workers are done, by kind of work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol, TypeAlias

from poolwise.machine.concurrency.work import ROOM, Report, work
from poolwise.machine.deadline import deadline
from poolwise.machine.facts import read_facts
from poolwise.timing.cgroups import times_throttled
from poolwise.timing.clock import Clock, SystemClock
from poolwise.timing.repeat import NORMAL, Effort, Unmeasurable, gap
from poolwise.timing.sample import Figure, Gap, Sample
from poolwise.units import Bytes, Seconds, size

#: What each call does, with how much of it is tried first to find out how long it takes.
KINDS = {
    "holds the GIL": 10_000.0,
    "releases the GIL": 2.0,
    "waits": 1e-3,
    "memory bandwidth": 8.0,
}

#: Calls are at least so long: some thirty times what it takes to send one and to hear of its end.
_SHORTEST: Seconds = 3e-3

#: How often each number of workers is tried, with normal effort.
_ROUNDS = 6

#: What is waited for here comes within this, or never: some calls, or one of many workers.
PATIENCE: Seconds = 20.0


#: A kind of work, and how much of it.
Call: TypeAlias = tuple[str, float]


class Workers(Protocol):
    """Workers that perform calls of `work.perform`: a `Door`, or interpreters."""

    def calls(self, arguments: Sequence[Sequence[Any]]) -> list[Any]:
        """Have all performed, as many at once as there are workers."""
        ...

    def close(self, grace: Seconds | None = None) -> None:
        """End all, after what they perform: wait for that so long at most."""
        ...


@dataclass(slots=True)
class Readings:
    """What was read of one kind of work on one mechanism; one entry a round."""

    speedup: dict[int, list[float]]
    busy: list[float] = field(default_factory=list)  # CPU time per wall time, of two
    slowed: list[float] = field(default_factory=list)  # time of a call beside another, to alone
    failed: Gap | None = None
    throttled: bool = False

    def figures(self) -> dict[int, Figure]:
        """Return speed-ups by number of workers; one is 1 by definition."""
        several = {workers: self.figure(values) for workers, values in self.speedup.items()}
        return {1: self.failed or Sample("x", (1.0,)), **several}

    def figure(self, values: Sequence[float]) -> Figure:
        """Return readings as a figure, or why there are none."""
        return self.failed or Sample("x", tuple(values), self.throttled)


def counts(cpus: int, effort: Effort) -> list[int]:
    """Return how many workers are tried: one to twice the CPUs, or a few of that if they are many.

    With less than normal effort, what every reader asks first: two, and one for each CPU.
    """
    most = 2 * cpus
    if effort.least < NORMAL.least:
        return sorted({1, 2, cpus})
    if most <= 6:
        return list(range(1, most + 1))
    powers = {1 << bit for bit in range(most.bit_length())}
    return sorted({number for number in powers if number <= most} | {cpus, most})


@cache
def amount_for(kind: str, seconds: Seconds) -> float:
    """Return how much work of a kind takes so long, alone in a thread: measured once a program."""
    if kind == "waits":
        return seconds
    amount = KINDS[kind]
    work(kind, amount)
    while (took := _took(work(kind, amount))) < seconds / 4:
        amount *= min(16.0, seconds / 2 / took)
    return amount * seconds / took


def read(
    workers: Workers,
    kinds: Iterable[str],
    numbers: Sequence[int],
    effort: Effort,
    *,
    clock: Clock | None = None,
) -> dict[str, Readings]:
    """Have `numbers` of workers do work of each kind at once, round by round.

    Each does as much as one alone does, so n of them should take no longer; all numbers are
    compared within a round, so what changes slowly does not matter. Kinds take turns: where the
    kernel has put two workers on one CPU, it leaves them there for as long as several rounds take.
    """
    clock = clock or SystemClock()
    calls: dict[str, Call] = {}
    readings = {kind: Readings({n: [] for n in numbers if n > 1}) for kind in kinds}
    for turn in range(1 + (_ROUNDS if effort.least >= NORMAL.least else effort.least)):
        for kind, each in readings.items():
            if each.failed is not None:
                continue
            before = times_throttled()
            try:
                with deadline(PATIENCE):
                    if turn:
                        _round(workers, calls[kind], each, clock)
                    else:
                        calls[kind] = _prepared(workers, kind, max(numbers), effort, clock)
            except Exception as error:
                each.failed = gap(error)
            each.throttled = each.throttled or times_throttled() > before
    return readings


def _prepared(workers: Workers, kind: str, most: int, effort: Effort, clock: Clock) -> Call:
    """Return the call that takes long enough, once all workers have what they need for it."""
    if kind == "memory bandwidth":
        _require_memory(ROOM * (1 + most))
    call = (kind, amount_for(kind, piece(effort)))
    _run(workers, call, most, clock)  # pages are touched, modules are imported
    return call


def _require_memory(needed: Bytes) -> None:
    free = read_facts().free_memory
    if free is not None and needed > free:
        raise Unmeasurable(f"it takes {size(needed)} of memory; {size(free)} are free")


def piece(effort: Effort) -> Seconds:
    """Return how long each call is to take."""
    return max(_SHORTEST, 0.4 * effort.piece)


def _round(workers: Workers, call: Call, readings: Readings, clock: Clock) -> None:
    alone, (report,) = _run(workers, call, 1, clock)
    for number, values in readings.speedup.items():
        took, reports = _run(workers, call, number, clock)
        values.append(number * alone / took)
        if number == 2:
            wall = max(end for _, end, _ in reports) - min(begin for begin, _, _ in reports)
            readings.busy.append(sum(cpu for _, _, cpu in reports) / wall)
            readings.slowed.append(sum(map(_took, reports)) / 2 / _took(report))


def _run(workers: Workers, call: Call, number: int, clock: Clock) -> tuple[Seconds, list[Report]]:
    begin = clock.now()
    reports = workers.calls([call] * number)
    return clock.now() - begin, reports


def _took(report: Report) -> Seconds:
    begin, end, _ = report
    return end - begin
