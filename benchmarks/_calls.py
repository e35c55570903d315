"""The functions that workers of every library run; a module of its own, which all can import."""

from __future__ import annotations

import os
import socket
from time import perf_counter


def same(value: object) -> object:
    """Return what it is given: what a call costs is then what is around it."""
    return value


def spin(seconds: float) -> None:
    """Keep a CPU busy for so long on the clock."""
    until = perf_counter() + seconds
    while perf_counter() < until:
        pass


def settle(cpu: int) -> int:
    """Move every thread of this process to one CPU; return the process."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), {cpu})
    return os.getpid()


def meet(address: str) -> int:
    """Say that this call has begun, and wait until everybody has; return the process.

    So no worker can run two of these, and none is left out.
    """
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(address)
        line.recv(1)
    return os.getpid()
