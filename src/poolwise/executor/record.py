"""The run record: what was planned, what happened, when."""

from __future__ import annotations

from dataclasses import dataclass

from poolwise.cost import Forecast
from poolwise.machine import MachineProfile
from poolwise.plan import Plan
from poolwise.probe import TaskProfile
from poolwise.task import Task
from poolwise.units import PerSecond, Seconds
from poolwise.wisdom import Entry


@dataclass(frozen=True, slots=True)
class Phase:
    """Something that began at `at`, in seconds after the first input was drawn."""

    at: Seconds
    text: str


@dataclass(frozen=True, slots=True)
class PlanUse:
    """What ran under one plan: calls, and seconds during which it took calls."""

    plan: Plan
    calls: int
    wall: Seconds
    service: Seconds
    cpu: Seconds

    @property
    def rate(self) -> PerSecond:
        """Calls finished a second."""
        return self.calls / self.wall if self.wall else 0.0


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run so far: immutable, complete in itself, ready to be explained.

    `forecasts` are those of the last choice, the chosen plan first; empty if the plan was
    pinned, or the work was over before there was anything to choose. `forecast` is the total
    makespan that was predicted when the choice was made. `retried` counts starts beyond the first.
    `remembered` is what an earlier run taught, where this one went on from it; `kept` says whether
    what this one taught is remembered. `lost_workers` died unasked, `killed_workers` were killed
    for a limit or because their call was cancelled. `missing` are options, as one writes them, that
    a program by hand does not have.
    what this one taught is remembered. `partly` names what calls can reach and was too large to be
    looked at in full.
    """

    task: Task
    machine: MachineProfile
    profile: TaskProfile | None
    plan: Plan
    pinned: bool
    forecasts: tuple[Forecast, ...]
    forecast: Seconds | None
    phases: tuple[Phase, ...]
    uses: tuple[PlanUse, ...]
    started: int
    done: int
    failed: int
    lost_workers: int
    retried: int
    elapsed: Seconds
    finished: bool
    total: int | None
    remembered: Entry | None = None
    kept: bool = False
    killed_workers: int = 0
    missing: tuple[str, ...] = ()
    partly: tuple[str, ...] = ()
