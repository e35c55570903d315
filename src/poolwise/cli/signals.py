"""What Ctrl-C and SIGTERM do to a command. The library itself installs no signal handler."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

from poolwise.cli.errors import Stopped
from poolwise.units import Seconds

#: When `Stopped` was raised and the process still lives after so long, it ends as it is: the
#: user's function may have swallowed the exception. Workers end with the process.
_LAST_RESORT: Seconds = 2.0


class Signals:
    """Handles both signals while it is open, also as process 1, which has no default handlers.

    Before `drain_from_here`, a signal raises `Stopped` at once. After it, the first signal only
    notes itself in `received` and calls what that was given: no more input is drawn, no more calls
    begin, and what runs may end. When the grace is over, or at a second signal, `Stopped` is
    raised. One that comes still later ends the process as it is, also after this has been closed.
    Belongs to the main thread.
    """

    def __init__(self, grace: Seconds) -> None:
        self.received: signal.Signals | None = None
        self.reading = False  # set around a read that may block: the first signal ends it
        self._grace = grace
        self._draining = False
        self._begin_no_more: Callable[[], None] | None = None
        self._writing = False
        self._raised = False
        self._owed = False  # raised as soon as what must be whole is
        self._before: dict[int, signal._HANDLER] = {}

    @property
    def exit_code(self) -> int:
        """The exit code that shells give to a command that the signal ended."""
        return 128 + (self.received or 0)

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Whoever started this process may want it ignored, as shells do for background jobs.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            # Whoever has asked once and asks again, while the interpreter ends, means it.
            signal.signal(number, handler if self.received is None else self._end_now)

    def drain_from_here(self, begin_no_more: Callable[[], None]) -> None:
        """Let what runs end when a signal comes, for as long as the grace is; have nothing more
        begin. That is called inside the handler, wherever the main thread is.
        """
        self._begin_no_more = begin_no_more
        self._draining = True

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Do not interrupt what is inside: a line is written as a whole or not at all."""
        self._writing = True
        try:
            yield
        finally:
            self._writing = False
        if self._owed:
            self._owed = False
            raise Stopped

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first = self.received is None and number != signal.SIGALRM
        if first:
            self.received = signal.Signals(number)
        if not (first and self._draining):
            self._stop()
            return
        if self._begin_no_more is not None:
            self._begin_no_more()
        self._alarm_in(max(self._grace, 1e-3))
        if self.reading:
            raise Stopped

    def _end_now(self, number: int, frame: FrameType | None) -> None:
        os._exit(self.exit_code)

    def _stop(self) -> None:
        if self._raised:
            os._exit(self.exit_code)
        self._raised = True
        self._alarm_in(_LAST_RESORT)
        if not self._writing:
            raise Stopped
        self._owed = True

    def _alarm_in(self, seconds: Seconds) -> None:
        # Only now: until a signal has come, the alarm is the user's function's to use.
        if signal.SIGALRM not in self._before:
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._handle)
        signal.setitimer(signal.ITIMER_REAL, seconds)
