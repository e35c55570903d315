"""Where the limits of this process are written, and whether it has run into that on CPU time."""

from __future__ import annotations

import functools
import os
from contextlib import suppress


def folders(root: str, controller: str) -> list[str]:
    """Return the folders whose limits bind this process, the innermost first.

    A limit of any ancestor binds too. Inside a container the path in ``/proc/self/cgroup`` may
    lie outside of what is mounted; then only the mount's own root is left.
    """
    try:
        with open(os.path.join(root, "proc/self/cgroup"), "rb", buffering=0) as file:
            lines = file.read().decode().splitlines()
    except (OSError, ValueError):
        return []
    found: list[str] = []
    for line in lines:
        match line.split(":", 2):
            case [_, "", path]:  # cgroup v2: one tree for all controllers
                mount = os.path.join(root, "sys/fs/cgroup")
            case [_, names, path] if controller in names.split(","):
                mount = os.path.join(root, "sys/fs/cgroup", controller)
            case _:
                continue
        folder = path.strip("/")
        while folder:
            found.append(os.path.join(mount, folder))
            folder = os.path.dirname(folder)
        found.append(mount)
    return found


def times_throttled(root: str = "/") -> int:
    """Return how often a quota on CPU time was used up, here or in a cgroup above; 0 if unknown."""
    times = 0
    for path in _statistics(root):
        with suppress(OSError, ValueError, IndexError), open(path, "rb") as file:
            times += sum(int(line.split()[1]) for line in file if line.startswith(b"nr_throttled "))
    return times


@functools.lru_cache(4)
def _statistics(root: str) -> list[str]:
    paths = {os.path.join(folder, "cpu.stat"): None for folder in folders(root, "cpu")}
    return [path for path in paths if os.path.exists(path)]
