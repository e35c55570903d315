"""What `auto` chooses, in a simulated world: no time, no threads, no noise."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest

from executor.simulation import (
    MACHINE,
    SimulatedClock,
    SimulatedInbox,
    SimulatedMechanism,
    Work,
    World,
)
from poolwise.executor.auto import Auto
from poolwise.executor.collect import Ordered
from poolwise.executor.conduct import pinned
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.workload import Inputs
from poolwise.plan import Plan
from poolwise.planner import Limits
from poolwise.task import Refusal, Task, TaskTraits


class Result:
    """How a simulated run went."""

    def __init__(self, world: World, dispatch: Dispatch, plan: Plan, values: list[object]) -> None:
        self.makespan = world.time
        self.plan = plan
        self.values = values
        self.story = [f"{phase.at:8.4f} {phase.text}" for phase in dispatch.phases]
        self.plans = [use.plan for use in dispatch.all_uses()]


def simulate(
    works: Iterable[Work],
    plan: str | None = None,
    *,
    cpus: float = 2.0,
    slots: int | None = None,
    limits: Limits | None = None,
    refusals: dict[str, Refusal] | None = None,
) -> Result:
    world = World(cpus, slots)
    inbox = SimulatedInbox(world)
    clock = SimulatedClock(world)
    task = Task(lambda work: work)
    collector = Ordered(return_errors=False)

    def mechanisms(name: str) -> SimulatedMechanism:
        return SimulatedMechanism(world, name, refusals or {})

    dispatch = Dispatch(
        Inputs(task, (works,), clock, None),
        collector,
        mechanisms=mechanisms,
        inbox=inbox,
        clock=clock,
    )
    auto = None
    if plan is None:
        auto = Auto(dispatch, MACHINE, TaskTraits(), limits or Limits(), mechanisms)
        conductor = auto.steps()
    else:
        conductor = pinned(dispatch, Plan.parse(plan))
    values: list[object] = []
    for _ in conductor:
        while (part := collector.pop()) is not None:
            values.extend(part)
    while (part := collector.pop()) is not None:
        values.extend(part)
    return Result(world, dispatch, Plan.parse(plan) if auto is None else auto.plan, values)


PINNED = (
    "inline",
    "thread:2",
    "thread:8",
    "thread:16",
    "thread:32",
    "thread:64",
    "process:2",
    "process:2x4",
    "process:2x8",
    "process:2x16",
    "process:2x32",
)


def regret(works: Sequence[Work], *, slots: int | None = None) -> tuple[float, Result, str]:
    auto = simulate(works, slots=slots)
    assert auto.values == list(works)
    makespans = {spec: simulate(works, spec, slots=slots).makespan for spec in PINNED}
    best = min(makespans, key=makespans.__getitem__)
    return auto.makespan / makespans[best], auto, best


def spread(works: Sequence[Work], seed: int = 1) -> list[Work]:
    """The same works, each scaled by a random factor with a long tail (mean 1)."""
    rng = random.Random(seed)
    factors = [rng.lognormvariate(-0.5, 1.0) for _ in works]
    return [
        Work(work.wait, work.gil * factor, work.free * factor)
        for work, factor in zip(works, factors, strict=True)
    ]


CASES = {
    "parse": ("process", spread([Work(gil=8e-3)] * 400), None),
    "hash": ("thread", spread([Work(gil=1e-4, free=7e-3)] * 400), None),
    "fetch": ("thread", [Work(wait=50e-3, gil=0.8e-3)] * 400, 16),
    "fetch and parse": ("process", spread([Work(wait=20e-3, gil=8e-3)] * 400), 64),
    "tiny": ("inline", [Work(gil=5e-8)] * 20_000, None),
    "short": ("process", [Work(gil=2e-4)] * 8_000, None),
    "sleep": ("thread", [Work(wait=10e-3, gil=3e-5)] * 2_000, None),
    "few waits": ("thread", [Work(wait=0.1)] * 6, None),
    "mixed": ("process", [Work(wait=10e-3, gil=2e-3)] * 1_000, None),
    "few long": ("process", [Work(gil=0.5)] * 8, None),
}


@pytest.mark.parametrize("name", CASES)
def test_takes_the_right_mechanism_and_is_close_to_the_best_plan(name: str) -> None:
    expected, works, slots = CASES[name]
    ratio, auto, best = regret(works, slots=slots)
    story = "\n".join(auto.story)
    assert auto.plan.mechanism == expected, story
    assert ratio <= 1.25, f"{ratio:.2f} × {best}\n{story}"
