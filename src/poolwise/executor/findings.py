"""What is known of the task of one run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from poolwise.probe import Payload, Sample, TaskProfile
from poolwise.task import Refusal
from poolwise.units import Seconds, duration


@dataclass(slots=True)
class Findings:
    """What is known of one task so far. Used by the owner only; who finds something out says so
    here.

    `refusal` is that of everything but the plain loop; `partly` names what was too large to be seen
    in full when it was looked for changes. `learned`: calls have run side by side, or
    need not; not `conclusive` where they were too few to learn from. `strangers` are other threads
    that ran before any call did: OpenBLAS lets its own poll for 0.1 s after it was loaded, and what
    they use is not used for calls. `crowded`: threads are in each other's way, and how much. `gil`:
    whether there is one. `alone`: how long calls compute that run alone. `programs`: calls start
    some, and wait for them; what these use no clock of this process shows.
    """

    gil: bool
    profile: TaskProfile | None = None
    refusal: Refusal | None = None
    partly: tuple[str, ...] = ()
    learned: bool = False
    conclusive: bool = True
    strangers: int = 0
    crowded: str = ""
    alone: Seconds | None = None
    programs: bool = False

    def begin_anew(self, sample: Sample) -> str:
        """Know only this of calls that have come to wait; return what to say of it."""
        assert self.profile is not None
        profile = self.profile = TaskProfile.of(sample, self.profile.payload, gil=self.gil)
        self.learned, self.crowded, self.alone = False, "", None
        return f"calls have changed: they wait {duration(profile.waiting)} now"

    def first_profile(self, sample: Sample, payload: Payload | None = None) -> TaskProfile:
        """Return what calls are like that ran one at a time; `payload` is unknown at first."""
        helpers = sample.helpers - self.strangers * sample.wall
        sample = replace(sample, helpers=helpers)
        return TaskProfile.of(sample, payload or Payload(), gil=self.gil)
