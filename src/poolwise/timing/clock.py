"""The clocks that poolwise reads, behind one protocol, so that planning is tested without time."""

from __future__ import annotations

import os
import time
from typing import Protocol

from poolwise.units import Seconds


class Clock(Protocol):
    """Four readings in seconds; each has an arbitrary origin, so only differences mean anything."""

    def now(self) -> Seconds:
        """Wall time, monotonic."""
        ...

    def thread_cpu(self) -> Seconds:
        """CPU time of the calling thread."""
        ...

    def process_cpu(self) -> Seconds:
        """CPU time of all threads of this process."""
        ...

    def children_cpu(self) -> Seconds:
        """CPU time of the child processes that have been waited for."""
        ...

    def queued(self) -> Seconds:
        """Time that the calling thread was ready to run but had no CPU; 0 where not known."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> Seconds:
        """Read `time.perf_counter`."""
        return time.perf_counter()

    def thread_cpu(self) -> Seconds:
        """Read `time.thread_time`."""
        return time.thread_time()

    def process_cpu(self) -> Seconds:
        """Read `time.process_time`."""
        return time.process_time()

    def children_cpu(self) -> Seconds:
        """Read `os.times`: user and system time of children."""
        times = os.times()
        return times.children_user + times.children_system

    def queued(self) -> Seconds:
        """Read ``/proc/thread-self/schedstat`` (Linux): about 20 µs."""
        try:
            with open("/proc/thread-self/schedstat", "rb") as file:
                return int(file.read().split()[1]) * 1e-9
        except (OSError, ValueError, IndexError):
            return 0.0
