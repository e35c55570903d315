"""Putting signals off where a handler that raises, such as Ctrl-C, would leave things half done."""

from __future__ import annotations

from _signal import (  # type: ignore[import-not-found]  # signal.py makes enums of each set
    SIG_BLOCK,
    SIG_SETMASK,
    pthread_sigmask,
    valid_signals,
)
from collections.abc import Iterator
from contextlib import contextmanager

_ALL = valid_signals()


@contextmanager
def no_signals() -> Iterator[None]:
    """Have this thread meet no signal within the block; what comes meanwhile is handled after it.

    Where there are other threads, the system may give a signal to one of them, and Python then runs
    its handler in the main thread all the same. Mostly there are none where this matters.
    """
    # Asked for first: to set a mask runs the handlers of signals that have come by then, too, and
    # one that raises would leave all of them blocked for ever.
    mask = pthread_sigmask(SIG_BLOCK, ())
    try:
        pthread_sigmask(SIG_BLOCK, _ALL)
        yield
    finally:
        pthread_sigmask(SIG_SETMASK, mask)
