"""What is under way, and what of it is late: a call that lasts far longer than others do must not
hold up those that were sent with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from poolwise.executor.lane import Lane
from poolwise.task import Batch, BatchId, Exit
from poolwise.timing.clock import Clock
from poolwise.units import Seconds

#: Near the end, a batch that is this late, in seconds, is asked to give back what has not
#: started. A recall costs some 50 µs; a few milliseconds are what a straggler may cost.
_LATE: Seconds = 5e-3

#: A batch is late when it has taken so many times as long as its calls take on average, and sending
#: them, for each of the batches that it may have waited for (`Lane.depth`).
_TIMES_LATE = 2.0


@dataclass(slots=True)
class Flight:
    """A batch that was sent: its place in the output, and the calls that have no end yet."""

    lane: Lane
    first: int
    batch: Batch
    open_calls: int
    sent_at: Seconds
    recalled: bool = False
    suspect: Exit | None = None  # it is one call, whose last worker ended like this
    cancelled: bool = False  # it is one call, whose worker is being killed

    @property
    def due(self) -> Seconds:
        """When it is so late that its unstarted calls are wanted back, as far as is known now."""
        mean = self.lane.mean_service
        if mean is None:
            return math.inf
        each = self.batch.calls * mean + self.lane.pool.sending
        return self.sent_at + _LATE + _TIMES_LATE * self.lane.depth * each

    def recall(self) -> None:
        """Ask for its calls that have not started, once."""
        if not self.recalled:
            self.recalled = True
            self.lane.recalled += 1
            self.lane.pool.take_back(self.batch.id)


class Flights(dict[BatchId, Flight]):
    """All that is under way, in the order in which it was sent. Used by the owner only.

    `lanes` are those of the dispatch, as they come and go.
    """

    def __init__(self, lanes: list[Lane], clock: Clock) -> None:
        super().__init__()
        self._lanes = lanes
        self._clock = clock

    def take_back(self, lane: Lane) -> None:
        """Recall what has not started in `lane`."""
        for flight in list(self.values()):
            if flight.lane is lane:
                flight.recall()

    def take_back_late(self) -> None:
        """Recall batches that are late: one of their calls lasts long, and the rest must not wait
        for it.
        """
        now = self._clock.now()
        for flight in list(self.values()):
            if not flight.recalled:
                if self._due(flight) > now:
                    return
                flight.recall()

    def take_back_for_idle(self) -> None:
        """With nothing left to send and someone idle, recall what the busy have not started."""
        late, now = self._straggling(), self._clock.now()
        for flight in list(self.values()) if late else ():
            if flight.lane in late and now - flight.sent_at > _LATE:
                flight.recall()

    def patience(self, timeout: Seconds | None, *, nothing_left: bool) -> Seconds | None:
        """Return how long to wait at most before it is looked again for what is late."""
        if nothing_left and self and (timeout is None or timeout > _LATE):
            timeout = _LATE if self._straggling() else timeout
        waiting = (self._due(flight) for flight in self.values() if not flight.recalled)
        due = next(waiting, math.inf)
        if due < math.inf:
            until_due = max(0.0, due - self._clock.now())
            timeout = until_due if timeout is None else min(timeout, until_due)
        return timeout

    def _due(self, flight: Flight) -> Seconds:
        """When to recall a flight: never where all calls go to one worker. It would run what lies
        behind them first, and an executor with one worker, while that lives, begins calls as they
        were submitted.
        """
        alone = len(self._lanes) == 1 and flight.lane.width == 1
        return math.inf if alone else flight.due

    def _straggling(self) -> list[Lane]:
        """The lanes that have something under way that someone idle could run."""
        return [lane for lane in self._lanes if lane.in_flight and self._idle_beside(lane)]

    def _idle_beside(self, lane: Lane) -> bool:
        """Whether someone is idle who may run what lies in `lane`: of the same mechanism, for what
        an executor has sent to processes does not belong into its threads.
        """
        mechanism = lane.plan.mechanism
        return any(
            each.active and each.in_flight < each.width and each.plan.mechanism == mechanism
            for each in self._lanes
        )
