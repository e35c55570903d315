"""Signals that come when no system call of the main thread is ended by them."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType

#: What is waited for comes within this, or never.
DEADLINE = 20.0


class Interrupted(Exception):
    """Raised by the handler, as Ctrl-C raises `KeyboardInterrupt`."""


def ends_by_a_signal(
    wait: Callable[[], object], within: CodeType, wake: Callable[[], object]
) -> bool:
    """Whether a signal ends `wait`, called in the main thread, while that sleeps.

    Another thread is given the signal: for the main thread that is as if it had come between its
    last look and its system call. It comes again and again, because the first could come before
    the wait has begun; it counts once the main thread runs `within`. If no signal ends the wait,
    `wake` must.
    """
    heard = threading.Event()
    in_time = False

    def interrupt(_: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code is not within:
            frame = frame.f_back
        if frame is not None and not heard.is_set():
            heard.set()
            raise Interrupted

    def ring() -> None:
        nonlocal in_time
        until = time.monotonic() + DEADLINE
        while not heard.wait(0.005) and time.monotonic() < until:
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        in_time = heard.is_set()
        if not in_time:
            wake()

    before = signal.signal(signal.SIGUSR1, interrupt)
    ringing = threading.Thread(target=ring)
    ringing.start()
    try:
        wait()
    except Interrupted:
        pass
    finally:
        ringing.join()
        signal.signal(signal.SIGUSR1, before)
    return in_time
