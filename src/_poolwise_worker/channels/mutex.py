"""Mutexes in shared memory that the kernel lets go of when their holder dies; and futexes.

A robust mutex of the C library is taken and let go without a system call while nobody else wants
it. Measured with ``benchmarks/bench_channels.py``: two calls through `ctypes` cost 0.2 µs, three
times a ``threading.Lock``, where a lock made of a futex alone could not be had: Python has no
compare-and-swap.

Each function is there twice. The one that never waits keeps the GIL, because letting it go and
taking it again would cost more than the call; the one that waits lets it go.
"""

from __future__ import annotations

import errno
from _thread import get_native_id
from ctypes import (
    CDLL,
    PyDLL,
    Structure,
    byref,
    c_char,
    c_int,
    c_long,
    c_uint32,
)
from os.path import exists
from time import monotonic

from _poolwise_worker.timeouts import LOOK_UP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from _poolwise_worker.channels.memory import Memory

#: Bytes that a mutex takes; the largest is the 48 of 64-bit ARM.
SIZE = 64

#: Outcomes of `take`, besides ``0`` for "got it".
BUSY, DIED, TIMED_OUT, OWN = errno.EBUSY, errno.EOWNERDEAD, errno.ETIMEDOUT, errno.EDEADLK

#: In the first word of a mutex: the thread id of the holder, and whether it died holding it.
HOLDER, _HOLDER_DIED = 0x3FFFFFFF, 0x40000000

#: The word that counts how often a recursive mutex was taken; so in glibc on every machine.
_DEPTH = 1

_CLOCK_MONOTONIC = 1
_FUTEX_WAIT, _FUTEX_WAKE = 0, 1
_SHARED, _ROBUST, _RECURSIVE, _ERRORCHECK = 1, 1, 1, 2

_keeping_gil = PyDLL(None)
_releasing_gil = CDLL(None)

trylock = _keeping_gil["pthread_mutex_trylock"]
unlock = _keeping_gil["pthread_mutex_unlock"]
_consistent = _keeping_gil["pthread_mutex_consistent"]
_syscall = _releasing_gil["syscall"]
_syscall.restype = c_long


class _Timespec(Structure):
    _fields_ = (("seconds", c_long), ("nanoseconds", c_long))


def _timespec(seconds: float) -> _Timespec:
    whole = int(seconds)
    return _Timespec(whole, int((seconds - whole) * 1e9))


try:
    _clocklock = _releasing_gil["pthread_mutex_clocklock"]

    def _lock_within(at: Any, seconds: float) -> int:
        until = _timespec(monotonic() + seconds)
        code: int = _clocklock(at, _CLOCK_MONOTONIC, byref(until))
        return code

except AttributeError:  # glibc before 2.30, musl: a clock that may jump, but never far from here
    from time import time

    _timedlock = _releasing_gil["pthread_mutex_timedlock"]

    def _lock_within(at: Any, seconds: float) -> int:
        until = _timespec(time() + seconds)
        code: int = _timedlock(at, byref(until))
        return code


#: Mutexes that a thread of this process holds though the last handle here is gone. The kernel and
#: the C library keep a list through the mutexes that a thread holds: unmapping one that is in it
#: would crash that thread at its next lock.
_held_without_handle: list[Any] = []


class Mutex:
    """A mutex at an offset of shared memory. It belongs to the *thread* that takes it.

    `deaths` counts how often one died holding it: who waited meanwhile compares it with what it
    was. It is written by who holds the mutex.
    """

    __slots__ = ("at", "deaths", "words")

    def __init__(self, memory: Memory, offset: int) -> None:
        room = (c_char * SIZE).from_buffer(memory.map, offset)
        #: Where it is, as C functions take it; keeps the memory mapped.
        self.at = byref(room)
        view = memoryview(memory.map)[offset : offset + SIZE]
        self.words = view.cast("I")
        #: In the last word of the room, which no mutex reaches.
        self.deaths = view[SIZE - 8 :].cast("q")

    def create(self, *, recursive: bool = False) -> None:
        """Initialise it; once, before any other process knows of it."""
        attributes = (c_char * 64)()
        _keeping_gil.pthread_mutexattr_init(attributes)
        _keeping_gil.pthread_mutexattr_setpshared(attributes, _SHARED)
        _keeping_gil.pthread_mutexattr_setrobust(attributes, _ROBUST)
        _keeping_gil.pthread_mutexattr_settype(attributes, _RECURSIVE if recursive else _ERRORCHECK)
        code = _keeping_gil.pthread_mutex_init(self.at, attributes)
        _keeping_gil.pthread_mutexattr_destroy(attributes)
        if code:
            raise OSError(code, "the C library has no robust mutexes between processes here")

    @property
    def held(self) -> bool:
        """Whether a living thread holds it."""
        word = self.words[0]
        return bool(word & HOLDER) and not word & _HOLDER_DIED

    def __del__(self, bits: int = HOLDER) -> None:  # at exit what this module has is gone
        holder = self.words[0] & bits
        if not holder or get_native_id is None:
            return
        if holder == get_native_id():
            self.deaths[0] += 1  # nobody can release it any more: to others that is a death
            while not unlock(self.at):
                pass
        elif exists(f"/proc/self/task/{holder}"):
            _held_without_handle.append(self.at)

    def held_by(self, thread: int) -> bool:
        """Whether the thread of that native id holds it."""
        return self.words[0] & HOLDER == thread

    @property
    def depth(self) -> int:
        """How often its holder has taken it, of a recursive one."""
        return self.words[_DEPTH] if self.words[0] & HOLDER else 0

    @property
    def abandoned(self) -> bool:
        """Whether its holder died, and nobody has taken note."""
        return bool(self.words[0] & _HOLDER_DIED)

    def settle(self, code: int, until: float | None) -> int:
        """Go on from what `trylock` said: wait until `until` on the monotonic clock, or for ever.

        Returns 0 if this thread has it now, `TIMED_OUT`, `OWN` if it had it already (and it is not
        recursive), or `DIED` if a holder died before or while this waited. After `DIED` and
        `TIMED_OUT` this thread does not hold it.
        """
        deaths = self.deaths[0]
        while code in (BUSY, TIMED_OUT):
            left = LOOK_UP if until is None else min(LOOK_UP, until - monotonic())
            if left <= 0:
                return TIMED_OUT
            code = _lock_within(self.at, left)
        if code == DIED:
            self.note_death()
            unlock(self.at)
        elif not code and self.deaths[0] != deaths:
            unlock(self.at)
            return DIED
        return code

    def note_death(self) -> None:
        """Make it usable again after `DIED`, by the thread that was told and so holds it."""
        self.deaths[0] += 1
        _consistent(self.at)


class Guard:
    """A mutex around state whose every change is one store, or can be told from what is there.

    So who dies inside leaves nothing half done, and nobody needs to be told. Held for microseconds.
    Use it as a context manager, or where 0.1 µs matter as ``__enter__`` and ``__exit__`` do.
    """

    __slots__ = ("_mutex", "at", "on_death")

    def __init__(self, memory: Memory, offset: int) -> None:
        self._mutex = Mutex(memory, offset)
        self.at = self._mutex.at
        #: Called inside by who enters first after somebody has died inside.
        self.on_death: Callable[[], None] | None = None

    def create(self) -> None:
        """Initialise it; once, before any other process knows of it."""
        self._mutex.create()

    @property
    def deaths(self) -> int:
        """How often somebody died inside; to be read inside."""
        return self._mutex.deaths[0]

    def __enter__(self, trylock: Any = trylock) -> None:
        code = 0
        try:
            code = trylock(self.at)
            if code and (code := self.settle(code)):
                raise self.reentered()
        except BaseException:  # of a signal handler; it may have come just after the lock did
            if code != OWN:
                unlock(self.at)  # refused if it had not
            raise

    def __exit__(self, *_: object, unlock: Any = unlock) -> None:
        unlock(self.at)

    def settle(self, code: int) -> int:
        """Go on from what `trylock` said; return 0 when this thread is inside.

        Returns `OWN` if it was inside before: the only case in which it must not leave.
        """
        while code in (BUSY, TIMED_OUT):
            code = _lock_within(self.at, LOOK_UP)
        if code == DIED:
            self._take_over()
            return 0
        return code

    def reentered(self) -> RuntimeError:
        """Return what to raise after `OWN`."""
        return RuntimeError(
            "a signal handler, or code that the garbage collector runs, uses an object of "
            "poolwise in the midst of which it interrupted its own thread"
        )

    def try_enter(self) -> bool:
        """Enter if nobody is inside; who enters so leaves by ``__exit__``."""
        code = trylock(self.at)
        if code == DIED:
            self._take_over()
        return code in (0, DIED)

    def _take_over(self) -> None:
        self._mutex.note_death()
        if self.on_death is not None:
            self.on_death()


class Futex:
    """A word of 32 bits in shared memory to wait on until it changes."""

    __slots__ = ("_at", "word")

    def __init__(self, memory: Memory, offset: int) -> None:
        self._at = byref(c_uint32.from_buffer(memory.map, offset))
        self.word = memoryview(memory.map)[offset : offset + 4].cast("I")

    def wait(self, seen: int, seconds: float) -> None:
        """Wait while the word is `seen`, at most so long; may end for no reason.

        Who wakes: a process that changes the word and calls `wake`. If it dies in between, the
        time-out, so `seconds` is `LOOK_UP` or less.
        """
        _syscall(
            c_long(_FUTEX),
            self._at,
            _FUTEX_WAIT,
            c_uint32(seen),
            byref(_timespec(seconds)),
            None,
            0,
        )

    def wake(self, most: int = 0x7FFFFFFF) -> int:
        """Wake those who wait; return how many there were."""
        woken: int = _syscall(c_long(_FUTEX), self._at, _FUTEX_WAKE, c_int(most), None, None, 0)
        return max(0, woken)


def _futex_number() -> int:
    """Return the number of the system call on this machine; there is no function for it."""
    from os import uname

    machine = uname().machine
    if machine == "x86_64":
        return 202
    if machine in ("i386", "i686"):
        return 240
    if machine in ("ppc64le", "ppc64"):
        return 221
    if machine == "s390x":
        return 238
    return 98  # the numbering that all newer machines share: aarch64, riscv64, loongarch64


_FUTEX = _futex_number()

__all__ = [
    "BUSY",
    "DIED",
    "HOLDER",
    "LOOK_UP",
    "OWN",
    "SIZE",
    "TIMED_OUT",
    "Futex",
    "Guard",
    "Mutex",
    "trylock",
    "unlock",
]
