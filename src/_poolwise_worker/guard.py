"""Limits of the one call that a worker runs at a time: how long it may take, how much memory.

Its parent keeps them, for it does nothing else: it is awake while the caller is busy with results,
and needs nothing of the worker, which may be in C code with the GIL or stopped. The worker leaves
what has to be known in the page of its start marks.
"""

from __future__ import annotations

import mmap
from time import monotonic_ns

from _poolwise_worker.front_door import OVERGROWN, OVERTIME

#: In the page of start marks: when the call began, by the system's monotonic clock in nanoseconds,
#: 0 if none runs; private bytes when the first call began. Written by the worker, which has one
#: thread and so one mark.
BEGAN, BASE = 1, 2

#: Memory is looked at so often, in seconds: no event tells of it. A look takes some 20 µs.
_LOOK_EVERY = 0.02


def private_bytes(pid: int | str = "self") -> int:
    """Return how much memory is a process's own; 0 if the system does not tell.

    Shared memory is not: what all workers read must not kill one.
    """
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, shared, *_ = file.read().split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * mmap.PAGESIZE


class Guard:
    """Watches one worker. Belongs to its server, which sets `pid` as soon as there is one.

    Raises:
        OSError: no descriptor or no memory for the page of start marks.
    """

    def __init__(self, marks: int, seconds: float, most: int) -> None:
        self.pid = 0
        self._page = memoryview(mmap.mmap(marks, 0)).cast("Q")
        self._nanoseconds = int(seconds * 1e9)
        self._most = most
        self._stopped = 0  # since when, if somebody has stopped the process

    def note_stopped(self, stopped: bool) -> None:
        """Take note that the worker has been stopped, or goes on."""
        self._stopped = monotonic_ns() if stopped else 0

    @property
    def patience(self) -> float:
        """When to look again, in seconds."""
        return min(_LOOK_EVERY if self._most else 1e6, self._time_left() / 1e9)

    def _time_left(self) -> int:
        """Return how long it may go on, in nanoseconds: a call that begins now has all of it."""
        if not self._nanoseconds:
            return 1 << 62
        began = self._page[BEGAN] or self._stopped
        return self._nanoseconds - (monotonic_ns() - began if began else 0)

    def verdict(self) -> int:
        """Return why the worker has to end, 0 if it may go on."""
        if self._time_left() <= 0:
            return OVERTIME
        base = self._page[BASE]
        if self._most and base and private_bytes(self.pid) - base > self._most:
            return OVERGROWN
        return 0


class Clock:
    """Tells the guard, from inside the worker, when a call begins and ends."""

    def __init__(self, page: memoryview) -> None:
        self._page = page

    def start(self) -> None:
        """A call begins; its arguments are still to be read."""
        if not self._page[BASE]:  # what is there before the first is no growth
            self._page[BASE] = private_bytes()
        self._page[BEGAN] = monotonic_ns()

    def stop(self) -> None:
        """Its outcome is ready to be sent; from here on it may be the caller that takes long."""
        self._page[BEGAN] = 0
