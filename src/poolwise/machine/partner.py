"""Who is at the other end: a thread or a forked process that does as it is told.

What it is told comes over a pipe of its own, so that nothing but messages goes through the channel
that is measured.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing import Pipe as make_pipe
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from _poolwise_worker.lives import die_with
from poolwise.machine.deadline import deadline
from poolwise.mechanisms.signals import no_signals
from poolwise.task import Exit
from poolwise.units import Seconds

#: What the partner does: given how often, and how to ask whether it is to stop.
Part: TypeAlias = Callable[[int, Callable[[], bool]], object]

#: How long a thread is waited for at the end. It is idle then, or waits for what never comes.
_GRACE: Seconds = 0.5


class Partner:
    """Plays parts in a thread or process of its own until the ``with`` block is left.

    A process is a fork, so no other thread should run. It is killed at the end, and dies with this
    process. A thread cannot be killed: one whose message never comes is left, as a daemon.
    """

    def __init__(self, kind: Literal["thread", "process"], **parts: Part) -> None:
        self._orders, theirs = make_pipe()
        self._life: int | None = None
        try:
            self._body = self._start(kind, theirs, parts)
        except BaseException:
            theirs.close()
            self._close()
            raise

    def _start(
        self, kind: str, theirs: Connection[Any, Any], parts: dict[str, Part]
    ) -> threading.Thread | ForkProcess:
        if kind == "thread":
            thread = threading.Thread(target=_play, args=(theirs, parts), daemon=True)
            thread.start()
            return thread
        life, self._life = os.pipe()
        try:
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            arguments = (life, self._life, mask, theirs, parts)
            process = get_context("fork").Process(target=_play_alone, args=arguments)
            with no_signals():  # what a handler raises within a fork is written, and then lost
                process.start()
        finally:
            os.close(life)
        theirs.close()
        return process

    @property
    def pid(self) -> int:
        """The process that it is in."""
        return self._body.pid or 0 if isinstance(self._body, ForkProcess) else os.getpid()

    @property
    def exit(self) -> Exit | None:
        """How its process has ended, when that is gone or going; else ``None``."""
        if not isinstance(self._body, ForkProcess):
            return None
        self._body.join(_GRACE)
        code = self._body.exitcode
        if code is None:
            return None
        return Exit(self.pid, None, -code) if code < 0 else Exit(self.pid, code, None)

    def terminate(self, grace: Seconds) -> None:
        """Ask its process to end, and wait for that so long; whoever leaves kills what is left."""
        if isinstance(self._body, ForkProcess):
            self._body.terminate()
            self._body.join(grace)

    def begin(self, part: str, count: int = 1) -> None:
        """Have it play a part; returns when it is about to.

        Raises:
            TimeoutError: it does not answer.
            EOFError: it is gone.
        """
        with deadline():
            self._orders.send((part, count))
            self._orders.recv()

    def end(self, patience: Seconds | None = None) -> Any:
        """Wait until it has played its part, or tell it to stop what it does until told.

        Returns what the part returned, or raises what it raised; or as `begin` does.
        """
        with deadline(patience):
            self._orders.send(None)
            ok, value = self._orders.recv()
        if not ok:
            raise value
        return value

    def play(self, part: str, count: int = 1) -> None:
        """Have it play a part, and wait until it has."""
        self.begin(part, count)
        self.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()
        if isinstance(self._body, ForkProcess):
            self._body.kill()
            self._body.join()
            self._body.close()
        else:
            self._body.join(_GRACE)

    def _close(self) -> None:
        self._orders.close()
        if self._life is not None:
            os.close(self._life)


def _play_alone(
    life: int,
    other: int,
    mask: Iterable[int],
    orders: Connection[Any, Any],
    parts: dict[str, Part],
) -> None:
    """Play in a process: it leaves Ctrl-C to who kills it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(other)
    die_with(life, os.getpid())
    _play(orders, parts)


def _play(orders: Connection[Any, Any], parts: dict[str, Part]) -> None:
    """Play what is ordered until nobody orders any more. For each order: ready, then done.

    Between the two comes a ``None`` that asks for the end. A part that goes on until it is told
    sees it coming; another has ended by then, or ends by itself.
    """
    with orders, suppress(EOFError, OSError):
        while True:
            name, count = orders.recv()
            orders.send(None)
            try:
                played: tuple[bool, object] = True, parts[name](count, orders.poll)
            except Exception as raised:
                played = False, raised
            orders.recv()
            orders.send(played)
