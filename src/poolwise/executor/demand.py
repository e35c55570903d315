"""Measuring what the threads of this process use and want while the owner waits."""

from __future__ import annotations

import math
import threading

from poolwise.probe.contention import Demand
from poolwise.timing.clock import Clock
from poolwise.timing.turns import QuickTurns
from poolwise.units import Seconds

#: Who is away for less is not taken to have left: reading all that the threads have waited for is
#: a dozen system calls, each of which gives the GIL away. Beside calls that hold it, that is how
#: long the owner needs to send the next ones.
_NOT_AWAY: Seconds = 2e-3

#: What a page fault takes with the page that is filled with zeros, in CPU time: 1.6 to 2.2 µs, by
#: what calls took in workers that kept their memory and in others (``bench_data.py --only made``).
_PAGE_FAULT: Seconds = 1.7e-6

#: So much computing tells how many there are. A part of it that matters, and all that is believed.
_TELLS: Seconds = 2e-3
_WORTH, _MOST = 0.05, 0.7


class DemandMeter:
    """What the threads of this process use and want, over the times spent inside ``with``.

    A *stay* begins with a full reading, and goes on over times outside that are short. What threads
    queue for after it is counted until the next one begins.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._staying = False
        self._began: tuple[Seconds, Seconds, Seconds] = (0.0, 0.0, 0.0)
        self._left: tuple[Seconds, Seconds] = (0.0, 0.0)
        self._elapsed = self._used = self._queued = 0.0  # of the stays before

    def __enter__(self) -> None:
        if not self._staying or self._clock.now() - self._left[0] > _NOT_AWAY:
            self._end_stay()
            queued, used = self._queued_by_now(), self._clock.process_cpu()
            self._began = self._clock.now(), used, queued
            self._left = self._began[:2]
            self._staying = True

    def __exit__(self, *raised: object) -> None:
        self._left = self._clock.now(), self._clock.process_cpu()

    @property
    def elapsed(self) -> Seconds:
        """How long all that was inside has taken."""
        return self._elapsed + self._left[0] - self._began[0]

    @property
    def used(self) -> Seconds:
        """CPU time that was used inside so far. To ask this costs next to nothing."""
        return self._used + (self._left[1] - self._began[1] if self._staying else 0.0)

    @property
    def demand(self) -> Demand:
        """The demand so far."""
        self._end_stay()
        elapsed = max(self._elapsed, 1e-9)
        used = self._used / elapsed
        return Demand(used, used + self._queued / elapsed)

    def _end_stay(self) -> None:
        if self._staying:
            now, used, queued = self._began
            self._elapsed += self._left[0] - now
            self._used += self._left[1] - used
            self._queued += self._queued_by_now() - queued
        self._staying, self._began = False, (*self._left, 0.0)

    def _queued_by_now(self) -> Seconds:
        with QuickTurns():
            return self._clock.process_queued()


def cpu_of_others(clock: Clock) -> Seconds:
    """Return the CPU time of all threads but this one, and of child processes that have ended."""
    return clock.process_cpu() - clock.thread_cpu() + clock.children_cpu()


class Lookout:
    """What all other threads use and want from one look to the next, whoever was at work meanwhile.

    A look takes some 20 µs for each thread.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._before = self._read()

    def look(self) -> Demand:
        """Return the demand since the last look. What they want is infinite where it is not known
        for what they queue.
        """
        now, before = self._read(), self._before
        self._before = now
        elapsed = max(now[0] - before[0], 1e-9)
        used, queued = (max(0.0, now[i] - before[i]) / elapsed for i in (1, 2))
        return Demand(used, used + queued if now[2] else math.inf)

    def _read(self) -> tuple[Seconds, Seconds, Seconds]:
        clock = self._clock
        with QuickTurns():
            queued = clock.process_queued() - clock.queued()
        return clock.now(), cpu_of_others(clock), queued


class ForeignMeter:
    """What threads of libraries compute from when it was made on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._threads = set(threading.enumerate())
        self._before = clock.foreign_cpu()

    @property
    def used(self) -> Seconds:
        """CPU time; 0 if a thread of Python's has ended: that counts what it had used, too."""
        used = self._clock.foreign_cpu() - self._before
        return max(0.0, used) if self._threads <= set(threading.enumerate()) else 0.0


class PagingMeter:
    """What part of the computing goes to page faults, from when it was made on.

    Calls that make arrays and let them go have memory filled with zeros for them, again and again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._faults, self._cpu = clock.page_faults(), clock.process_cpu()

    @property
    def share(self) -> float | None:
        """The part so far, 0 if it is not worth a word; ``None`` if too little was computed."""
        faults, cpu = (
            self._clock.page_faults() - self._faults,
            self._clock.process_cpu() - self._cpu,
        )
        if cpu < _TELLS:
            return None
        share = min(_MOST, faults * _PAGE_FAULT / cpu)
        return share if share > _WORTH else 0.0
