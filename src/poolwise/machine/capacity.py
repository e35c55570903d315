"""How many workers this system could start at most, and what bounds that.

Bounds, not promises: below them a worker may still not be had, and then what runs goes on with
fewer. Above them, thousands would be started only to find that out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from poolwise.timing import cgroups
from poolwise.units import Bytes, size

#: What a worker process holds open in this one: its sockets and side door, life pipe, marks and
#: arenas.
_FILES_EACH = 6

#: Memory of its own that a worker process has at least; a fork of a small program, the least of
#: all, has 2.3 MiB.
_MEMORY_EACH: Bytes = 2 << 20


def most_threads(root: str = "/") -> tuple[int, str] | None:
    """Return how many threads can be there at once, and why no more; ``None`` if nothing says."""
    return min(_tasks(root), default=None)


def most_processes(memory: Bytes | None, root: str = "/") -> tuple[int, str] | None:
    """Return how many worker processes can be there at once where there is so much `memory`, used
    or not, and why no more; ``None`` if nothing says.
    """
    return min((*_tasks(root), *_files(), *_memory(memory)), default=None)


def _tasks(root: str) -> Iterator[tuple[int, str]]:
    """Yield what bounds processes and threads alike: to Linux both are tasks."""
    for name in ("pid_max", "threads-max"):
        path = os.path.join(root, "proc/sys/kernel", name)
        if (most := _number(path)) is not None:
            yield most, f"the whole system may have {most:,} processes and threads ({name})"
    for folder in cgroups.folders(root, "pids"):
        if (most := _number(os.path.join(folder, "pids.max"))) is not None:
            yield most, f"this container may have {most:,} processes and threads (pids.max)"
    if os.geteuid() and (most := _limit("RLIMIT_NPROC")) is not None:  # it does not bind root
        yield most, f"this user may have {most:,} processes and threads (`ulimit -u`)"


def _files() -> Iterator[tuple[int, str]]:
    if (most := _limit("RLIMIT_NOFILE")) is not None:
        why = f"a process may open {most:,} files (`ulimit -n`), and each worker takes"
        yield most // _FILES_EACH, f"{why} {_FILES_EACH}"


def _memory(memory: Bytes | None) -> Iterator[tuple[int, str]]:
    if memory is not None:
        why = f"there are {size(memory)} of memory, and each worker takes"
        yield memory // _MEMORY_EACH, f"{why} {size(_MEMORY_EACH)} at least"


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):  # not Linux, or "max"
        return None


def _limit(name: str) -> int | None:
    try:
        import resource
    except ImportError:
        return None
    most, _ = resource.getrlimit(getattr(resource, name))
    return None if most == resource.RLIM_INFINITY else most
