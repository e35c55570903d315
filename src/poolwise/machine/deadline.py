"""No wait is for ever: an alarm ends whatever the main thread waits for."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from poolwise.units import Seconds

#: What is waited for while something is measured comes within this, or never.
PATIENCE: Seconds = 5.0


@contextmanager
def deadline(seconds: Seconds | None = None) -> Iterator[None]:
    """Raise `TimeoutError` in the ``with`` block after so many seconds; blocks may be nested.

    Without a number it is `PATIENCE`.

    Only in the main thread, which signals come to: there it interrupts every wait of Python's.
    """
    patience = PATIENCE if seconds is None else seconds

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"what was waited for did not come within {patience} s")

    usual = signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, patience)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, usual)
        if left:  # the outer one has waited meanwhile; that is at most this one's time too long
            signal.setitimer(signal.ITIMER_REAL, left)
