"""Tying a thread to one CPU, so that neither the scheduler nor a sleeping CPU is measured."""

from __future__ import annotations

import os
from contextlib import nullcontext

from poolwise.timing.repeat import Unmeasurable


class OnOneCpu:
    """Ties the calling thread to the first CPU that it may use; what it starts begins there too.

    Raises:
        Unmeasurable: threads cannot be tied to a CPU on this system.
    """

    def __enter__(self) -> None:
        if not hasattr(os, "sched_setaffinity"):
            raise Unmeasurable("threads cannot be tied to a CPU on this system")
        self._before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(self._before)})

    def __exit__(self, *_: object) -> None:
        os.sched_setaffinity(0, self._before)


def one_cpu() -> OnOneCpu | nullcontext[None]:
    """Return what ties the calling thread to one CPU where that can be, and does nothing else."""
    return OnOneCpu() if hasattr(os, "sched_setaffinity") else nullcontext()
