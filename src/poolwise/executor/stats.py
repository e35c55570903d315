"""What an operator wants to know of an executor that goes on for months."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from poolwise.plan import Plan
from poolwise.task import Outcomes
from poolwise.units import Seconds

#: Times are counted in classes, so many for each doubling: a percentile is right within 9 %.
_FINENESS = 8


@dataclass(frozen=True, slots=True)
class ExecutorStats:
    """An executor at one moment; counts are of its whole life.

    Attributes:
        queued: Calls that wait for their turn.
        running: Calls that have been sent to a worker and have no end yet.
        done: Calls that returned.
        failed: Calls that raised, were lost with their worker, or exceeded a limit.
        cancelled: Calls that were cancelled.
        killed: Workers that were ended on purpose, for a limit or a cancelled call.
        retried: Starts of calls beyond their first.
        workers: Threads and processes that are ready.
        restarts: Workers that took the place of one that had died or was killed. Where this grows
            fast, calls kill their workers again and again.
        wait_p50: Seconds that half of the calls waited at most; a sample of the calls.
        wait_p99: The same for 99 of 100 calls.
        service_p50: Seconds that half of the calls took at most. Of calls that travelled together,
            their mean counts.
        service_p99: The same for 99 of 100 calls.
        plan: The plan in force, ``None`` before the first call.
    """

    queued: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    killed: int = 0
    retried: int = 0
    workers: int = 0
    restarts: int = 0
    wait_p50: Seconds = 0.0
    wait_p99: Seconds = 0.0
    service_p50: Seconds = 0.0
    service_p99: Seconds = 0.0
    plan: Plan | None = None


class Times:
    """How many times of which length; of one size, however many there are."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, seconds: Seconds, count: int = 1) -> None:
        """Count."""
        place = math.ceil(_FINENESS * math.log2(max(seconds, 1e-9)))
        self._counts[place] = self._counts.get(place, 0) + count

    def copy(self) -> dict[int, int]:
        """Return the counts by class, as they are now."""
        return self._counts.copy()


def percentiles(times: Iterable[Times]) -> tuple[Seconds, Seconds]:
    """Return what half of the times, and 99 of 100, do not exceed; 0 if there are none.

    >>> some = Times()
    >>> some.add(1.0, 98)
    >>> some.add(64.0, 2)
    >>> percentiles([some])
    (1.0, 64.0)
    """
    counts: dict[int, int] = {}
    for each in times:
        for place, count in each.copy().items():
            counts[place] = counts.get(place, 0) + count
    return _percentile(counts, 0.5), _percentile(counts, 0.99)


def _percentile(counts: dict[int, int], share: float) -> Seconds:
    left = share * sum(counts.values())
    for place in sorted(counts):
        left -= counts[place]
        if left <= 0:
            return float(2.0 ** (place / _FINENESS))
    return 0.0


class Tally:
    """What one thread has counted. It alone writes here; others read whole numbers."""

    __slots__ = ("cancelled", "done", "failed", "retried", "running", "service", "waits")

    def __init__(self) -> None:
        self.done = self.failed = self.cancelled = self.retried = 0
        self.running: object = None  # what the thread runs
        self.waits = Times()
        self.service = Times()

    def count_service(self, outcomes: Outcomes) -> None:
        """Count how long calls took that ended together; not those that did not run."""
        if outcomes.service:
            calls = len(outcomes.values)
            self.service.add(outcomes.service / calls, calls)


class Tallies:
    """Those of all threads. Each takes its own, and adds to it without a lock."""

    def __init__(self) -> None:
        #: Single operations on it are atomic. The number of a thread that has ended may be
        #: another's now, which goes on counting there.
        self.by_thread: dict[int, Tally] = {}

    def mine(self) -> Tally:
        """Return the tally of this thread."""
        here = threading.get_ident()
        return self.by_thread.get(here) or self.by_thread.setdefault(here, Tally())

    def all(self) -> list[Tally]:
        """Return them."""
        return list(self.by_thread.values())
