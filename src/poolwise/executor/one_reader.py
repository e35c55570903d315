"""One thread at a time reads a run; one that reads while another does is told so, and harms nobody.

The chain of parts, `BaseRun`, is C code. Where asking for the next part raises, it ends for all its
readers; and where two threads ask at once, the part of the later takes the place of the other's, of
which the rest would be lost. So who comes second gets a part, too: one that raises in its thread,
and is for all others what is left of the last one.

Rejected: a lock around each result. To take it costs more than the rest of ``next()``.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import get_ident


class OneReader:
    """Which thread is inside of ``next()`` of a drive, and the part that it took last."""

    def __init__(self) -> None:
        # Set and looked at in one atomic step. Not a lock: Ctrl-C after it was acquired, and before
        # what releases it is in force, would keep out the same thread for ever.
        self._inside: dict[str, int] = {}
        self._last: Iterator[object] = iter(())

    def enter(self) -> bool:
        """Note that this thread reads; whether no other does."""
        return self._inside.setdefault("thread", get_ident()) == get_ident()

    def leave(self, part: Iterator[object] | None = None) -> None:
        """Note that the thread that has entered reads no more, and what it takes along."""
        self._last = iter(()) if part is None else part
        self._inside.clear()

    def refusal(self) -> Iterator[object]:
        """Return the part for a thread that was not let in, or for who asks from within."""
        return _Refusal(self, inside=self._inside.get("thread") == get_ident())

    def check(self) -> None:
        """Refuse what only the thread may do that reads, if there is one.

        Raises:
            RuntimeError: another thread is inside.
        """
        if self._inside.get("thread", get_ident()) != get_ident():
            raise _error(inside=False)

    def last(self) -> Iterator[object]:
        """Return the latest part that was taken; its reader and who was refused share it."""
        return self._last


class _Refusal(Iterator[object]):
    def __init__(self, reader: OneReader, *, inside: bool) -> None:
        self._reader = reader
        self._own = inside
        self._thread: int | None = get_ident()

    def __next__(self) -> object:
        if self._thread == get_ident():
            self._thread = None
            raise _error(inside=self._own)
        return next(self._reader.last())


def _error(*, inside: bool) -> RuntimeError:
    return RuntimeError(
        "a run cannot be read by its own function, inputs or progress callback, while it is read"
        if inside
        else "a run is read by one thread at a time, and another is reading it now"
    )
