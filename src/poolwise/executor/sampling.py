"""Letting a lane work for a while, and counting what it does."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace

from poolwise.executor.demand import ForeignMeter
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.lane import Lane
from poolwise.probe import Sample
from poolwise.units import Seconds

#: A sample takes two rounds of calls. One that takes so many times a call's duration is given up:
#: calls have changed, or have to wait for something, and what is there tells.
_ROUNDS = 5.0

#: What threads may take to start, before the first of these calls begins.
_START: Seconds = 10e-3


def patience(call: Seconds) -> Seconds:
    """Return how long a sample of two rounds of such calls may take at most."""
    return _START + _ROUNDS * call


def sample_of(
    dispatch: Dispatch,
    lane: Lane,
    calls: int,
    before: int,
    seconds: Seconds = 0.0,
    at_most: Seconds = math.inf,
    together: bool = False,
) -> Generator[None, None, Sample]:
    """Let `lane` work until it has done so many calls, for so long; what it did is the value.
    The first that end do not count: those that began `before` it had its present width. The
    `helpers` are threads of libraries.

    Where all calls of the lane have begun `together`, those that have not ended count as well: the
    first to end are short ones, or the first to get the GIL. 32 calls that wait for 10 ms and hold
    it for 2 take 43 ms on average, and in the long run 64.
    """
    clock = dispatch.clock
    start, foreign = lane.observe(clock.now()), ForeignMeter(clock)
    away: Seconds = 0.0  # of the user, who does something with results
    began, settled = start.at, start.calls + before if before else 0
    while not dispatch.finished:
        dispatch.fill()
        if lane.ready_workers and not dispatch.in_flight:
            waits = dispatch.workload.pace and dispatch.collector.ready
            if dispatch.keeps_results or not waits:
                break  # the look-ahead is used up
        dispatch.wait()
        now = lane.observe(clock.now())
        if now.at - began > at_most and now.calls > start.calls:
            break
        if start.calls < settled <= now.calls:
            start, settled, foreign = now, 0, ForeignMeter(clock)
        elif not settled and now.calls - start.calls >= calls and now.at - start.at >= seconds:
            break
        left = clock.now()
        yield
        away += clock.now() - left
    sample = start.until(lane.observe(clock.now()), lane.width)
    if together and sample.calls and not dispatch.workload.pace:
        each = (lane.slot_time - lane.width * away) / lane.calls
        sample = replace(sample, service=max(sample.service, sample.calls * each))
    return replace(sample, helpers=foreign.used)
