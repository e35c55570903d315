"""A program that is small and does nothing, and from which the programs that measure are forked.

A new Python for each of them would take a tenth of a second every time.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from poolwise.errors import ChannelClosed
from poolwise.ipc import Pipe, PipeEnd
from poolwise.machine.partner import Partner
from poolwise.mechanisms.signals import no_signals
from poolwise.task import Exit
from poolwise.units import Seconds
from poolwise.worker import Worker

#: No measurement takes a quarter of it; what lasts longer hangs.
_PATIENCE: Seconds = 90.0

#: What a measurement that is interrupted may take to remove what it has made. The seed waits for
#: that, and who started it waits for the seed, a little longer.
_GRACE: Seconds = 1.0


class Failed(Exception):
    """A measurement raised something, died or did not end; the text says which."""


class Seed:
    """Makes one measurement after the other, each in the main thread of a fork of its own.

    Both end with this process at the latest, and with the ``with`` block.
    """

    def __init__(self, measure: Callable[..., Any]) -> None:
        self._orders, theirs = Pipe()
        self._program = Worker(_serve, (theirs, measure), mechanism="process", daemon=True)
        self._started = self._busy = False
        try:
            with theirs, no_signals():  # it unblocks them when it can be interrupted in peace
                self._program.start()
                self._started = True
        except BaseException:
            self.close()
            raise

    def measure(self, *arguments: Any) -> Any:
        """Return what the measurement returns for these.

        Raises:
            Failed: it has none.
            ChannelClosed: the seed is gone.
        """
        self._busy = True
        self._orders.send(arguments)
        ok, value = self._orders.recv()
        self._busy = False
        if not ok:
            raise Failed(value)
        return value

    def close(self) -> None:
        """End it, and what it measures."""
        self._orders.close()  # which it ends by itself for, if it has nothing to do
        if not self._started:
            return
        try:
            if self._busy:
                self._program.send_signal(signal.SIGTERM)
            self._program.join(2 * _GRACE)
        finally:
            self._program.kill()
            self._program.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _serve(orders: PipeEnd, measure: Callable[..., Any]) -> None:
    """Be the seed, until a signal comes or the process that started it has gone."""
    _end_by_signals()
    with suppress(ChannelClosed):
        while True:
            orders.send(_forked(measure, orders.recv()))


def _forked(measure: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """Return whether a measurement in a fork was made, and what it returned, or why it was not."""

    def interruptible(*_: object) -> Any:
        _end_by_signals()
        return measure(*arguments)

    with Partner("process", measure=interruptible) as fork:
        try:
            fork.begin("measure")
            return True, fork.end(_PATIENCE)
        except (EOFError, ConnectionError):
            return False, _death(fork.exit)
        except Exception as error:
            return False, f"{type(error).__name__}: {error}"
        except BaseException:
            fork.terminate(_GRACE)
            raise


def _death(exit: Exit | None) -> str:
    if exit is None:
        return "it does not answer any more"
    return (
        f"it died of {signal.Signals(exit.signal).name}"
        if exit.signal
        else f"it ended: {exit.code}"
    )


_ENDING = (signal.SIGINT, signal.SIGTERM)


def _end_by_signals() -> None:
    """Have signals end this process; in its main thread, once it can be interrupted in peace."""
    for number in _ENDING:
        signal.signal(number, _stop)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """Leave quietly, through every `finally` on the way; another signal does not interrupt that."""
    for each in _ENDING:
        # Not SIG_IGN: of a signal that has come, but has not been handled, Python would complain.
        signal.signal(each, _no_more)
    raise SystemExit(128 + number)


def _no_more(number: int, frame: FrameType | None) -> None:
    """It ends already."""
