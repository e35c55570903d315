"""Whether calls are like others: of an earlier run, or earlier in this one."""

from __future__ import annotations

from poolwise.probe.profile import Sample, TaskProfile
from poolwise.units import Seconds

#: Computing that takes so many times as long as before, or as little, has changed; means over a
#: few calls differ by less.
SEVERAL = 3.0

#: Means over a few calls of one function may differ by so much where its calls differ widely.
_SKEW = 10.0

#: Calls that take so many times as long as they compute wait. A busy machine and threads that take
#: turns make them seem to, but for less.
_MOSTLY = 5.0

#: A part of a call that does not matter.
_LIGHT = 0.05


def alike(new: TaskProfile, old: TaskProfile) -> bool:
    """Whether such calls take about as long, waiting and computing. One alone may have imported and
    connected besides.
    """
    longest, shortest = max(new.wall, old.wall), min(new.wall, old.wall)
    first = new.calls == 1 and new.waits and new.cpu > old.cpu
    computing = first or near(new.cpu + new.helpers, old.cpu + old.helpers, new.wall)
    return new.waits == old.waits and longest <= SEVERAL * shortest and computing


def same_kind(new: TaskProfile, old: TaskProfile) -> bool:
    """Whether such calls may be some of the same that differ in length, and compute."""
    longest, shortest = max(new.wall, old.wall), min(new.wall, old.wall)
    return old.cpu > 0.0 and not (new.waits or old.waits) and longest <= _SKEW * shortest


def near(new: Seconds, old: Seconds, wall: Seconds) -> bool:
    """Whether two CPU times are within a factor, or both too small a part of a call to matter."""
    least = _LIGHT * wall
    return max(new, old, least) <= SEVERAL * max(min(new, old), least)


def have_come_to_wait(sample: Sample, old: TaskProfile, turns: int) -> bool:
    """Whether calls wait that computed, and for long, of which so many may take turns with the GIL:
    that makes each take as many times as long.
    """
    if old.waits or not sample.calls:
        return False
    wall, cpu = sample.service / sample.calls, (sample.cpu + sample.helpers) / sample.calls
    return wall > turns * max(_MOSTLY * max(cpu, old.helpers), SEVERAL * old.wall)
