"""Whether this process can be forked without danger.

A fork copies the memory of all threads but only the one thread that forks: a lock that another
held at that moment is never released in the child. So nothing is safe but a process in which no
other thread is, or could be, in the middle of something.

OpenBLAS ends its threads before a fork and starts them again when they are needed, in parent and
child. GNU OpenMP and CUDA do not; an unknown thread means no. How many of the threads are those of
OpenBLAS can be guessed before a fork; only after it one knows, because then these are gone.
"""

from __future__ import annotations

import os
import sys

#: Beyond this resident size, in bytes, copying the page tables takes longer than starting a server
#: anew: a fork of 2 GB took 21 ms here, a new server takes some 20 to 40.
_LARGE = 2 << 30

#: The bit of a thread's flags in ``/proc`` that says that it is on its way out, inside the kernel:
#: it holds no lock. See ``PF_EXITING`` in Linux' ``include/linux/sched.h``.
_EXITING = 4


def is_quiescent() -> bool:
    """Whether this thread is the only one, as it seems; `is_alone` tells for certain afterwards."""
    threads = _threads()
    return threads == 1 or (threads > 1 and threads == 1 + _blas_threads())


def is_alone() -> bool:
    """Whether there is no other thread, right after a fork: then there was none that it harmed."""
    return _threads() == 1


def is_large() -> bool:
    """Whether this process is so large that forking it is slow."""
    try:
        with open("/proc/self/statm", "rb") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return True
    return resident > _LARGE


def _threads() -> int:
    """Return how many threads this process has; 0 if the system does not tell."""
    try:
        threads = os.listdir("/proc/self/task")
    except OSError:
        return 0
    return 1 if len(threads) == 1 else sum(not _is_exiting(thread) for thread in threads)


def _is_exiting(thread: str) -> bool:
    try:
        with open(f"/proc/self/task/{thread}/stat", "rb") as file:
            flags = int(file.read().rpartition(b")")[2].split()[6])
    except OSError:  # it is gone
        return True
    return bool(flags & _EXITING)


def _blas_threads() -> int:
    """Return how many idle threads OpenBLAS has here, if they are there; 0 if it is not used."""
    if "numpy" not in sys.modules or len(sys._current_frames()) > 1:
        return 0
    from threadpoolctl import threadpool_info

    return sum(
        library["num_threads"] - 1
        for library in threadpool_info()
        if library["internal_api"] == "openblas" and library["threading_layer"] == "pthreads"
    )
