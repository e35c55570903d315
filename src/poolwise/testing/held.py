"""What a process holds, so that what is left over can be told."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Held(NamedTuple):
    """What this process holds: processes below it, threads, descriptors, shared memory."""

    processes: set[int]
    threads: set[threading.Thread]
    descriptors: set[tuple[int, str]]
    shared: set[str]

    @classmethod
    def now(cls) -> Held:
        """Look; where the system has no ``/proc``, only threads are seen."""
        descriptors = set()
        for entry in Path("/proc/self/fd").glob("*"):
            with suppress(OSError):  # the one that lists the folder
                descriptors.add((int(entry.name), os.readlink(entry)))
        maps = Path("/proc/self/maps")
        lines = maps.read_text().splitlines() if maps.exists() else []
        shared = {line for line in lines if line.split()[1].endswith("s")}
        return cls(_descendants(os.getpid()), set(threading.enumerate()), descriptors, shared)

    def beyond(self, before: Held) -> list[object]:
        """Return what is held now and was not before."""
        return [
            *(self.processes - before.processes),
            *(self.threads - before.threads),
            *(self.descriptors - before.descriptors),
            *(self.shared - before.shared),
        ]


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended meanwhile
            found.update(map(int, listing.read_text().split()))
    return found.union(*map(_descendants, found))
