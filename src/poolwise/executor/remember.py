"""What a map recalls when it begins, and what of it is remembered when it ends."""

from __future__ import annotations

import time

from poolwise import wisdom
from poolwise.executor.record import RunRecord
from poolwise.machine import Facts
from poolwise.machine.fingerprint import fingerprint_of
from poolwise.probe.likeness import near
from poolwise.task import Task
from poolwise.units import Seconds

#: A run that is shorter has nothing to tell: to learn about it takes about so long.
_TELLS: Seconds = 20e-3

#: From here on, writing to the file (8 ms where SQLite is not loaded yet) is less than 2 % of it.
#: What shorter runs teach is written when the process ends.
_LONG: Seconds = 0.5


#: Threads that are said to run at once use so many CPUs, or were wrongly said to.
_AT_ONCE = 1.3


class Memory:
    """Wisdom on one task on this machine. Used by the owner only."""

    def __init__(self, task: Task, facts: Facts) -> None:
        self._task = task
        self._facts = facts

    def recall(self, inputs: str) -> wisdom.Entry | None:
        """Return what earlier runs have taught, here or in other processes."""
        return wisdom.recall(self._task.function, self._facts, inputs)

    def keep(
        self,
        record: RunRecord,
        *,
        learned: bool,
        inputs: str = "",
        in_vain: bool = False,
        unsendable: bool = False,
    ) -> bool:
        """Remember what a run has taught; false if it was nothing. What a run has paid for is worth
        it, however short it was: processes were begun with `in_vain`, or something was found to be
        `unsendable`.
        """
        dear = in_vain or unsendable
        if record.remembered is not None and not _as_remembered(record):
            wisdom.drop(record.remembered)  # also if this run is too short to tell what is right
        profile = record.profile
        told = learned or dear or record.plan.mechanism != "inline"
        learned = learned and _borne_out(record)
        chosen = record.finished or record.forecasts  # else it was left while learning
        if profile is None or not (told and chosen) or (record.elapsed < _TELLS and not dear):
            return False
        if record.failed > record.done and not unsendable:
            return False  # as where a server is down: those are other calls
        entry = wisdom.Entry(
            subject=wisdom.subject_of(self._task.function),
            machine=fingerprint_of(self._facts).short,
            profile=profile,
            learned=learned,
            plan=record.plan,
            calls=record.done + record.failed,
            elapsed=record.elapsed,
            at=time.time(),
            inputs=inputs,
        )
        wisdom.keep(entry, at_once=record.elapsed >= _LONG)
        return True


def _as_remembered(record: RunRecord) -> bool:
    """Whether calls computed for about as long as in the run that this one went on from."""
    assert record.remembered is not None
    calls = sum(use.calls for use in record.uses)
    old = record.remembered.profile
    return not calls or near(sum(use.cpu for use in record.uses) / calls, old.cpu, old.wall)


def _borne_out(record: RunRecord) -> bool:
    """Whether the run was as had been heard. Other load can make it seem that the GIL is free;
    that must not be believed for ever.
    """
    assert record.profile is not None
    if record.profile.waits or record.plan.mechanism != "thread":
        return True
    uses = [use for use in record.uses if use.plan == record.plan]
    return sum(use.cpu for use in uses) >= _AT_ONCE * sum(use.wall for use in uses)
