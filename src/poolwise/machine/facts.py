"""What can be read about this machine without measuring."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass

from _poolwise_worker import surroundings
from poolwise.units import Bytes


@dataclass(frozen=True, slots=True)
class Facts:
    """The machine as this process may use it.

    `usable_cpus` is a fraction where a cgroup quota says so (500m is 0.5), and in a worker, which
    shares the CPUs with others; `cpu_limit` says what set it: ``"affinity"``, ``"cgroup quota"`` or
    ``"other workers"``. `free_memory` is ``None`` where it is not known.
    """

    python: str
    gil: bool
    usable_cpus: float
    cpu_limit: str
    free_memory: Bytes | None

    @property
    def whole_cpus(self) -> int:
        """Usable CPUs, rounded up: so many workers can have work for a CPU each."""
        return max(1, math.ceil(self.usable_cpus))


def read_facts(root: str | os.PathLike[str] = "/") -> Facts:
    """Read the facts; `root` is where ``proc`` and ``sys`` lie (tests give their own)."""
    root = os.fspath(root)
    affinity = float(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = _cpu_quota(root)
    limit = "cgroup quota" if quota < affinity else "affinity"
    share = min(affinity, quota) / surroundings.siblings
    if surroundings.siblings > 1 and share > 1.0:
        share = float(math.floor(share))  # the others may do the same
    return Facts(
        python=_python(),
        gil=getattr(sys, "_is_gil_enabled", lambda: True)(),
        usable_cpus=share,
        cpu_limit="other workers" if surroundings.siblings > 1 else limit,
        free_memory=_free_memory(root),
    )


def _python() -> str:
    # Not from `platform`, whose import takes as long as all the rest.
    name = {"cpython": "CPython", "pypy": "PyPy"}.get(sys.implementation.name)
    return f"{name or sys.implementation.name} {sys.version.split()[0]}"


def _read(*parts: str) -> str:
    with open(os.path.join(*parts), encoding="utf-8") as file:
        return file.read()


def _cgroup_folders(root: str, controller: str) -> list[str]:
    """Return the folders whose limits bind this process, the innermost first.

    A limit of any ancestor binds too. Inside a container the path in ``/proc/self/cgroup`` may
    lie outside of what is mounted; then only the mount's own root is left.
    """
    try:
        lines = _read(root, "proc/self/cgroup").splitlines()
    except (OSError, ValueError):
        return []
    folders: list[str] = []
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
            folders.append(os.path.join(mount, folder))
            folder = os.path.dirname(folder)
        folders.append(mount)
    return folders


def _cpu_quota(root: str) -> float:
    quotas = []
    for folder in _cgroup_folders(root, "cpu"):
        try:
            if os.path.exists(os.path.join(folder, "cpu.max")):  # cgroup v2: "quota period"
                quota, period = _read(folder, "cpu.max").split()
            else:  # cgroup v1: a quota of -1 means none
                quota = _read(folder, "cpu.cfs_quota_us")
                period = _read(folder, "cpu.cfs_period_us")
            if quota != "max" and int(quota) > 0:
                quotas.append(int(quota) / int(period))
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return min(quotas, default=math.inf)


def _free_memory(root: str) -> Bytes | None:
    free: list[int] = []
    try:
        for line in _read(root, "proc/meminfo").splitlines():
            if line.startswith("MemAvailable:"):
                free.append(int(line.split()[1]) * 1024)
    except (OSError, ValueError, IndexError):
        pass
    for folder in _cgroup_folders(root, "memory"):
        for limit, usage in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            try:
                free.append(max(0, int(_read(folder, limit)) - int(_read(folder, usage))))
            except (OSError, ValueError):
                continue
    return min(free, default=None)
