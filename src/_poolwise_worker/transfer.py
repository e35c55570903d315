"""How objects become bytes and come back, the same on both sides.

Plain pickle first, because it is several times faster; cloudpickle, loaded on first need, for
what only it can carry: lambdas, closures, and everything defined in ``__main__``, which a worker
does not import.
"""

from __future__ import annotations

import sys
from _pickle import dumps as _dumps
from _pickle import loads

from _poolwise_worker.script import WORD

__all__ = [
    "BETWEEN_FORKS",
    "TO_CALLER",
    "TO_OLDER_FORK",
    "TO_WORKER",
    "Pickling",
    "Raised",
    "Ready",
    "Untransferable",
    "describe",
    "dump",
    "dumps",
    "dumps_error",
    "loads",
    "looking",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pickle import PickleBuffer
    from typing import Any

    #: Whether a buffer stays in the pickle; what does not has been taken care of.
    KeepInBand = Callable[[PickleBuffer], bool]

#: What a call raised: the pickled exception, ``None`` if it does not survive pickling, and the
#: worker's traceback as text.
Raised = tuple[bytes | None, str]


class Untransferable(Exception):
    """Raised in the place of a call whose arguments or result could not be carried."""


class Unsendable:
    """Travels in the place of arguments that do not pickle; reading it raises."""

    def __init__(self, why: str) -> None:
        self._why = why

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _refuse, (self._why,)


def _refuse(why: str) -> object:
    raise Untransferable(why)


def describe(error: BaseException) -> str:
    """Return the type and the text of an exception, whatever its ``__str__`` does."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception as another:
        return f"{name}, whose text cannot be had: {type(another).__name__}"


class Pickling:
    """How objects are pickled in one direction.

    A plain pickle that mentions the main script refers to a module that differs between caller and
    worker, unless `shares_main`. Looking for the word in the bytes costs a memory scan; a hook on
    every object would cost a Python call for each. A false alarm costs a slower pickle, nothing
    else.
    """

    def __init__(self, to: str, *, shares_main: bool, left: frozenset[str] = frozenset()) -> None:
        """Pickle `to` one of those that `by_value` knows; `left` are variables of ``__main__`` that
        have come there in another way.
        """
        self._to = to
        self._left = left
        self.shares_main = shares_main

    def without(self, left: frozenset[str]) -> Pickling:
        """Return the same, but functions do not bring these variables of ``__main__``."""
        if not left:
            return self
        return Pickling(self._to, shares_main=self.shares_main, left=left)

    def dumps(self, value: object) -> bytes:
        """Pickle `value`, by value where a reference would not resolve on the other side.

        Raises whatever the object's pickling raises.
        """
        try:
            data = _dumps(value, 5)
            if self.shares_main or WORD not in data:
                return data
        except Exception:  # whatever it was, cloudpickle may do better
            pass
        return self.by_value(value)

    def by_value(self, value: object, keep: KeepInBand | None = None) -> bytes:
        """Pickle what a plain pickle cannot carry; buffers may be kept apart.

        Raises whatever the object's pickling raises.
        """
        from io import BytesIO

        with BytesIO() as file:
            self.write_by_value(value, file, keep)
            return file.getvalue()

    def write_by_value(self, value: object, file: Any, keep: KeepInBand | None) -> None:
        """Do the same, into a file."""
        from _poolwise_worker import by_value

        by_value.write(value, self._to, file, keep, self._left)


#: To a worker that has a ``__main__`` of its own.
TO_WORKER = Pickling("worker", shares_main=False)

#: To the caller from such a worker; nothing in the caller's ``__main__`` may change by it.
TO_CALLER = Pickling("caller", shares_main=False)

#: Between the caller and its forks. What ``__main__`` defines goes by reference, so that on the
#: other side it is what is there already: a copy of a class would make its instances strangers to
#: ``isinstance``.
BETWEEN_FORKS = Pickling("fork", shares_main=True)

#: To a fork that may be older than what is pickled: functions of ``__main__``, which may have been
#: defined anew since, go by value with the variables that they read.
TO_OLDER_FORK = Pickling("older fork", shares_main=False)

dumps = TO_WORKER.dumps

#: The way to the caller of this process; `BETWEEN_FORKS` in its forks.
to_caller = TO_CALLER


def dump(dumps: Callable[..., bytes], *arguments: object) -> tuple[bytes, list[int]]:
    """Call `dumps`, which brings no snapshots; return its pickle and the descriptors to send along,
    which the caller owns.

    Raises whatever `dumps` raises.
    """
    if _CHANNELS not in sys.modules:
        return dumps(*arguments), []
    from _poolwise_worker.descriptors import dump

    return dump(dumps, *arguments)


def looking() -> AbstractContextManager[None]:
    """Within the block, objects are pickled to see whether and how; none is changed for it."""
    if _CHANNELS not in sys.modules:
        return _Nothing()
    from _poolwise_worker.descriptors import only_looking

    return only_looking()


#: All objects of the user's that have descriptors live there: before it is there, there are none,
#: and what looks after them would cost each batch a microsecond.
_CHANNELS = "_poolwise_worker.channels"


class _Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def dumps_error(error: BaseException) -> Raised:
    """Pickle an exception with its traceback as text; prove that it can be read again.

    Raises nothing, whatever the exception does, and if memory is short.
    """
    text = type(error).__name__
    try:
        from traceback import format_exception

        from _poolwise_worker.raised import pack

        # The outermost frame is the worker's own loop.
        shown = error.__traceback__.tb_next if error.__traceback__ else None
        text = "".join(format_exception(type(error), error, shown))
        return pack(error), text
    except BaseException:
        return None, text


class Ready:
    """In the place of a value that has been pickled: reading it reads that."""

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        return loads, (self._pickled,)
