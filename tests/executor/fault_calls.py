"""Calls that do what must not happen, where it is safe to: never in the process of the tests."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

CALLER = os.getpid()

#: The same for workers that import this module anew.
os.environ.setdefault("POOLWISE_TEST_CALLER", str(CALLER))


def in_worker() -> bool:
    return os.getpid() != int(os.environ["POOLWISE_TEST_CALLER"])


def burn(seconds: float) -> None:
    """Compute, holding the GIL."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def die(how: str) -> None:
    """End this process."""
    if how == "exit":
        os._exit(3)
    faulthandler.disable()  # pytest's: its stacks would look like a fault of the tests
    if how == "segfault":
        ctypes.string_at(0)
    os.kill(os.getpid(), getattr(signal, how))
    time.sleep(60.0)  # a signal to the process may be taken by another thread of it


class Deadly:
    """Gives its number back after a while; some numbers end the worker, so many times."""

    def __init__(
        self, folder: Path, how: str, victims: dict[int, int], seconds: float = 1e-3
    ) -> None:
        self.folder = str(folder)
        self.how = how
        self.victims = victims
        self.seconds = seconds

    def __call__(self, number: int) -> int:
        log(self.folder, number)
        burn(self.seconds)
        if in_worker() and started(self.folder, number) <= self.victims.get(number, 0):
            die(self.how)
        return number


class Flaky:
    """Gives its number back; some numbers raise, so many times."""

    def __init__(
        self, folder: Path, make: Callable[[], Exception], victims: dict[int, int]
    ) -> None:
        self.folder = str(folder)
        self.make = make
        self.victims = victims

    def __call__(self, number: int) -> int:
        log(self.folder, number)
        if started(self.folder, number) <= self.victims.get(number, 0):
            raise self.make()
        return number


def log(folder: str, number: int) -> None:
    """Note that the call of a number has started; survives whatever comes next."""
    descriptor = os.open(f"{folder}/{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, b".")
    os.close(descriptor)


def started(folder: str | Path, number: int) -> int:
    """How often the call of a number has started."""
    try:
        return os.stat(f"{folder}/{number}").st_size
    except FileNotFoundError:
        return 0


def hang(number: int) -> int:
    time.sleep(3600.0)
    return number


def hold_the_gil(number: int) -> int:
    """Stay in C code that never gives the GIL away."""
    ctypes.PyDLL(None).pause()
    return number


def stop(number: int) -> int:
    """Stop this process. Other threads than its first may go on for a moment."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return hang(number)
