"""Child processes of this one. Who waits for one uses no CPU, and keeps one busy (Linux)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress

from poolwise.timing.clock import cpu_of
from poolwise.units import Seconds


def children() -> frozenset[int]:
    """Return the ids of all child processes that have not been waited for; none where not known."""
    return frozenset(_children_of("self"))


def cpu_of_families(parents: Iterable[int]) -> dict[int, Seconds]:
    """Return the CPU time of these processes, and of those that they have started, by id.

    Those that have ended are left out once they were waited for.
    """
    used: dict[int, Seconds] = {}
    some = list(parents)
    while some:
        process = some.pop()
        if process not in used:
            with suppress(OSError):  # it is gone
                used[process] = cpu_of(process)
                some += _children_of(str(process))
    return used


def used_between(before: Mapping[int, Seconds], after: Mapping[int, Seconds]) -> Seconds:
    """Return the CPU time that families have used between two looks: all of those that have come,
    nothing of those that are gone.
    """
    return sum(max(0.0, used - before.get(process, 0.0)) for process, used in after.items())


def _children_of(process: str) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):
            # Each thread has its own; one that ends leaves its own to another.
            with suppress(OSError), open(f"/proc/{process}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    return found
