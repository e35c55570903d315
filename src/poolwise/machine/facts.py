"""What can be read about this machine without measuring."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass

from _poolwise_worker import surroundings
from poolwise.timing import cgroups
from poolwise.units import Bytes


@dataclass(frozen=True, slots=True)
class Facts:
    """The machine as this process may use it.

    `usable_cpus` is a fraction where a cgroup quota says so (500m is 0.5), and in a worker, which
    shares the CPUs with others; `cpu_limit` says what set it: ``"affinity"``, ``"cgroup quota"`` or
    ``"other workers"``. `total_memory` is what limits allow of what is built in, `free_memory` what
    they leave; `shared_memory` is the size of ``/dev/shm``. These are ``None`` where not known.
    `start_methods` are those by which worker processes can start here.
    """

    python: str
    gil: bool
    usable_cpus: float
    cpu_limit: str
    free_memory: Bytes | None
    total_memory: Bytes | None = None
    shared_memory: Bytes | None = None
    start_methods: tuple[str, ...] = ()
    kernel: str = ""
    cpu: str = ""

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
    total, free = _memory(root)
    return Facts(
        python=_python(),
        gil=getattr(sys, "_is_gil_enabled", lambda: True)(),
        usable_cpus=share,
        cpu_limit="other workers" if surroundings.siblings > 1 else limit,
        free_memory=free,
        total_memory=total,
        shared_memory=_shared_memory(root),
        start_methods=("fork", "forkserver", "spawn") if hasattr(os, "fork") else (),
        kernel=_kernel(),
        cpu=_cpu(root),
    )


def _python() -> str:
    # Not from `platform`, whose import takes as long as all the rest.
    name = {"cpython": "CPython", "pypy": "PyPy"}.get(sys.implementation.name)
    return f"{name or sys.implementation.name} {sys.version.split()[0]}"


def _read(*parts: str) -> str:
    with open(os.path.join(*parts), "rb", buffering=0) as file:  # in a third of the time
        return file.read().decode()


def _cpu_quota(root: str) -> float:
    quotas = []
    for folder in cgroups.folders(root, "cpu"):
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


def _memory(root: str) -> tuple[Bytes | None, Bytes | None]:
    """Return the least that any limit allows in all, and the least that any leaves."""
    total: list[int] = []
    free: list[int] = []
    try:
        for line in _read(root, "proc/meminfo").splitlines():
            name, _, size = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                (total if name == "MemTotal" else free).append(int(size.split()[0]) * 1024)
    except (OSError, ValueError, IndexError):
        pass
    for folder in cgroups.folders(root, "memory"):
        for limit, usage in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            try:
                most = int(_read(folder, limit))
                free.append(max(0, most - int(_read(folder, usage))))
                total.append(most)
            except (OSError, ValueError):
                continue
    return min(total, default=None), min(free, default=None)


def _shared_memory(root: str) -> Bytes | None:
    try:
        folder = os.statvfs(os.path.join(root, "dev/shm"))
    except (OSError, AttributeError):
        return None
    return folder.f_blocks * folder.f_frsize


def _kernel() -> str:
    system = os.uname() if hasattr(os, "uname") else None
    return f"{system.sysname} {system.release}" if system else sys.platform


def _cpu(root: str) -> str:
    """Return the model of the first CPU, or else the architecture."""
    try:
        # Not all of the file, which the kernel writes anew for each of a hundred CPUs.
        with open(os.path.join(root, "proc/cpuinfo"), "rb", buffering=0) as file:
            first = file.read(4096).decode(errors="replace")
        for line in first.splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model", "cpu model", "uarch"):
                return value.strip()
    except OSError:
        pass
    return os.uname().machine if hasattr(os, "uname") else ""
