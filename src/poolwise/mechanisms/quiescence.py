"""Whether this process can be forked without danger.

A fork copies the memory of all threads but only the one thread that forks: a lock that another
held at that moment is never released in the child. So nothing is safe but a process in which no
other thread is, or could be, in the middle of something.
"""

from __future__ import annotations

import os
import sys

#: Beyond this resident size, in bytes, copying the page tables takes longer than starting a server
#: anew: a fork of 2 GB took 21 ms here, a new server takes some 20 to 40.
_LARGE = 2 << 30


def is_quiescent() -> bool:
    """Whether this thread is the only one, idle ones of a library that survives forks apart.

    OpenBLAS ends its threads before a fork and starts them again when they are needed, in parent
    and child. GNU OpenMP and CUDA do not; an unknown thread means no.
    """
    try:
        threads = len(os.listdir("/proc/self/task"))
    except OSError:  # this system does not tell
        return False
    return threads == 1 or threads == 1 + _blas_threads()


def is_large() -> bool:
    """Whether this process is so large that forking it is slow."""
    try:
        with open("/proc/self/statm", "rb") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return True
    return resident > _LARGE


def _blas_threads() -> int:
    """Return how many idle threads OpenBLAS has here; 0 if they cannot be told from others."""
    # In a fork it has none until it is used: an unknown thread might stand in for one of them.
    if _is_fork or "numpy" not in sys.modules or len(sys._current_frames()) > 1:
        return 0
    from threadpoolctl import threadpool_info

    return sum(
        library["num_threads"] - 1
        for library in threadpool_info()
        if library["internal_api"] == "openblas" and library["threading_layer"] == "pthreads"
    )


_is_fork = False


def _after_fork() -> None:
    global _is_fork
    _is_fork = True


os.register_at_fork(after_in_child=_after_fork)
