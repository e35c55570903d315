"""Functions that are easy in a loop and hard everywhere else. Imported by workers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import decimal
import logging
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import awkward_settings
from awkward_settings import Judge, shout

LEVEL = "as imported"
COUNT = 0
SEEN: list[int] = []
_lazy: dict[str, int] | None = None


# ---- what they read ----


def read_global(number: int) -> object:
    return number, LEVEL


def read_module(number: int) -> object:
    return number, awkward_settings.LEVEL


def read_table(number: int) -> int:
    return len(awkward_settings.TABLE[number])


def use_helper(number: int) -> str:
    return awkward_settings.shout(f"a{number}")


def use_imported_helper(number: int) -> str:
    return shout(f"b{number}")


def use_method(number: int) -> str:
    return Judge().verdict(number)


def read_surroundings(name: str) -> object:
    return {
        "cwd": os.getcwd,
        "environment": lambda: os.environ.get("AWKWARD"),
        "path": lambda: sys.path[0],
        "argv": lambda: sys.argv,
        "recursion": sys.getrecursionlimit,
        "logging": lambda: logging.getLogger("awkward").getEffectiveLevel(),
        "warnings": warn,
        "authkey": lambda: bytes(multiprocessing.current_process().authkey),
        "arithmetic": divide,
        "umask": rights_of_a_new_file,
    }[name]()


def warn() -> str:
    try:
        warnings.warn("of a call", UserWarning, stacklevel=1)
    except UserWarning:
        return "an error"
    return "ignored"


def divide() -> tuple[str, str]:
    try:
        decimal.Decimal(2) / 3
    except decimal.Inexact:
        with decimal.localcontext() as context:
            context.traps[decimal.Inexact] = False
            return "trapped", str(decimal.Decimal(2) / 3)
    return "not trapped", str(decimal.Decimal(2) / 3)


def rights_of_a_new_file() -> str:
    with open(f"{os.getpid()}-{random.random()}", "x") as file:
        return oct(os.fstat(file.fileno()).st_mode)


# ---- what they change ----


def initialize_lazily(number: int) -> int:
    global _lazy
    if _lazy is None:
        _lazy = {"factor": 7}
    return number * _lazy["factor"]


def count(_: int) -> int:
    global COUNT
    COUNT += 1
    return COUNT


def remember(number: int) -> int:
    SEEN.append(number)
    return len(SEEN)


def extend(items: list[int]) -> int:
    items.append(len(items))
    return sum(items)


def set_level(level: str) -> None:
    global LEVEL
    LEVEL = awkward_settings.LEVEL = level


# ---- what they raise ----


class Odd(Exception):
    """Cannot be read back by plain pickle: its arguments are not those of its constructor."""

    def __init__(self, number: int, *, reason: str) -> None:
        super().__init__(f"{number}: {reason}")
        self.number = number
        self.reason = reason


class Locked(Exception):
    """Holds something that does not pickle at all."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def raise_odd(number: int) -> int:
    if number % 3 == 1:
        raise Odd(number, reason="odd")
    return number


def raise_caused(number: int) -> int:
    try:
        {}[number]
    except KeyError as error:
        failed = ValueError("no such number", number)
        failed.add_note(f"looked for {number}")
        failed.where = ["here", number]  # type: ignore[attr-defined]
        raise failed from error


def raise_in_context(number: int) -> int:
    try:
        return [][number]  # type: ignore[no-any-return, misc]
    except IndexError:
        raise LookupError("while handling") from None


def raise_with_a_lock(number: int) -> int:
    error = KeyError("kept", number)
    error.code, error.lock = number, threading.Lock()  # type: ignore[attr-defined]
    raise error


def raise_group(number: int) -> int:
    inner = TypeError("inner")
    inner.add_note("noted")
    raise ExceptionGroup("several", [ValueError(number), ExceptionGroup("nested", [inner])])


def raise_exit(number: int) -> int:
    if number == 2:
        raise SystemExit(number)
    return number


def raise_os_error(number: int) -> int:
    open(f"/nonexistent/{number}").close()
    return number


# ---- what they do ----


def ring(number: int) -> str:
    """Works in a main thread only."""
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(number))
    # Again and again: the first may come before the pause.
    timer = signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        while not rung:
            signal.pause()
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)
    return f"rang {rung[0]}"


def fork(number: int) -> int:
    child = os.fork()
    if not child:
        os._exit(number % 7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_program(number: int) -> str:
    command = [sys.executable, "-S", "-c", f"import sys; print({number}, len(sys.stdin.read()))"]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    ).stdout


def use_own_pools(number: int) -> list[int]:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(abs, [-number, number]))
    with multiprocessing.get_context("spawn").Pool(1) as processes:
        results += processes.map(abs, [-number])
    return results


def terminate_child(_: int) -> int | None:
    child = multiprocessing.get_context("fork").Process(target=signal.pause)
    child.start()
    child.terminate()
    child.join(2)
    code = child.exitcode
    child.kill()
    child.join()
    return code


def use_poolwise(number: int) -> list[int]:
    import poolwise

    return list(poolwise.map(abs, [-number, number], plan="process:1"))


def use_asyncio(number: int) -> int:
    async def main() -> int:
        await asyncio.sleep(0)
        return number

    return asyncio.run(main())


def recurse(depth: int) -> int:
    return 0 if not depth else 1 + recurse(depth - 1)


def make_bytes(size: int) -> bytes:
    return bytes([size % 251]) * size


def draw(_: int) -> float:
    return random.random()


# ---- what they return ----


def return_generator(number: int) -> Iterator[int]:
    return (each for each in range(number))


def generate(number: int) -> Iterator[int]:
    yield from range(number)


async def coroutine(number: int) -> int:
    return number


def return_lambda(number: int) -> Callable[[], int]:
    return lambda: number


class EndsItsReader:
    """An argument that takes the process that reads it with it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (7,)


# ---- wrapped ----


class Slowly:
    """Computes for `seconds` before the call, so that ``auto`` has reason to change the plan."""

    def __init__(self, function: Callable[..., Any], seconds: float) -> None:
        self.function = function
        self.seconds = seconds

    def __call__(self, *args: Any) -> Any:
        until = time.thread_time() + self.seconds
        while time.thread_time() < until:
            sum(range(100))
        return self.function(*args)


def connected(connection: sqlite3.Connection) -> Callable[[int], int]:
    connection.execute("create table numbers (square)")
    connection.executemany("insert into numbers values (?)", [(n * n,) for n in range(500)])

    def look_up(number: int) -> int:
        (square,) = connection.execute(
            "select square from numbers where rowid = ?", (number + 1,)
        ).fetchone()
        return int(square)

    return look_up


def locked() -> Callable[[int], int]:
    lock = threading.Lock()

    def call(number: int) -> int:
        with lock:
            return -number

    return call


def writing(file: TextIO) -> Callable[[int], int]:
    def call(number: int) -> int:
        file.write(f"{number}\n")
        return number

    return call


def descriptor_writing(path: str) -> Callable[[int], int]:
    def call(number: int) -> int:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            return os.write(descriptor, f"{number}\n".encode())
        finally:
            os.close(descriptor)

    return call
