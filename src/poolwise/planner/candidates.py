"""Which plans there are to choose from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from poolwise.cost.model import FEW_ROUNDS, rounds
from poolwise.machine import MachineProfile
from poolwise.plan import Plan
from poolwise.probe import TaskProfile

#: `auto` goes up to so many calls at once by itself: enough for most services, few enough not to
#: be taken for an attack by one.
DEFAULT_CONCURRENCY = 64

#: Calls that wait for less than this share of their time get no threads inside processes, and no
#: more threads than fill the CPUs twice over: clocks and schedulers alone make some per cent of
#: "waiting".
_MOSTLY_COMPUTES = 0.1

#: Calls that hold the GIL for so much of their computing get no more threads than there are CPUs.
#: 70 queries of SQLite took 158 ms with two threads, 190 with eight.
_SHARED = 0.2


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user allows: calls at once, workers, threads inside each process."""

    max_concurrency: int = DEFAULT_CONCURRENCY
    max_workers: int | None = None
    threads_per_worker: int | None = None

    @property
    def most_threads(self) -> int:
        """The widest plan of threads."""
        return min(self.max_concurrency, self.max_workers or self.max_concurrency)


#: More workers than CPUs have to end all calls in such a part of the time: each of them takes
#: memory.
_SOONER = 0.9


def evened(calls: float, cpus: int) -> int:
    """Return the number of slots in which so few calls that compute end soonest.

    Rounds of one call for each CPU leave CPUs idle in the last one. Where more calls than CPUs run
    at once, these are shared out among them: three calls on two CPUs take 1.5 times as long as one,
    not twice.

    >>> [evened(calls, 2) for calls in (2, 3, 4, 5, 6, 7)], evened(9, 8), evened(15, 8)
    ([2, 3, 2, 3, 2, 2], 9, 8)
    """
    if not cpus < calls <= FEW_ROUNDS * cpus:
        return cpus

    def lasts(slots: int) -> float:
        return rounds(math.ceil(calls), slots, rate=cpus, wall=1.0)

    best = min(range(cpus, 2 * cpus), key=lasts)
    return best if lasts(best) < _SOONER * lasts(cpus) else cpus


def candidates(
    machine: MachineProfile, task: TaskProfile, limits: Limits, calls: float = math.inf
) -> Iterator[Plan]:
    """Yield the plans worth a forecast for so many calls, simpler ones first: of equals the first
    is taken.
    """
    yield Plan("inline")
    most = limits.max_concurrency
    cpus = machine.facts.whole_cpus
    slots = evened(calls, cpus)
    for width in _widths(_most_threads(machine, task, limits), machine, slots):
        yield Plan("thread", width)
    workers = min(cpus, most) if limits.max_workers is None else min(limits.max_workers, most)
    # One process beside the caller gains nothing over the caller, unless it is all one may have.
    for count in sorted({min(2, workers), workers}):
        for per_worker in _threads_per_worker(count, machine, task, limits):
            yield Plan("process", count, per_worker)
    if limits.max_workers is None and workers < slots <= most:
        yield Plan("process", slots, _threads_per_worker(slots, machine, task, limits)[0])


def _most_threads(machine: MachineProfile, task: TaskProfile, limits: Limits) -> int:
    if task.waiting >= _MOSTLY_COMPUTES * task.wall:
        return limits.most_threads
    # Those that come for the GIL again and again do no more if there are more: they are in each
    # other's way.
    crowd = 1 if task.gil_low > _SHARED * task.cpu else 2
    return min(limits.most_threads, crowd * machine.facts.whole_cpus)


def _widths(most: int, machine: MachineProfile, slots: int) -> list[int]:
    """Powers of two, the width at which CPUs would be full, and that which is best for few."""
    widths = {2**power for power in range(1, 11) if 2**power <= most}
    if most > 1:
        widths |= {min(most, max(2, machine.facts.whole_cpus)), min(most, max(2, slots)), most}
    return sorted(widths)


def _threads_per_worker(
    workers: int, machine: MachineProfile, task: TaskProfile, limits: Limits
) -> list[int]:
    most = max(1, limits.max_concurrency // workers)
    if limits.threads_per_worker is not None:
        return [min(limits.threads_per_worker, most)]
    if task.waiting < _MOSTLY_COMPUTES * task.wall:
        return [1]
    # Enough threads to keep a worker's CPU busy while others wait, and up to four times as many,
    # because calls do not take turns as evenly as a mean says, and the mean is of a few calls.
    cpu = task.cpu + task.helpers
    needed = math.ceil(4.0 * task.wall / cpu) if cpu > 0.0 else most
    widths = {1, *(2**power for power in range(1, 7) if 2**power <= min(most, needed))}
    widths.add(max(1, min(most, needed)))
    return sorted(widths)
