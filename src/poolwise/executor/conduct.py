"""Driving a dispatch under a pinned plan.

A *conductor* is a generator: each step makes progress, and each ``yield`` is a moment at which
results may go out to the user. It runs in the owner's thread.
"""

from __future__ import annotations

from collections.abc import Iterator

from poolwise.executor.dispatch import Dispatch
from poolwise.executor.lane import Lane
from poolwise.plan import Plan


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
    lane = dispatch.open(plan)
    dispatch.note(f"{plan}, {why}")
    while not dispatch.finished:
        step(dispatch, lane)
        yield
