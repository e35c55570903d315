"""What worker processes call in these tests; they import this, so it imports little."""

from __future__ import annotations

import itertools
import os
import re
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any


def same(value: Any) -> Any:
    return value


def process_id(_: object) -> int:
    return os.getpid()


def die(how: str) -> str:
    if how == "exit":
        os._exit(3)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segfault":
        import ctypes

        ctypes.string_at(0)
    return how


def wait_for(path: str) -> str:
    """Return when the named pipe at `path` is opened for writing and closed."""
    with open(path, "rb") as pipe:
        pipe.read()
    return path


def wait_then_make(path: str, size: int) -> bytes:
    wait_for(path)
    return bytes(size)


def wait_then_write(path: str, made: str) -> None:
    wait_for(path)
    time.sleep(0.02)
    with open(made, "w"):
        pass


def hold_the_gil(_: object) -> object:
    """Compute for years in one C call that never lets go of the GIL."""
    return re.match("(a+)+$", "a" * 60 + "b")


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def fail_deep_inside(value: Any) -> Any:
    def deeper() -> Any:
        raise KeyError(value)

    return deeper()


def fail_on(number: int) -> int:
    if number < 0:
        raise ValueError(number)
    return number


def fail_or_die_on(number: int) -> None:
    if number < 0:
        raise ValueError(number)
    if number == 0:
        os._exit(3)


def raise_it(kind: str) -> Any:
    if kind == "SystemExit":
        sys.exit(7)
    if kind == "KeyboardInterrupt":
        raise KeyboardInterrupt("mine")
    if kind == "GeneratorExit":
        raise GeneratorExit
    if kind == "group":
        raise ExceptionGroup("two", [ValueError(1), TypeError(2)])
    if kind == "notes":
        error = LookupError("noted")
        error.add_note("a note")
        raise error
    if kind == "unpicklable":
        raise ValueError(sys.stdout.buffer)
    if kind == "operating system":
        raise OSError(sys.stdout.buffer)
    if kind == "attribute":
        error = KeyError("kept")
        error.code, error.lock = 3, threading.Lock()  # type: ignore[attr-defined]
        error.add_note("mine")
        raise error
    if kind == "unreadable":
        raise TwoArguments(1, 2)
    if kind == "exits when pickled":
        raise Exiting
    if kind == "tells nothing":
        raise Silent
    return kind


class TwoArguments(Exception):
    """Pickles, and cannot be read again: a common mistake."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class Exiting(Exception):
    def __reduce__(self) -> Any:
        sys.exit(3)


class Silent(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Moody:
    """Pickles the third time only."""

    times = 0

    def __reduce__(self) -> Any:
        Moody.times += 1
        if Moody.times != 3:
            raise ValueError("in a mood")
        return int, (7,)


def make_moody(value: int) -> Any:
    return value if value > 0 else Moody()


def make_too_much(value: int) -> Any:
    """Return what there is memory for once, and not once more; for a little else there is."""
    result = bytearray(40 << 20)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (8 << 20), hard))
    return result


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("I stay here")


class UnreadableIn:
    """Can be unpickled in its own process only, or everywhere but there."""

    def __init__(self, process: int, there: bool) -> None:
        self.process, self.there = process, there

    def __reduce__(self) -> Any:
        return _read, (self.process, self.there)

    def __call__(self, value: Any) -> Any:
        return value


def _read(process: int, there: bool) -> UnreadableIn:
    if (os.getpid() == process) is there:
        raise RuntimeError("not here")
    return UnreadableIn(process, there)


class UnreadableAfter:
    """Unpickling it waits at a named pipe, and fails."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return _wait_and_refuse, (self.path,)


def _wait_and_refuse(path: str) -> Any:
    wait_for(path)
    raise RuntimeError("not here")


class SlowlyUnreadable:
    """Unpickling it takes long, and fails."""

    def __reduce__(self) -> Any:
        return _sleep_and_refuse, (0.1,)


def _sleep_and_refuse(seconds: float) -> Any:
    time.sleep(seconds)
    raise RuntimeError("not here")


class Deadly:
    """Unpickling it ends the process, if it is another one."""

    def __init__(self, home: int) -> None:
        self.home = home

    def __reduce__(self) -> Any:
        return _die_away_from, (self.home,)

    def __call__(self, value: Any) -> Any:
        return value


def _die_away_from(home: int) -> Deadly:
    if os.getpid() != home:
        os._exit(4)
    return Deadly(home)


def make_unpicklable(value: int) -> Any:
    return Unpicklable() if value < 0 else value


def make_unreadable_for(process: int) -> Any:
    return UnreadableIn(process, True)


def surroundings(name: str) -> Any:
    """What the worker sees around it."""
    return {
        "cwd": os.getcwd,
        "environ": lambda: dict(os.environ),
        "path": lambda: list(sys.path),
        "argv": lambda: list(sys.argv),
        "recursionlimit": sys.getrecursionlimit,
        "stdin": sys.stdin.read,
        "descriptor 0": lambda: os.read(0, 1),
        "flags": read_flags,
        "modules": lambda: sorted(sys.modules),
    }[name]()


def read_flags() -> list[tuple[str, Any]]:
    names = [name for name in dir(sys.flags) if not name.startswith(("_", "n_", "count", "index"))]
    return [(name, getattr(sys.flags, name)) for name in names]


def recurse(depth: int) -> int:
    return 0 if depth == 0 else 1 + recurse(depth - 1)


def run_program(text: str) -> str:
    import subprocess

    return subprocess.run(["echo", text], capture_output=True, text=True, check=True).stdout


def add_in_child(method: str, numbers: tuple[int, int]) -> int:
    """Start a child with multiprocessing, and read what it answers."""
    import multiprocessing
    import warnings

    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = context.Process(target=_put_sum, args=(queue, numbers))
        child.start()
    total: int = queue.get()
    child.join()
    queue.close()
    if child.exitcode:
        raise RuntimeError(child.exitcode)
    return total


def _put_sum(queue: Any, numbers: tuple[int, int]) -> None:
    queue.put(sum(numbers))


def leave_a_child(seconds: float) -> tuple[int, int]:
    """Start a program that outlives the worker, with everything that is inheritable."""
    import subprocess

    child = subprocess.Popen(["sleep", str(seconds)], close_fds=False)
    return os.getpid(), child.pid


#: A different one for each call.
_masks = itertools.cycle([signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGQUIT])


def fork_often(times: int) -> list[int]:
    """Fork, with a mask of this thread's own; return the masks that were another afterwards."""
    sys.setswitchinterval(1e-6)  # so that others come in between
    mine = next(_masks)
    signal.pthread_sigmask(signal.SIG_SETMASK, [mine])
    wrong = []
    for _ in range(times):
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        wrong += [int(each) for each in mask ^ {mine}]
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    return wrong
