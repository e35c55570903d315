"""Memory that calls give back and soon want again is kept for them, where that is what costs."""

from __future__ import annotations

import os
from time import process_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: CPU time, in seconds, until calls are looked at first, so that what a fork has yet to copy is no
#: fault of theirs; and from then to the next look. Each one after that comes twice as late.
WARM, LOOK = 8e-3, 5e-3

#: Page faults for each second of CPU time that are many. One takes some 2 µs, with the page that is
#: filled with zeros: 4 % of the time. Calls that make arrays of 8 MB have 250,000.
MANY = 20_000

#: What is kept free at the end of the heap, in bytes, and the largest block that comes from there:
#: the most that glibc takes.
KEPT, LARGEST = 64 << 20, 32 << 20

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>


class Heap:
    """The C library's heap in a worker.

    glibc gives free memory at the end of the heap back to the system from 128 KB on, and has large
    blocks mapped anew each time. Whoever makes an array and lets it go, again and again, spends a
    third of the time on pages that are filled with zeros. To say otherwise takes `ctypes`, whose
    import takes 1.3 ms, so it is done where calls have shown that it pays. Never in the caller,
    whose heap is not ours. Other C libraries go on as they are.

    Threads of a worker may look at the same time: then they do the same twice.
    """

    def __init__(self) -> None:
        self._next = process_time() + WARM
        self._period = LOOK
        self._before: tuple[float, int] | None = None
        self._give_back: Callable[[int], object] | None = None

    def look(self) -> None:
        """After a batch: is it time, and have calls had many page faults since the last look?"""
        now = process_time()
        if now < self._next:
            return
        try:
            faults = _page_faults()
        except (OSError, ValueError, IndexError):  # not on this system
            self._next = float("inf")
            return
        if self._before is not None:
            at, before = self._before
            if faults - before > MANY * (now - at):
                self.keep()
                return
            self._period *= 2
        self._before = now, faults
        self._next = now + self._period

    def keep(self) -> None:
        """Keep what is freed, from now on."""
        self._next = float("inf")
        try:
            import ctypes

            library = ctypes.CDLL(None)
            library.mallopt(_M_TRIM_THRESHOLD, KEPT)
            library.mallopt(_M_MMAP_THRESHOLD, LARGEST)
            self._give_back = library.malloc_trim
        except Exception:
            pass  # without ctypes, another C library, no memory: all goes on as it is

    @property
    def keeps(self) -> bool:
        """Whether there may be something to trim."""
        return self._give_back is not None

    def trim(self) -> None:
        """Give back what is free: nobody has work for this process."""
        if self._give_back is not None:
            self._give_back(0)


def keeps_memory() -> bool:
    """Return whether a `Heap` can keep anything here: with glibc."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, OSError, ValueError):  # another system, or another C library
        return False


def _page_faults() -> int:
    """Return how many of this process needed no disk."""
    stat = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(stat, 1000).rpartition(b") ")[2].split()[7])
    finally:
        os.close(stat)
