"""Driving a dispatch under a pinned plan.

A *conductor* is a generator: each step makes progress, and each ``yield`` is a moment at which
results may go out to the user. It runs in the owner's thread.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from poolwise.executor.demand import cpu_of_others
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.lane import Lane
from poolwise.plan import Plan
from poolwise.units import Seconds

#: Threads that use so much of a CPU compute in turn, or all CPUs are theirs.
_COMPUTE = 0.8

#: So many threads are started before the first of them get calls: to start one takes 0.1 to 0.4 ms.
_AT_ONCE = 4


def step(dispatch: Dispatch, lane: Lane) -> None:
    """Make some progress: run a batch inline, or send what there is room for and wait.

    Called when no part is ready, so something is in flight or some worker is on its way, and
    waiting ends.
    """
    ran = dispatch.send_next(lane) if lane.inline else 0
    dispatch.fill()
    if not dispatch.finished:
        # Calls of a lane that was left may still be under way while others run inline.
        dispatch.wait(0 if ran or dispatch.collector.ready else None)


def pinned(dispatch: Dispatch, plan: Plan, why: str = "as asked for") -> Iterator[None]:
    """Run everything under `plan`; measure nothing, decide nothing."""
    lane, _ = opened(dispatch, plan)
    lane.settled = True
    dispatch.note(f"{plan}, {why}")
    while not dispatch.finished:
        step(dispatch, lane)
        yield


def opened(dispatch: Dispatch, plan: Plan, patience: Seconds = math.inf) -> tuple[Lane, Seconds]:
    """Open a lane; threads that are there have calls while others start. Takes and also returns
    what `widen` does.

    Raises:
        TransferError: the task cannot be sent to such workers.
    """
    if plan.mechanism != "thread" or plan.workers <= _AT_ONCE:
        return dispatch.open(plan), 0.0
    lane = dispatch.open(replace(plan, workers=_AT_ONCE))
    dispatch.pump()
    return lane, widen(dispatch, lane, plan, patience)


def widen(dispatch: Dispatch, lane: Lane, plan: Plan, patience: Seconds = math.inf) -> Seconds:
    """Have another number of threads; those that are there have calls while others start.

    No more are started after some that took longer than `patience` each, and others that did too
    while all computed: that is looked for only then, because it takes 1 µs for each thread. Returns
    what it took to start one of the last of them, 0 if none was.
    """
    clock, each = dispatch.clock, 0.0
    while lane.active and (more := min(plan.workers - lane.plan.workers, _AT_ONCE)) > 0:
        slow, threads = each > patience, lane.pool.workers
        used, began = cpu_of_others(clock) if slow else 0.0, clock.now()
        lane.widen(replace(plan, workers=lane.plan.workers + more))
        took = clock.now() - began
        computed = slow and cpu_of_others(clock) - used > _COMPUTE * took
        if lane.pool.workers > threads:
            each = took / (lane.pool.workers - threads)
        dispatch.pump()
        if computed and each > patience:
            return each
    if lane.active:  # no thread of it can be started otherwise
        lane.widen(plan)
    return each
