"""Looking now and then whether calls are still what they were, while a plan runs."""

from __future__ import annotations

from dataclasses import replace

from poolwise.executor.demand import Lookout
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.lane import Lane, LaneReading
from poolwise.executor.trust import Trust
from poolwise.probe import Sample
from poolwise.units import Seconds

#: Between two looks, at least.
LOOK_AFTER: Seconds = 0.1

#: Calls that tell whether they have changed: by a factor of three, on average.
_SOME = 8

#: The same for calls that wait where they computed, five times as long as other load could explain.
_FEW = 3

#: Calls that do not compute for so much of their time may wait, or queue for a CPU.
_SEEM_TO_WAIT = 0.2

#: A step of a plain loop takes some 4 ms. One that takes several times as long may be the first of
#: calls that have come to last: what ran before it is not like them.
_SLOW_STEP: Seconds = 15e-3

#: Where the user does something with results for more than this share of the time, or inputs come
#: slowly, threads may have had nothing to do.
_AWAY = 0.05


class Watch:
    """One lane at work, from one look to the next. Used by the owner only."""

    def __init__(self, dispatch: Dispatch, lane: Lane, trust: Trust) -> None:
        self._dispatch = dispatch
        self._lane = lane
        self._trust = trust
        self._lookout = Lookout(dispatch.clock) if trust.wonders(lane.plan) else None
        self._slow = False
        self.begin(lane.observe(dispatch.clock.now()))

    def begin(self, now: LaneReading) -> None:
        """Look at what comes from now on."""
        self._looked = self._before = now
        self._queued = self._lane.pool.queued
        self._idle = self._dispatch.clock.idle_cpu() if self._lookout is not None else 0.0
        self._away: Seconds = 0.0

    def leave(self) -> None:
        """Results go out, and the user does something with them."""
        self._left_at = self._dispatch.clock.now()

    def come_back(self) -> LaneReading:
        """The user wants more; return where the lane stands."""
        now = self._lane.observe(self._dispatch.clock.now())
        self._away += now.at - self._left_at
        return now

    def sees_change(self, now: LaneReading) -> bool:
        """Whether calls are no longer as they were; then what was learnt of them is forgotten."""
        slow = self._lane.inline and now.service - self._before.service > _SLOW_STEP
        self._before = now
        if slow is not self._slow:
            self._slow = slow
            self.begin(now)
        looked = self._looked
        ended = now.calls - looked.calls
        if now.at - looked.at < LOOK_AFTER or ended < _FEW:
            return False
        lane, sample = self._lane, looked.until(now, self._lane.width)
        unqueued = self._without_queueing(sample)
        if self._trust.wait_now(lane.plan, sample if unqueued is None else unqueued):
            return True
        if ended < _SOME or self._dispatch.nothing_left:  # who is done uses nothing
            return False
        if unqueued is not None and self._trust.wait_as_well(lane.plan, unqueued):
            return True
        if self._trust.drifted(lane.plan, sample) or self._settles(now, sample):
            return True
        self.begin(now)
        return False

    def _without_queueing(self, sample: Sample) -> Sample | None:
        """Take off for how long workers had no CPU: on a busy machine calls only seem to wait.
        ``None`` if that is not known, as when workers have come or gone. Not asked where calls do
        not even seem to wait.
        """
        if sample.service - sample.cpu < _SEEM_TO_WAIT * sample.service:
            return sample
        before, now = self._queued, self._lane.pool.queued
        if before is None or now is None or before.keys() != now.keys():
            return None
        queued = sum(now.values()) - sum(before.values())
        return replace(sample, service=max(sample.cpu, sample.service - queued))

    def _settles(self, now: LaneReading, sample: Sample) -> bool:
        """Whether threads at work have answered what was left open."""
        if self._lookout is None:
            return False
        demand = self._lookout.look()
        idle = self._dispatch.workload.pace or self._away >= _AWAY * (now.at - self._looked.at)
        if idle:
            return False
        unused = (self._dispatch.clock.idle_cpu() - self._idle) / (now.at - self._looked.at)
        return self._trust.settled(self._lane.plan, demand, sample, unused)
