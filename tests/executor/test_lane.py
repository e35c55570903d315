"""What a lane may have under way, in a simulated world."""

from __future__ import annotations

import math

import pytest

from executor.simulation import (
    SimulatedClock,
    SimulatedInbox,
    SimulatedMechanism,
    SimulatedPool,
    Work,
    World,
)
from poolwise.executor.collect import Ordered
from poolwise.executor.conduct import widen
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.lane import Lane
from poolwise.executor.workload import Inputs
from poolwise.plan import Plan
from poolwise.task import Task

WAIT = Work(wait=1.0)


def four_threads(inputs: int, *, settled: bool) -> tuple[Dispatch, Lane]:
    """Threads that have all been sent what there is room for."""
    world = World()
    inbox, clock = SimulatedInbox(world), SimulatedClock(world)
    dispatch = Dispatch(
        Inputs(Task(str), ([WAIT] * inputs,), clock, None),
        Ordered(return_errors=False),
        mechanisms=lambda name: SimulatedMechanism(world, name, {}),
        inbox=inbox,
        clock=clock,
        look_ahead=10_000,
    )
    lane = dispatch.open(Plan("thread", 4))
    lane.settled = settled
    while lane.ready_workers < 4:
        inbox.wait()
    dispatch.fill()
    return dispatch, lane


@pytest.mark.parametrize(
    ("inputs", "settled", "under_way"),
    [
        (1_000, True, 16),
        (1_000, False, 8),
        (16, False, 8),  # as many as are left for others
        (15, False, 4),
        (16, True, 16),
    ],
)
def test_little_is_sent_ahead_while_something_is_learnt(
    inputs: int, settled: bool, under_way: int
) -> None:
    _, lane = four_threads(inputs, settled=settled)
    assert lane.in_flight == under_way


def test_nothing_is_sent_ahead_to_threads_that_the_plan_has_not() -> None:
    dispatch, lane = four_threads(1_000, settled=True)
    lane.widen(Plan("thread", 3))
    assert dispatch.room(lane) == 3 - 16
    assert lane.pool.workers == 4


@pytest.mark.parametrize(
    ("patience", "used", "threads"),
    [(1e-3, 1.0, 12), (10e-3, 1.0, 32), (math.inf, 1.0, 32), (1e-3, 0.5, 32)],
)
def test_threads_that_are_slow_to_start_beside_others_that_compute_are_the_last(
    patience: float, used: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow = SimulatedPool.grow

    def slowly(pool: SimulatedPool, workers: int) -> None:
        pool.world.time += 5e-3 * workers
        pool.world.process_cpu += used * 5e-3 * workers
        grow(pool, workers)

    dispatch, lane = four_threads(1_000, settled=True)
    monkeypatch.setattr(SimulatedPool, "grow", slowly)
    took = widen(dispatch, lane, Plan("thread", 32), patience)
    assert took == pytest.approx(5e-3)
    assert lane.plan.workers == lane.width == lane.pool.workers == threads
