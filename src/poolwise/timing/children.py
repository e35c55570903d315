"""Programs that calls have started. Who waits for one uses no CPU, and keeps one busy (Linux)."""

from __future__ import annotations

import os
from contextlib import suppress

from poolwise.timing.clock import Clock, cpu_of
from poolwise.units import Seconds

#: Processes that this package has started, and not waited for: they are no programs of a call's.
#: Whoever starts one, or has waited for it, says so here; a set's methods are atomic.
ours: set[int] = set()


def programs() -> frozenset[int]:
    """Return the ids of all child processes that have not been waited for, but for `ours`; none
    where not known.
    """
    return frozenset(_children_of("self")) - ours


def cpu_of_programs(clock: Clock, but: frozenset[int]) -> Seconds:
    """Return what all programs have used so far that have run here, and what these have started;
    without those that are there and named here.

    It only grows: one that has been waited for counts as such. What a shell has waited for counts
    when the shell itself has been.
    """
    used, families = clock.children_cpu(), list(programs() - but)  # in this order: nothing twice
    seen: set[int] = set()
    while families:
        process = families.pop()
        if process not in seen:
            seen.add(process)
            with suppress(OSError):  # it is gone
                used += cpu_of(process)
                families += _children_of(str(process))
    return used


def _children_of(process: str) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):
            # Each thread has its own; one that ends leaves its own to another.
            with suppress(OSError), open(f"/proc/{process}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    return found
