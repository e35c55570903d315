"""Work of four kinds, done by a worker of any mechanism; standard library only.

An interpreter gets the text of this file, not the module: it would import poolwise for it.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from hashlib import sha256
from typing import Any

#: What one call says: when it began and ended, on a clock that processes share, and its CPU time.
Report = tuple[float, float, float]

#: So much is hashed at once: small enough for a cache, large enough that the GIL is let go.
_BLOCK = bytes(1 << 18)

#: By thread; each writes its own entry only. Not a ``threading.local``, which an interpreter has
#: anew for each call.
_buffers: dict[int, Any] = {}


def perform(task: str, amount: float) -> Any:
    """Do work of a kind, or trace where computing happens: what a worker is called with."""
    return trace(amount) if task == "trace" else work(task, amount)


def work(kind: str, amount: float) -> Report:
    """Do work of a kind: so many rounds, or so many seconds of waiting."""
    begin, cpu = time.perf_counter(), time.thread_time()
    _KINDS[kind](amount)
    return begin, time.perf_counter(), time.thread_time() - cpu


def _hold(rounds: float) -> None:
    for _ in range(int(rounds)):
        pass


def _release(rounds: float) -> None:
    for _ in range(int(rounds)):
        sha256(_BLOCK)


def _move(rounds: float) -> None:
    """Copy one half of a buffer to the other: `rounds` a million bytes, which no cache holds."""
    from ctypes import memmove

    half = _HALF
    here, there = _halves()
    left = int(rounds * 1e6)
    while left > 0:
        memmove(there, here, min(left, half))
        left -= half


#: Bytes that each worker copies from and to: more than a core's share of any cache.
ROOM = 32 << 20
_HALF = ROOM // 2


def _halves() -> tuple[int, int]:
    """Return the addresses of both halves of a buffer, which each thread has for itself."""
    me = threading.get_ident()
    if me not in _buffers:
        import mmap
        from ctypes import addressof, c_char, memset

        room = mmap.mmap(-1, ROOM)
        if hasattr(mmap, "MADV_HUGEPAGE"):  # else touching it first would take longer than copying
            with suppress(OSError):
                room.madvise(mmap.MADV_HUGEPAGE)
        buffer = (c_char * (ROOM)).from_buffer(room)
        memset(addressof(buffer), 1, ROOM)
        _buffers[me] = buffer
    from ctypes import addressof

    at = addressof(_buffers[me])
    return at, at + _HALF


def let_go() -> None:
    """Give back the memory of threads that have ended."""
    _buffers.clear()


#: By the names that `Concurrency` gives them.
_KINDS = {
    "holds the GIL": _hold,
    "releases the GIL": _release,
    "waits": time.sleep,
    "memory bandwidth": _move,
}


def trace(seconds: float) -> list[tuple[float, int]]:
    """Compute for so long; return at which times it ran, and the number of the CPU."""
    from ctypes import PyDLL

    which = PyDLL(None).sched_getcpu  # keeps the GIL: to let it go would be to let others run
    seen = []
    now = time.perf_counter()
    until = now + seconds
    while now < until:
        for _ in range(500):
            pass
        now = time.perf_counter()
        seen.append((now, which()))
    return seen
