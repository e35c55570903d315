"""What several calls at once say about the GIL, the CPUs and the other side."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from poolwise.probe.profile import Sample, TaskProfile
from poolwise.units import Bytes

#: CPUs used by calls that take turns with the GIL: one, and less where it is free at times. Two
#: threads that run at once use more.
_ONE_CPU = (0.75, 1.3)

#: Two calls side by side that use this share of what two alone would use run in parallel.
_PARALLEL = 0.75

#: Threads of a library that use so much of what the call itself does compute for it.
HELPED = 0.5

#: Who holds the GIL for so much of its computing takes turns; for so little, it runs at once.
MOSTLY, SELDOM = 0.7, 0.2

#: One late beat among many is nobody's call.
HARDLY = 0.1

#: A throughput of so much of what is possible is not held back by anything.
_FULL = 0.85

#: The same of what threads want of the CPUs over some tenths of a second: 0.92 to 1 where nothing
#: was in their way, 0.81 to 0.86 where a lock of SQLite's was.
_NOT_KEPT = 0.9

#: Of what calls compute in threads, at least so much is what they compute alone: caches and memory
#: that are shared take less. With SQLite, of which each thread filled a database of its own, it was
#: half, and two threads did 1.1 times as much as one.
_USEFUL = 0.7

#: Throughput that grows by less than this when threads are doubled does not grow.
_GROWS = 1.3

#: Of the computing, what is taken to hold the GIL where that was seen, and at least where other
#: load hid it. What is not known leans towards processes: a wrong process costs its start, a
#: wrong thread costs a CPU.
_HELD = 0.9
_HIDDEN = 0.5

#: Where arguments and results cost more than this share of the computing to send, what is not known
#: leans nowhere. Small ones, in bytes, travel together, and cost less than one by one.
_MUCH = 0.1
_SMALL: Bytes = 4096


@dataclass(frozen=True, slots=True)
class Demand:
    """CPUs that the threads of this process used, and wanted, on average over some time.

    Who waits for the GIL wants no CPU; who is ready to run and gets none wants one. So on a quiet
    machine both figures tell whether calls took turns. Beside other load, calls that run at once
    may use one CPU only, and calls that take turns may seem to want two (each time-out of the
    wait for the GIL has to get a CPU first). Then only more than one CPU *used*, or no more than
    one *wanted*, says something.
    """

    used: float
    wanted: float

    @property
    def at_once(self) -> bool:
        """Whether calls certainly ran at once."""
        return self.used > _ONE_CPU[1]

    @property
    def in_turn(self) -> bool:
        """Whether calls certainly took turns."""
        return self.wanted <= _ONE_CPU[1]

    @property
    def fills_one(self) -> bool:
        """Whether calls would use one CPU or more if there were no other load."""
        return self.wanted >= _ONE_CPU[0]

    def share(self) -> tuple[float, float]:
        """Bounds for the share of the computing that holds the GIL."""
        if self.at_once:
            return 0.0, 1.0 / self.used
        return (_HELD if self.in_turn else _HIDDEN), 1.0


def after_listening(task: TaskProfile, held: float, threads: int = 1) -> TaskProfile:
    """Learn the GIL share of a computing task from the share of the time in which one of so many
    calls held the GIL, where hardly two of them computed at once.

    A library that computes in threads of its own does so without the GIL, and may keep the
    listener from a CPU: then it is not in question. A program that calls wait for is no such thing:
    nothing of it is beside the call.

    Where it is divided, no more than the lower bound is known: whoever lets go of the GIL and wants
    it back soon waits for a turn of the others each time.
    """
    if not task.cpu:
        return task
    if task.beside > HELPED * task.cpu:
        return task.with_gil(0.0, max(0.0, task.cpu - task.helpers))
    share = min(1.0, held / min(1.0, threads * task.cpu / task.wall))
    if share >= MOSTLY:
        return task.with_gil(max(_HELD, share) * task.cpu, task.cpu)
    if share <= SELDOM:
        return task.with_gil(0.0, share * task.cpu)
    return task.with_gil(share * task.cpu, task.cpu)


def after_confirming(task: TaskProfile, threads: int, demand: Demand) -> TaskProfile:
    """Learn whether so many calls, which seemed to leave the GIL alone for some of the time, do run
    at once.

    If each uses beside the others what it does alone, the GIL was free meanwhile; if together they
    used about one CPU, they took turns, or other load hid it. Where they used more than one, less
    than they could, and wanted no more, it was the GIL that kept them from it, or another lock of
    the process.
    """
    kept = not _all_at_work(task, demand.wanted, threads, _FULL)
    if _all_at_work(task, demand.used, threads) and not kept:
        return _at_once(task, demand.used)
    if demand.at_once:
        if not kept or _costs_much_to_send(task):
            return _at_once(task, demand.used)
        share = 1.0 / demand.used
        return task.with_gil(_HELD * share * task.cpu, share * task.cpu)
    if not demand.in_turn and _costs_much_to_send(task):
        return task  # a wrong process costs more than its start
    low, high = demand.share()
    if keep_each_other(task, threads, demand):
        high = 1.0 / max(1.0, demand.used)
        low = _HELD * high
    return task.with_gil(low * task.cpu, high * task.cpu)


def keep_each_other(task: TaskProfile, threads: int, demand: Demand) -> bool:
    """Whether so many calls certainly keep each other: they want clearly less of the CPUs than they
    would use alone, and whom other load keeps wants as much.
    """
    return not (demand.at_once or _all_at_work(task, demand.wanted, threads))


def is_divided(task: TaskProfile) -> bool:
    """Whether calls were heard to hold the GIL for a part of their computing, neither most of it
    nor none: each time that one wants it back it may have to wait for a turn of the others.
    """
    return task.gil_high > HARDLY * task.cpu and task.gil_low < MOSTLY * task.cpu


def progress(task: TaskProfile, sample: Sample) -> float:
    """Return how many times as many calls end in a sample of threads as would one by one.

    Alone a call uses as much CPU time as beside others at most: the first ones may have warmed up.
    """
    alone = task.with_cpu(min(task.cpu, sample.cpu / sample.calls))
    return sample.steady_rate * alone.wall


def computes_in_vain(task: TaskProfile, sample: Sample) -> bool:
    """Whether calls in threads compute for clearly longer than alone, as who polls for a lock does:
    more CPUs are in use than do anything.
    """
    return task.cpu * sample.calls < _USEFUL * sample.cpu


def after_progress(
    task: TaskProfile, gained: float, threads: int, *, programs: bool = False
) -> TaskProfile:
    """Learn from the `progress` of so many threads whose calls hold the GIL for a part.

    The CPUs that they use say little: much of that may be spent on passing the GIL to and fro. The
    GIL is taken to be what keeps them from more: of calls that start `programs` also for time in
    which they have no CPU, since whoever starts one holds it until the program is there.
    """
    if gained >= _PARALLEL * threads:
        return _at_once(task, gained)
    if _costs_much_to_send(task):
        return task  # a wrong process costs more than its start
    share = 1.0 / max(1.0, gained)
    if programs:
        return replace(task, gil_low=share * task.wall, gil_high=share * task.wall)
    return task.with_gil(share * task.cpu, share * task.cpu)


def _all_at_work(task: TaskProfile, used: float, threads: int, share: float = _PARALLEL) -> bool:
    """Whether so many calls use together what each uses of a CPU alone, ``cpu / wall``, or such a
    `share` of it.
    """
    return used >= share * threads * (task.cpu + task.helpers) / task.wall


def _at_once(task: TaskProfile, used: float) -> TaskProfile:
    """Bound the share of calls that run at once: so many CPUs could not be used with a larger."""
    most = task.cpu / max(used, 1.0)
    return task.with_gil(min(task.gil_low, most), min(task.gil_high, most))


def _costs_much_to_send(task: TaskProfile) -> bool:
    payload = task.payload
    large = payload.bytes_in + payload.bytes_out > _SMALL
    return large and payload.caller + payload.worker > _MUCH * task.cpu


def is_open(task: TaskProfile) -> bool:
    """Whether a long look at threads of such calls could tell something that matters."""
    known = task.gil_low >= _HELD * task.gil_high > 0.0
    return not (known or task.waits or _costs_much_to_send(task))


def after_a_while(task: TaskProfile, demand: Demand, threads: int) -> TaskProfile:
    """Learn from the demand of so many threads over some tenths of a second under a plan.

    What listening could not tell, or only as a bound, a long look makes likely: the GIL kept
    threads from using more, or another lock of the process, which nobody hears. And if others never
    leave a CPU free, processes get a larger share of what there is than threads that might take
    turns.
    """
    if not is_open(task):
        return task
    used = demand.used
    if _all_at_work(task, used, threads):
        if _all_at_work(task, demand.wanted, threads, _NOT_KEPT):
            return _at_once(task, used)
        high = 1.0 / max(1.0, used)
    else:
        high = 1.0 if used <= _ONE_CPU[1] else min(task.gil_high / task.cpu, 1.0 / used)
    return task.with_gil(_HELD * high * task.cpu, high * task.cpu)


def not_listened_to(task: TaskProfile) -> TaskProfile:
    """Take the GIL to be held as where other load hid the answer: nobody needs to know it."""
    return task.with_gil(_HIDDEN * task.cpu, task.cpu)


def are_helped(task: TaskProfile, sample: Sample) -> bool:
    """Whether calls in several threads, which seemed to wait, have threads of a library compute for
    them: for about as long as they compute and wait, and something keeps them from doing as much as
    if they did wait.

    The first call alone cannot tell: such threads may poll for work for a while, whoever waits.
    """
    held_back = sample.steady_rate < _FULL * sample.concurrency / task.wall
    most = max(sample.cpu, sample.calls * task.waiting)
    return held_back and sample.helpers > HELPED * most


def after_helping(task: TaskProfile, sample: Sample) -> TaskProfile:
    """Learn of calls that are helped: while they seemed to wait, others computed beside them."""
    cpu, helpers = sample.cpu / sample.calls, sample.helpers / sample.calls
    helped = replace(
        task, wall=max(cpu, helpers), cpu=cpu, helpers=helpers, paging=min(task.paging, cpu)
    )
    return helped.with_gil(0.0, max(0.0, cpu - helpers) if task.gil_high else 0.0)


def after_widening(
    task: TaskProfile, narrow: Sample | None, wide: Sample, cpus: float
) -> TaskProfile:
    """Learn what binds a waiting task from the throughput of more threads than before.

    `task.cpu` is the mean over all calls so far; `narrow` is the sample of fewer threads, if there
    is one. That other load keeps threads from a CPU is not asked: to read what each has queued for
    takes more turns of the GIL than it is worth.
    """
    if not wide.calls or not wide.service:
        return task
    demand = Demand(wide.cpus, wide.cpus)
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
