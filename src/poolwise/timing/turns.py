"""Getting the GIL back soon."""

from __future__ import annotations

import os
import sys
import threading
from types import TracebackType

from poolwise.units import Seconds

#: Instead of the usual 5 ms. Shorter, and the turns themselves use a sixth of a CPU.
SOON: Seconds = 5e-4

#: For what takes hundreds of turns, such as imports, and that only once.
AT_ONCE: Seconds = 1e-4

_lock = threading.Lock()
_wanted: list[Seconds] = []  # guarded by `_lock`; one for each user
_usual: Seconds = 0.0  # guarded by `_lock`; what to restore while there are users


def _after_fork() -> None:
    """In a child of the user's: whoever held the lock or wanted quick turns is not there."""
    global _lock
    _lock = threading.Lock()
    if _wanted:
        _wanted.clear()
        sys.setswitchinterval(_usual)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class QuickTurns:
    """Inside ``with``, whoever waits for the GIL gets it within 0.5 ms, or in less.

    Each system call gives the GIL away. Beside calls that compute in Python it comes back after
    the interpreter's switch interval, 5 ms: reading ten files or starting two workers took 200 ms.
    The interval belongs to the whole process, so this is for some milliseconds at a time.
    """

    def __init__(self, within: Seconds = SOON) -> None:
        self._within = within

    def __enter__(self) -> None:
        global _usual
        with _lock:
            if not _wanted:
                _usual = sys.getswitchinterval()
            _wanted.append(self._within)
            sys.setswitchinterval(min([_usual, *_wanted]))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with _lock:
            if self._within in _wanted:  # else this is a child, forked inside
                _wanted.remove(self._within)
                sys.setswitchinterval(min([_usual, *_wanted]))
