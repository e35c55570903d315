"""What the tests of the executor run: imported by workers too, so it imports next to nothing."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from pathlib import Path

#: Seconds after which something that never happens is given up. Only a failing test spends them.
DEADLINE = 30.0


def where() -> tuple[int, int]:
    """The process and the thread that run this."""
    return os.getpid(), threading.get_ident()


def pid_of(_: object) -> int:
    return os.getpid()


def square(number: int) -> int:
    return number * number


def identity(value: object) -> object:
    return value


#: Filled by the test, at run time.
SETTINGS: dict[str, int] = {}

#: Filled by calls, for themselves.
CACHE: dict[int, int] = {}


def use_settings(number: int) -> tuple[int | None, int]:
    CACHE[number] = number
    return SETTINGS.get("level"), len(CACHE)


def fail(error: BaseException) -> None:
    raise error


def time_out_on_one(number: int) -> int:
    if number == 1:
        raise TimeoutError("its own")
    return number


def stop_on_one(number: int) -> int:
    if number == 1:
        raise StopIteration("its own")
    return number


def capture(*args: object, **kwargs: object) -> object:
    return args, kwargs


def die_on(number: int, victim: int) -> int:
    """Take 2 ms; one call takes its process with it."""
    time.sleep(0.002)
    if number == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def compute(seconds: float) -> int:
    """Hold the GIL for so much CPU time, and say in which process."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(200))
    return os.getpid()


class Thing:
    """Something whose end can be seen."""

    def method(self) -> None:
        pass


def make_thing(_: object) -> Thing:
    return Thing()


def raise_with(thing: object) -> None:
    raise ValueError(thing)


class Gate:
    """Calls say that they have started and wait to be let go, in any thread or process.

    Two named pipes: each call writes a byte into one and reads a byte from the other.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = folder / "started", folder / "let go"
        for path in self._paths:
            os.mkfifo(path)
        # Both directions, so that neither opening nor reading meets an end.
        self._ends = [os.open(path, os.O_RDWR | os.O_CLOEXEC) for path in self._paths]

    def __getstate__(self) -> object:
        return self._paths

    def __setstate__(self, state: tuple[Path, Path]) -> None:
        self._paths, self._ends = state, []

    def __call__(self, value: object = None) -> object:
        """Start, wait, and return `value`."""
        started = os.open(self._paths[0], os.O_WRONLY)
        os.write(started, b"s")
        os.close(started)
        let_go = os.open(self._paths[1], os.O_RDWR)
        os.read(let_go, 1)
        os.close(let_go)
        return value

    def await_started(self, calls: int = 1) -> None:
        """Wait until so many more calls have started."""
        until = time.monotonic() + DEADLINE
        while calls:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._ends[0]], [], [], left)[0]:
                raise TimeoutError(f"{calls} calls have not started")
            calls -= len(os.read(self._ends[0], calls))

    def started(self) -> int:
        """How many calls have started that nobody has awaited."""
        ready = select.select([self._ends[0]], [], [], 0)[0]
        return len(os.read(self._ends[0], 4096)) if ready else 0

    def let_go(self, calls: int = 1) -> None:
        """Let so many calls end, those that start later included."""
        os.write(self._ends[1], b"g" * calls)

    def close(self) -> None:
        for end in self._ends:
            os.close(end)


_prepared = threading.local()


def prepare() -> None:
    """Mark this thread."""
    _prepared.yes = True


def initialized() -> bool:
    """Whether this thread was marked."""
    return getattr(_prepared, "yes", False)


def current_thread_name() -> str:
    return threading.current_thread().name


def note(number: int) -> int:
    """Note a number in the worker; not in a variable of this module, which would travel."""
    vars(os).setdefault("_noted", []).append(number)
    return number


def noted(_: object = None) -> list[int]:
    return vars(os)["_noted"]  # type: ignore[no-any-return]


def wait_for(path: str) -> int:
    """Open a pipe, which lasts until somebody writes."""
    with open(path) as file:
        return len(file.read())


def exit_if(code: int) -> None:
    if code:
        os._exit(code)
