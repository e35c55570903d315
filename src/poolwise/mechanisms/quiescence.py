"""Whether this process can be forked without danger.

A fork copies the memory of all threads but only the one thread that forks: a lock that another
held at that moment is never released in the child. So nothing is safe but a process in which no
other thread is, or could be, in the middle of something.

OpenBLAS ends its threads before a fork and starts them again when they are needed, in parent and
child. GNU OpenMP and CUDA do not; an unknown thread means no. Which of the threads are those of
OpenBLAS nobody can tell before a fork (to ask it for their number takes longer than the fork, and
others may be as many); after it one knows, because then these are gone.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque

from poolwise.units import Seconds

#: Beyond this resident size, in bytes, copying the page tables takes longer than starting a server
#: anew: a fork of 2 GB took 21 ms here, a new server takes some 20 to 40.
_LARGE = 2 << 30

#: The bit of a thread's flags in ``/proc`` that says that it is on its way out, inside the kernel:
#: it holds no lock. See ``PF_EXITING`` in Linux' ``include/linux/sched.h``.
_EXITING = 4

#: In Python 3.11 a thread that has been joined is still on its way out for some 0.1 ms, longer
#: where other threads have the CPUs. So long it is waited for, and looked at so often: nothing
#: tells when a thread is gone.
_GONE_AFTER, _LOOK_EACH = 20e-3, 2e-4

#: The system's numbers of threads of this package that have been joined and may not be gone; of the
#: latest, for older ones are. Any thread appends, which is atomic; who is about to fork copies and
#: clears, under the lock of `servers`. One that is appended in between is not waited for, and a
#: fork may be given up then.
_leaving: deque[str] = deque(maxlen=256)


def is_quiescent(count: int) -> bool:
    """Whether this one of `count` threads is the only one, but for what may be those of OpenBLAS;
    `is_alone` tells for certain afterwards.
    """
    return count == 1 or (count > 1 and "numpy" in sys.modules and len(sys._current_frames()) == 1)


def is_alone() -> bool:
    """Whether there is no other thread, right after a fork: then there was none that it harmed."""
    return threads() == 1


def is_large() -> bool:
    """Whether this process is so large that forking it is slow."""
    try:
        with open("/proc/self/statm", "rb") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return True
    return resident > _LARGE


def note_joined(thread: threading.Thread) -> None:
    """Take note that a thread has been joined: a fork is to wait until it is gone."""
    _leaving.append(str(thread.native_id))


def threads_that_stay() -> int:
    """Return how many threads this process has, once those that Python has seen end are gone.

    With NumPy loaded, what Python does not know of are most likely threads of OpenBLAS: then only
    those of this package are waited for.
    """
    until: Seconds = time.perf_counter() + _GONE_AFTER
    leaving = _leaving.copy()  # others append while files are read
    _leaving.clear()
    while not all(map(_is_exiting, leaving)) and time.perf_counter() < until:
        time.sleep(_LOOK_EACH)
    while (count := threads()) > 1 and "numpy" not in sys.modules:
        if len(sys._current_frames()) > 1 or time.perf_counter() > until:
            break
        time.sleep(_LOOK_EACH)
    return count


def threads() -> int:
    """Return how many threads this process has; 0 if the system does not tell."""
    try:
        numbers = os.listdir("/proc/self/task")
    except OSError:
        return 0
    return 1 if len(numbers) == 1 else sum(not _is_exiting(number) for number in numbers)


def _is_exiting(thread: str) -> bool:
    try:
        with open(f"/proc/self/task/{thread}/stat", "rb") as file:
            flags = int(file.read().rpartition(b")")[2].split()[6])
    except OSError:  # it is gone
        return True
    return bool(flags & _EXITING)
