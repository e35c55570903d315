"""What several calls at once say about the GIL, the CPUs and the other side."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from poolwise.probe.profile import Sample, TaskProfile

#: CPUs used by calls that take turns with the GIL: one, and less where it is free at times. Two
#: threads that run at once use more.
_ONE_CPU = (0.75, 1.3)

#: So much of a CPU that nobody used would have been used by calls that run at once.
_STOOD_IDLE = 0.5

#: Two calls side by side that use this share of what two alone would use run in parallel.
_PARALLEL = 0.75

#: A throughput of so much of what is possible is not held back by anything.
_FULL = 0.85

#: Throughput that grows by less than this when threads are doubled does not grow.
_GROWS = 1.3

#: Of the computing, what is taken to hold the GIL where that was seen, and at least where other
#: load hid it. What is not known leans towards processes: a wrong process costs its start, a
#: wrong thread costs a CPU.
_HELD = 0.9
_HIDDEN = 0.5

#: Where arguments and results cost more than this share of the computing to send, what is not known
#: leans nowhere.
_MUCH = 0.1


@dataclass(frozen=True, slots=True)
class Demand:
    """CPUs that the threads of this process used, and wanted, on average over some time.

    Who waits for the GIL wants no CPU; who is ready to run and gets none wants one. So on a quiet
    machine both figures tell whether calls took turns. Beside other load, calls that run at once
    may use one CPU only, and calls that take turns may seem to want two (each time-out of the
    wait for the GIL has to get a CPU first). Then only more than one CPU *used*, or no more than
    one *wanted*, says something; or that a CPU stood `idle`, which calls that run at once would
    have taken.
    """

    used: float
    wanted: float
    idle: float = 0.0  # 0 also where it is not known

    @property
    def at_once(self) -> bool:
        """Whether calls certainly ran at once."""
        return self.used > _ONE_CPU[1]

    @property
    def in_turn(self) -> bool:
        """Whether calls certainly took turns."""
        return not self.at_once and (self.wanted <= _ONE_CPU[1] or self.idle >= _STOOD_IDLE)

    @property
    def fills_one(self) -> bool:
        """Whether calls would use one CPU or more if there were no other load."""
        return self.wanted >= _ONE_CPU[0]

    def share(self) -> tuple[float, float]:
        """Bounds for the share of the computing that holds the GIL."""
        if self.at_once:
            return 0.0, 1.0 / self.used
        return (_HELD if self.in_turn else _HIDDEN), 1.0


def after_race(task: TaskProfile, threads: int, demand: Demand) -> TaskProfile:
    """Learn the GIL share of a computing task from `threads` calls that ran side by side.

    Alone, a call uses ``cpu / wall`` of a CPU. If each does so beside the others too, the GIL was
    free meanwhile; if together they used about one CPU, they took turns. Neither the length of
    calls nor its spread disturbs, and a race need not wait for any call to end.
    """
    if not task.cpu:
        return task
    alone = (task.cpu + task.helpers) / task.wall
    if demand.used >= _PARALLEL * alone * threads:
        return task.with_gil(0.0, task.cpu / max(demand.used, 1.0))
    low, high = demand.share()
    if not demand.in_turn and _costs_much_to_send(task):
        low = 0.0  # a wrong process costs more than its start
    return task.with_gil(low * task.cpu, high * task.cpu)


def _costs_much_to_send(task: TaskProfile) -> bool:
    return task.payload.caller + task.payload.worker > _MUCH * task.cpu


def after_a_while(task: TaskProfile, used: float) -> TaskProfile:
    """Learn from the CPUs that threads have used for some tenths of a second under a plan.

    What a race could not tell for other load, or only as a bound, a long look makes likely: the GIL
    kept threads from using more. And if others never leave a CPU free, processes get a larger
    share of what there is than threads that might take turns.
    """
    known = task.gil_low >= _HELD * task.gil_high
    if known or task.waits or _costs_much_to_send(task):
        return task
    high = 1.0 if used <= _ONE_CPU[1] else min(task.gil_high / task.cpu, 1.0 / used)
    return task.with_gil(_HELD * high * task.cpu, high * task.cpu)


def not_raced(task: TaskProfile) -> TaskProfile:
    """Take the GIL to be held as where other load hid the answer: nobody needs to know it."""
    return task.with_gil(_HIDDEN * task.cpu, task.cpu)


def after_widening(
    task: TaskProfile, narrow: Sample | None, wide: Sample, demand: Demand, cpus: float
) -> TaskProfile:
    """Learn what binds a waiting task from the throughput of more threads than before.

    `task.cpu` is the mean over all calls so far; `narrow` is the sample of fewer threads, if there
    is one; `demand` is that while `wide` was taken.
    """
    if not wide.calls or not wide.service:
        return task
    low, high = demand.share()
    expected = min(wide.concurrency / task.wall, cpus / task.cpu if task.cpu else math.inf)
    held_back = wide.steady_rate < _FULL * expected
    if task.gil_high and (demand.at_once or not held_back):
        # The GIL was free for at least as many calls.
        return task.with_gil(0.0, high * task.cpu)
    if not held_back:
        return task
    if task.gil_high and demand.fills_one:
        return task.with_gil(low * task.cpu, high * task.cpu)
    if narrow is not None and wide.steady_rate < _GROWS * narrow.steady_rate:
        return replace(task, outside=max(narrow.steady_rate, wide.steady_rate))
    return task
