"""Waits that Ctrl-C ends, at whichever moment it comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import get_ident, main_thread
from time import monotonic

from _poolwise_worker.timeouts import LOOK_UP
from poolwise.units import Seconds


def slices(timeout: Seconds | None) -> Iterable[Seconds | None]:
    """Divide a wait of `timeout` seconds, ``None`` for ever, into those to wait one after another.

    Python runs signal handlers in the main thread, between two steps of its code. A signal that
    comes after the last of them and before the system call in which the thread sleeps does not end
    that call, and neither does one that the system gives to another thread: it would be heard only
    when what is waited for has come. The way there is long: a thread that lets go of the GIL
    waits until another has taken it. So the main thread looks up every `LOOK_UP` seconds; the
    others, which hear of no signal, wait at one go.

    Rejected: `signal.set_wakeup_fd`, of which a process has one, and event loops use it.
    """
    if (timeout is not None and timeout <= LOOK_UP) or get_ident() != main_thread().ident:
        return (timeout,)
    return _slices(timeout)


def _slices(timeout: Seconds | None) -> Iterator[Seconds]:
    if timeout is None:
        while True:
            yield LOOK_UP
    left = float(timeout)  # one of NumPy's may have no digits left for the clock
    until = monotonic() + left
    while left > 0:  # once at least, however long this thread is kept off
        yield min(left, LOOK_UP)
        left = until - monotonic()
