"""The clocks that poolwise reads, behind one protocol, so that planning is tested without time."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Protocol

from poolwise.units import Seconds


class Clock(Protocol):
    """Readings in seconds; each has an arbitrary origin, so only differences mean anything."""

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

    def process_queued(self) -> Seconds:
        """The same, summed over all threads of this process."""
        ...

    def idle_cpus(self) -> int:
        """CPUs that nobody uses now but the calling thread; 0 where not known."""
        ...


class SystemClock:
    """The clocks of this machine."""

    # Not wrapped: a dispatch reads the time several times for each batch.
    now = staticmethod(time.perf_counter)
    thread_cpu = staticmethod(time.thread_time)
    process_cpu = staticmethod(time.process_time)

    def children_cpu(self) -> Seconds:
        """Read `os.times`: user and system time of children."""
        times = os.times()
        return times.children_user + times.children_system

    def queued(self) -> Seconds:
        """Read ``/proc/thread-self/schedstat`` (Linux): about 20 µs."""
        try:
            return _queued("/proc/thread-self")
        except (OSError, ValueError, IndexError):
            return 0.0

    def process_queued(self) -> Seconds:
        """Read the same for each thread in ``/proc/self/task`` (Linux)."""
        queued = 0.0
        with contextlib.suppress(OSError, ValueError, IndexError):
            for thread in os.listdir("/proc/self/task"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                    queued += _queued(f"/proc/self/task/{thread}")
        return queued

    def idle_cpus(self) -> int:
        """Take from all CPUs those who run or want to, the fourth figure in ``/proc/loadavg``
        (Linux). Not known where this process may use some CPUs only: others may fill just these.
        """
        cpus = os.cpu_count() or 0
        try:
            runnable = int(_read("/proc/loadavg").split()[3].partition(b"/")[0])
            mine = len(os.sched_getaffinity(0))
        except (OSError, ValueError, IndexError, AttributeError):
            return 0
        return max(0, cpus - (runnable - 1)) if mine == cpus else 0


def _queued(folder: str) -> Seconds:
    return int(_read(f"{folder}/schedstat").split()[1]) * 1e-9


def _read(path: str) -> bytes:
    # Not `open`, which asks the system three times as often.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, 100)
    finally:
        os.close(file)
