"""Measuring what the threads of this process use and want while the owner waits."""

from __future__ import annotations

from poolwise.probe.contention import Demand
from poolwise.timing.clock import Clock
from poolwise.timing.turns import QuickTurns
from poolwise.units import Seconds


class DemandMeter:
    """What the threads of this process use and want, over the times spent inside ``with``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turns = QuickTurns()  # reading is a dozen system calls
        self._at: tuple[Seconds, Seconds, Seconds] = (0.0, 0.0, 0.0)
        self.elapsed = self._used = self._queued = 0.0

    def __enter__(self) -> None:
        self._turns.__enter__()
        try:
            self._at = self._clock.now(), self._clock.process_cpu(), self._clock.process_queued()
        except BaseException as error:  # Ctrl-C: nobody would leave what was not entered
            self._turns.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(self, *raised: object) -> None:
        now, used, queued = self._at
        try:
            self.elapsed += self._clock.now() - now
            self._used += self._clock.process_cpu() - used
            self._queued += self._clock.process_queued() - queued
        finally:
            self._turns.__exit__(None, None, None)

    @property
    def demand(self) -> Demand:
        """The demand so far."""
        elapsed = max(self.elapsed, 1e-9)
        return Demand(self._used / elapsed, (self._used + self._queued) / elapsed)
