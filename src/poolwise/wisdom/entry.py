"""One thing remembered: where the time of a function's calls goes, and the plan it led to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from poolwise.machine.fingerprint import digest
from poolwise.plan import Plan
from poolwise.probe import TaskProfile
from poolwise.units import Seconds, duration, plural
from poolwise.wisdom.subject import Subject

#: Grows when a key goes or changes its meaning. The file that holds entries is named after it.
FORMAT = 2


def key_of(subject: Subject, machine: str) -> str:
    """Return what an entry is found by: 16 letters."""
    return digest("\0".join((subject.module, subject.name, subject.code, machine)))


@dataclass(frozen=True, slots=True)
class Entry:
    """What one run has taught of a function on one machine.

    `machine` is the short form of its fingerprint. `profile` is that of the calls; `learned` says
    whether calls ran side by side, so that what they hold the GIL for was found out. `plan` is the
    one in force at the end. `calls` ended in `elapsed` seconds; the run was over at `at`, in
    seconds since 1970. `inputs` is what these were like; see `inputs_like`.
    """

    subject: Subject
    machine: str
    profile: TaskProfile
    learned: bool
    plan: Plan
    calls: int
    elapsed: Seconds
    at: Seconds
    inputs: str = ""

    @property
    def key(self) -> str:
        """What it is found by, with others of the same function."""
        return key_of(self.subject, self.machine)

    @property
    def decided(self) -> bool:
        """Whether enough was known of the calls for the plan to be more than a guess."""
        return self.learned and (self.profile.waits or self.profile.gil_known)

    @property
    def run(self) -> str:
        """Which run it was, for people."""
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.at))
        return f"a run of {plural(self.calls, 'input')} in {duration(self.elapsed)}, {when}"

    def to_document(self) -> dict[str, Any]:
        """Return it as what JSON knows."""
        from poolwise.machine.record_json import to_plain

        document: dict[str, Any] = to_plain(self)
        return document

    @classmethod
    def from_document(cls, document: object) -> Entry:
        """Return what `to_document` made this of.

        Raises:
            ValueError: it is damaged: a figure is missing, or one that cannot be.
        """
        from poolwise.machine.record_json import from_plain

        entry = from_plain(cls, document)
        for wrong in entry._impossible():
            raise ValueError(f"Entry: {wrong}")
        return entry

    def _impossible(self) -> Iterator[str]:
        task, payload = self.profile, self.profile.payload
        if not self.subject.lasting:
            yield "the function has no module"
        times = [task.cpu, task.helpers, task.gil_low, task.paging, self.elapsed]
        times += [payload.caller, payload.worker]
        counts = (task.calls, self.calls, payload.bytes_in, payload.bytes_out)
        if min(times) < 0.0 or min(counts) < 0 or task.wall <= 0.0:
            yield "a figure is below 0"
        if task.gil_low > task.gil_high or task.gil_high > task.cpu * (1.0 + 1e-9):
            yield "the GIL is held for longer than a call computes"
        if task.paging > task.cpu * (1.0 + 1e-9):
            yield "paging takes longer than a call computes"
        if task.outside is not None and task.outside <= 0.0:
            yield "a rate is not above 0"
        if not 0.0 <= self.at < 1e11:
            yield "there is no such time"
        if max(self.plan.workers, self.plan.concurrency) > 10_000:
            yield "no machine has so many workers"
