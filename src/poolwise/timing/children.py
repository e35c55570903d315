"""Child processes of this one."""

from __future__ import annotations

import os
from contextlib import suppress


def count_children() -> int:
    """Return how many child processes there are that have not been waited for; 0 where not known.

    Who waits for one uses no CPU, and keeps one busy (Linux).
    """
    count = 0
    with suppress(OSError):
        for thread in os.listdir("/proc/self/task"):
            # Each thread has its own; one that ends leaves its own to another.
            with suppress(OSError), open(f"/proc/self/task/{thread}/children", "rb") as file:
                count += len(file.read().split())
    return count
