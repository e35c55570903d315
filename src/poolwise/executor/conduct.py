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
    if lane.inline:
        dispatch.send_next(lane)
        return
    dispatch.fill()
    if not dispatch.finished:
        dispatch.wait()


def pinned(dispatch: Dispatch, plan: Plan) -> Iterator[None]:
    """Run everything under `plan`; measure nothing, decide nothing."""
    lane = dispatch.open(plan)
    dispatch.note(f"{plan}, as asked for")
    while not dispatch.finished:
        step(dispatch, lane)
        yield
