"""What several calls at once say about the GIL, the CPUs and the other side."""

from __future__ import annotations

from dataclasses import replace

from poolwise.probe.profile import Sample, TaskProfile

#: Calls side by side that get this share of the CPU time per second that one alone gets are
#: taken to run in parallel. Half-way between "in turn" and "at once" for two threads.
_PARALLEL = 0.75

#: CPUs kept busy by calls that take turns with the GIL: one, less what switching costs.
_ONE_CPU = (0.75, 1.3)


def after_race(task: TaskProfile, threads: int, busy_cpus: float, cpus: float) -> TaskProfile:
    """Learn the GIL share of a computing task from `threads` calls that ran side by side.

    Alone, a call used ``cpu / wall`` of a CPU. If each still gets that beside the others, the GIL
    was free meanwhile; if together they kept about one CPU busy, they took turns. CPU time is
    compared with wall time while they run, so neither the length of calls nor how much it varies
    disturbs, and a race need not wait for any call to end.
    """
    if not task.cpu:
        return task
    alone = (task.cpu + task.helpers) / task.wall
    most = task.cpu / max(busy_cpus, 1.0)
    parallel = busy_cpus >= _PARALLEL * alone * min(threads, cpus)
    if parallel or busy_cpus > min(_ONE_CPU[1], 0.9 * cpus):
        return task.with_gil(0.0, most)
    return task.with_gil(0.9 * most, most)


def after_widening(
    task: TaskProfile, narrow: Sample | None, wide: Sample, cpus: float
) -> TaskProfile:
    """Learn what binds a waiting task from the throughput of more threads than before.

    `task.cpu` is the mean over all calls so far; `narrow` is the sample of fewer threads, if there
    is one.
    """
    if not wide.calls or not wide.service:
        return task
    cpu = task.cpu
    # Of these very calls: a few long ones among them must not look like a busy GIL.
    busy = wide.steady_rate * (wide.cpu / wide.calls + task.helpers)
    expected = min(wide.concurrency / task.wall, cpus / cpu if cpu else float("inf"))
    if wide.steady_rate >= 0.85 * expected:
        # Nothing held it back; so the GIL was free for at least as many calls.
        return task.with_gil(0.0, cpu / max(1.0, busy))
    if busy >= 0.85 * cpus and cpus > 1.0:
        return task.with_gil(0.0, cpu / busy)
    if busy >= _ONE_CPU[0] and task.gil_high:
        return task.with_gil(0.9 * cpu / max(busy, 1.0), cpu / max(busy, 1.0))
    if narrow is not None and wide.steady_rate < 1.3 * narrow.steady_rate:
        return replace(task, outside=max(narrow.steady_rate, wide.steady_rate))
    return task
