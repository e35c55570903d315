"""What several calls at once say about the GIL, the CPUs and the other side."""

from __future__ import annotations

from dataclasses import replace

from poolwise.probe.profile import Sample, TaskProfile

#: Calls side by side that get this share of the CPU time per second that one alone gets are
#: taken to run in parallel. Half-way between "in turn" and "at once" for two threads.
_PARALLEL = 0.75

#: CPUs kept busy by calls that take turns with the GIL: one, less what switching costs.
_ONE_CPU = (0.75, 1.3)


def after_race(task: TaskProfile, together: Sample, cpus: float) -> TaskProfile:
    """Learn the GIL share of a computing task from calls that ran in several threads.

    Alone, a call used ``cpu / wall`` of a CPU. If it still gets that beside others, the GIL was
    free meanwhile; if the threads together used about one CPU, they took turns. Each call is
    compared with its own duration, so calls of very different lengths do not disturb.
    """
    if not together.service or not task.cpu:
        return task
    alone = (task.cpu + task.helpers) / task.wall
    beside = (together.cpu + together.helpers) / together.service
    busy = together.busy_cpus
    most = task.cpu / max(busy, 1.0)
    if beside >= _PARALLEL * alone or busy > min(_ONE_CPU[1], 0.9 * cpus):
        return task.with_gil(0.0, most)
    return task.with_gil(0.9 * most, most)


def after_widening(
    task: TaskProfile, narrow: Sample | None, wide: Sample, cpus: float
) -> TaskProfile:
    """Learn what binds a waiting task from the throughput of more threads than before.

    `narrow` is the sample of about half as many threads, if there is one.
    """
    if not wide.calls or not wide.wall:
        return task
    cpu = wide.cpu / wide.calls
    task = replace(task, cpu=cpu, gil_high=min(task.gil_high, cpu) if task.gil_high else 0.0)
    busy = wide.rate * (cpu + task.helpers)
    expected = min(wide.concurrency / task.wall, cpus / cpu if cpu else float("inf"))
    if wide.rate >= 0.85 * expected:
        # Nothing held it back; so the GIL was free for at least as many calls.
        return task.with_gil(0.0, cpu / max(1.0, busy))
    if busy >= 0.85 * cpus and cpus > 1.0:
        return task.with_gil(0.0, cpu / busy)
    if busy >= _ONE_CPU[0] and task.gil_high:
        return task.with_gil(0.9 * cpu / max(busy, 1.0), cpu / max(busy, 1.0))
    if narrow is not None and wide.rate < 1.3 * narrow.rate:
        return replace(task, outside=max(narrow.rate, wide.rate))
    return task
