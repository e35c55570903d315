"""What runs in workers, so that the laws can be seen to hold."""

from __future__ import annotations

import os
import select
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from poolwise.ipc import Inbox


class Gate:
    """Calls stop at it and say so; the owner lets them pass, as many as it likes.

    Two named pipes do it, because they are the same for threads and for processes. Leaving the
    ``with`` block lets all pass that have come and will come: the pipes lose their names first,
    so whoever has opened one did so while this end was open, and sees it close.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._folder = tempfile.TemporaryDirectory(prefix="poolwise-gate-")
        self.path = self._folder.name
        self.arrived: list[int] = []
        for name in ("arrivals", "passes"):
            os.mkfifo(f"{self.path}/{name}")
        # For both directions: so it opens at once, and the other side never sees the end.
        self.arrivals = os.open(f"{self.path}/arrivals", os.O_RDWR)
        self._passes = os.open(f"{self.path}/passes", os.O_RDWR)
        inbox.watch(self.arrivals, select.POLLIN, self.hear)

    def let_pass(self, calls: int) -> None:
        """Let so many calls pass."""
        os.write(self._passes, b"." * calls)

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *raised: object) -> None:
        self._folder.cleanup()
        self._inbox.unwatch(self.arrivals)
        os.close(self._passes)
        os.close(self.arrivals)

    def hear(self) -> None:
        """Note the calls that have arrived."""
        self.arrived += map(int, os.read(self.arrivals, 4096).split())


def stop_at(gate: str, number: int) -> int:
    """Stop at the gate with that path; return `number` when it has let the call pass."""
    with (
        suppress(FileNotFoundError),
        open(f"{gate}/passes", "rb", buffering=0) as passes,
        # Not for writing alone, which makes a file where the pipe has just lost its name.
        open(f"{gate}/arrivals", "r+b", buffering=0) as arrivals,
    ):
        arrivals.write(b"%d\n" % number)
        passes.read(1)
    return number


def same(value: object) -> object:
    """Return what was given."""
    return value


def process_id(_: object) -> int:
    """Say where this runs."""
    return os.getpid()


def even_or_raise(number: int) -> int:
    """Return an even number; raises `ValueError` for an odd one."""
    if number % 2:
        raise ValueError(number)
    return number


def note(path: str, number: int) -> None:
    """Add a number to the file, from whatever process."""
    with open(path, "ab", buffering=0) as notes:
        notes.write(b"%d\n" % number)


def noted(path: str) -> list[int]:
    """Return the numbers that were noted, in order."""
    return [*map(int, Path(path).read_text().split())] if Path(path).exists() else []


def note_and_die_at(path: str, number: int, last: int, by: int) -> int:
    """Note `number`, and if it is the `last`, end this process by a signal of that number."""
    note(path, number)
    if number == last:
        os.kill(os.getpid(), by)
        os._exit(by)
    return number


def note_after_sleep(gate: str, path: str) -> None:
    """Stop at the gate, and go on for a while."""
    stop_at(gate, 0)
    time.sleep(0.05)
    note(path, 0)


class Loading:
    """A function that leaves a note wherever it is unpickled."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self, value: object) -> object:
        """Return what was given."""
        return value

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__dict__ = state
        note(self._path, os.getpid())
