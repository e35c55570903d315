"""A clock that moves only when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from poolwise.units import Seconds


class FakeClock:
    """Reading it takes `reading` seconds of wall and CPU time, as reading a real one does."""

    def __init__(self, reading: Seconds = 0.0) -> None:
        self.reading = reading
        self.readings = 0
        self._wall = self._thread = self._process = self._children = self._queued = 0.0

    def spend(
        self,
        wait: Seconds = 0.0,
        cpu: Seconds = 0.0,
        *,
        others: Seconds = 0.0,
        children: Seconds = 0.0,
        queued: Seconds = 0.0,
    ) -> None:
        """Let a call wait, compute, and be kept from a CPU; `others` and `children` compute too."""
        self._wall += wait + cpu + queued
        self._thread += cpu
        self._process += cpu + others
        self._children += children
        self._queued += queued

    def now(self) -> Seconds:
        return self._read() + self._wall

    def thread_cpu(self) -> Seconds:
        return self._read() + self._thread

    def process_cpu(self) -> Seconds:
        return self._read() + self._process

    def idle_cpu(self) -> Seconds:
        return 0.0

    def children_cpu(self) -> Seconds:
        return self._read() + self._children

    def foreign_cpu(self) -> Seconds:
        return 0.0

    def queued(self) -> Seconds:
        return self._read() + self._queued

    @contextmanager
    def watch_queue(self) -> Iterator[Callable[[], float]]:
        yield self.queued

    def others_running(self) -> int:
        return 0

    def process_queued(self) -> Seconds:
        return self.queued()

    def _read(self) -> Seconds:
        self.readings += 1
        self.spend(cpu=self.reading)
        return 0.0
