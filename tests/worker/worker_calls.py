"""What workers call in these tests; they import this, so it imports little."""

from __future__ import annotations

import os
import re
import threading
import time
from typing import Any


def same(value: Any) -> Any:
    return value


def fail(value: Any) -> Any:
    raise ValueError(value)


def fail_on_odd(value: int) -> int:
    if value % 2:
        raise ValueError(value)
    return value


def wait_for(path: str) -> str:
    """Return when the named pipe at `path` is opened for writing and closed."""
    with open(path, "rb") as pipe:
        pipe.read()
    return path


def sleep_then_fail_on(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def hold_the_gil(_: object) -> object:
    """Compute for years in one C call that never lets go of the GIL."""
    return re.match("(a+)+$", "a" * 60 + "b")


def fork_and_return(_: object) -> int:
    """Come back twice: from this process and from a child."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return child


def inherited_by_programs(_: object) -> list[int]:
    return [fd for fd in range(3, 256) if _is_open(fd) and os.get_inheritable(fd)]


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def runs_in_main_thread(_: object) -> bool:
    return threading.current_thread() is threading.main_thread()


class Refusing:
    """Cannot be unpickled."""

    def __reduce__(self) -> Any:
        return fail, ("refused",)
