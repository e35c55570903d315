"""The clocks that poolwise reads, behind one protocol, so that planning is tested without time."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from poolwise.units import Seconds


class Clock(Protocol):
    """Readings in seconds; each has an arbitrary origin, so only differences mean anything."""

    def now(self) -> Seconds:
        """Wall time, monotonic."""
        ...

    def thread_cpu(self) -> Seconds:
        """CPU time of the calling thread."""
        ...

    def process_cpu(self) -> Seconds:
        """CPU time of all threads of this process."""
        ...

    def foreign_cpu(self) -> Seconds:
        """CPU time of threads that Python does not know, such as those of libraries, and of all
        that have ended; 0 where not known.
        """
        ...

    def children_cpu(self) -> Seconds:
        """CPU time of the child processes that have been waited for."""
        ...

    def idle_cpu(self) -> Seconds:
        """CPU time that nobody used, of the CPUs that this process may use; 0 where not known."""
        ...

    def queued(self) -> Seconds:
        """Time that the calling thread was ready to run but had no CPU; 0 where not known."""
        ...

    def watch_queue(self) -> AbstractContextManager[Callable[[], Seconds]]:
        """What reads `queued` of the thread that enters, with one system call, as long as the
        context lasts.
        """
        ...

    def process_queued(self) -> Seconds:
        """The same as `queued`, summed over all threads of this process."""
        ...

    def page_faults(self) -> int:
        """How many page faults of this process needed no disk; 0 where not known."""
        ...

    def others_running(self) -> int:
        """How many other threads of this process run, or are ready to, at this moment."""
        ...


class SystemClock:
    """The clocks of this machine."""

    # Not wrapped: a dispatch reads the time several times for each batch.
    now = staticmethod(time.perf_counter)
    thread_cpu = staticmethod(time.thread_time)

    def process_cpu(self) -> Seconds:
        """Read `time.process_time`, after each of Python's threads: 0.7 µs for each (Linux).

        What a running thread uses is added up at the ticks of the system, 4 ms apart as a rule; for
        others than the caller only then, or when someone asks for that thread. Without asking, a
        thread that computes seems to use two CPUs in one look of 2 ms, and none in the next.
        """
        _cpu_of_threads()
        return time.process_time()

    def foreign_cpu(self) -> Seconds:
        """Read the clock of each of Python's threads, and subtract (Linux)."""
        known = _cpu_of_threads()
        return time.process_time() - known if known else 0.0

    def children_cpu(self) -> Seconds:
        """Ask `resource`, which knows it to the microsecond; `os.times`, where there is no such
        module, counts ticks of 10 ms mostly.
        """
        try:
            import resource
        except ImportError:
            times = os.times()
            return times.children_user + times.children_system
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def idle_cpu(self) -> Seconds:
        """Read the lines of this process's CPUs in ``/proc/stat`` (Linux): some 0.1 ms. It counts
        in ticks, of 10 ms mostly.
        """
        if sys.platform == "linux":
            with contextlib.suppress(OSError, ValueError, IndexError):
                return _idle_ticks() / os.sysconf("SC_CLK_TCK")
        return 0.0

    def queued(self) -> Seconds:
        """Read ``/proc/thread-self/schedstat`` (Linux): about 20 µs."""
        try:
            return _queued("/proc/thread-self")
        except (OSError, ValueError, IndexError):
            return 0.0

    @contextlib.contextmanager
    def watch_queue(self) -> Iterator[Callable[[], Seconds]]:
        """Hold the file of `queued` open. Once the thread has ended, it has queued for no more."""
        try:
            file = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            yield lambda: 0.0
            return
        last: Seconds = 0.0

        def read() -> Seconds:
            nonlocal last
            with contextlib.suppress(OSError, ValueError, IndexError):
                last = _second(os.pread(file, 100, 0))
            return last

        try:
            yield read
        finally:
            os.close(file)

    def process_queued(self) -> Seconds:
        """Read the same for each thread in ``/proc/self/task`` (Linux).

        Each takes three system calls, and each of them gives the GIL away: beside 17 threads that
        compute it took 15 ms.
        """
        queued = 0.0
        with contextlib.suppress(OSError, ValueError, IndexError):
            for thread in _threads():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                    queued += _queued(f"/proc/self/task/{thread}")
        return queued

    def page_faults(self) -> int:
        """Ask `resource`, which Windows has not: 5 µs, and nothing of what others do."""
        try:
            import resource
        except ImportError:
            return 0
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    def others_running(self) -> int:
        """Look at the state of each in ``/proc/self/task`` (Linux), of some if there are many: some
        20 µs each.
        """
        running = -1  # this one does
        with contextlib.suppress(OSError, IndexError):
            for thread in os.listdir("/proc/self/task")[:_LOOKED_AT]:
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                    line = _read(f"/proc/self/task/{thread}/stat")
                    running += line.rpartition(b") ")[2].startswith(b"R")
        return max(0, running)


def _cpu_of_threads() -> Seconds:
    """Return the CPU time of Python's threads (Linux; 0 elsewhere)."""
    cpu = 0.0
    if sys.platform == "linux":
        for thread in threading.enumerate():
            with contextlib.suppress(OSError, TypeError):  # it has ended, or not yet begun
                cpu += time.clock_gettime(_clock_of(thread.native_id))
    return cpu


def _idle_ticks() -> int:
    """Return for how many ticks the CPUs of this process have had nothing to do (Linux)."""
    ours, idle = {b"cpu%d" % each for each in os.sched_getaffinity(0)}, 0
    with open("/proc/stat", "rb") as lines:
        for line in lines:
            if not line.startswith(b"cpu"):
                break
            name, *ticks = line.split()
            if name in ours:
                idle += int(ticks[3]) + int(ticks[4])  # the latter while someone waits for a disk
    return idle


def _clock_of(thread: int | None) -> int:
    """Return the id of a thread's CPU clock, as ``pthread_getcpuclockid`` makes it; that must not
    be called for a thread that may have ended, while the system knows such ids for old ones.
    """
    return (~thread << 3) | 6  # type: ignore[operator]


def _threads() -> list[int | None] | list[str]:
    """Return the ids of all threads, by one system call if Python knows all of them: to list them
    takes one for each.
    """
    known = [thread.native_id for thread in threading.enumerate()]
    if os.stat("/proc/self/task").st_nlink - 2 == len(known):
        return known
    return os.listdir("/proc/self/task")


#: Libraries have a thread for each CPU.
_LOOKED_AT = 32


def _queued(folder: str) -> Seconds:
    return _second(_read(f"{folder}/schedstat"))


def _second(line: bytes) -> Seconds:
    """Return the second figure of a line of nanoseconds."""
    return int(line.split()[1]) * 1e-9


def _read(path: str) -> bytes:
    # Not `open`, which asks the system three times as often.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, 100)
    finally:
        os.close(file)


def queued_of(process: int) -> Seconds | None:
    """Return for how long the main thread of a process was ready to run but had no CPU (Linux);
    ``None`` where not known, or if it is gone.
    """
    try:
        return _queued(f"/proc/{process}")
    except (OSError, ValueError, IndexError):
        return None


def cpu_of(process: int) -> Seconds:
    """Return the CPU time that a process has used, whoever started it (Linux): 1 µs.

    Raises:
        OSError: it is gone, or this system does not tell.
    """
    return time.clock_gettime((~process << 3) | 2)  # as ``clock_getcpuclockid`` makes it
