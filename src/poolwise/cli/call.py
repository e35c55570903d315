"""The user's function as the command calls it. Workers import this module, so it is small.

Results become JSON where they were computed: in parallel, and what is not JSON fails in the same
way under every plan, whether it pickles or not.
"""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import JSONEncoder
from threading import get_ident
from typing import Any

from poolwise.cli.errors import CallFailed, NotBegun, Stopped

#: ASCII, so that it survives every locale; NaN and infinities are not JSON.
encode = JSONEncoder(allow_nan=False).encode

#: What `encode` raises for what is not JSON.
NOT_JSON = (TypeError, ValueError, RecursionError)


class _Beginning:
    """Which calls of this process have begun, and whether others still may. For any thread.

    Once it has ended, a call begins only if one behind it has begun: so what was computed has no
    gaps. Without a lock, because the signal handler that ends it may have interrupted a call.
    """

    def __init__(self) -> None:
        self._furthest: dict[int, int] = {}  # for each thread, which sets its own
        self._ended = False
        self._last: dict[None, int] = {}  # decided on once, by whoever is first

    def end(self) -> None:
        """Hold back what has not begun."""
        self._ended = True
        self._decide()

    def pass_or_hold_back(self, index: int) -> None:
        """Have a call begin.

        Raises:
            NotBegun: it must not.
        """
        me = get_ident()
        # Before the look at `_ended`: whoever has seen that it has not ended is in here when the
        # last is decided on.
        if self._furthest.get(me, -1) < index:
            self._furthest[me] = index
        if self._ended and index > self._decide():
            raise NotBegun(index)

    def _decide(self) -> int:
        """Return the last call that begins. Both steps are atomic, so all are told the same."""
        return self._last.setdefault(None, max(list(self._furthest.values()), default=-1))


#: Of the process and not of a `Call`, which is sent to workers, and whose state a plan would mind.
_beginning = _Beginning()


def begin_no_more() -> None:
    """Have calls of this process that have not begun raise `NotBegun`, but for those before one
    that has. A signal handler may call it.
    """
    _beginning.end()


class _Wrapper:
    """Holds the user's function as `func`, like `functools.partial`, and takes on its name."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func
        self.__name__ = getattr(func, "__name__", type(func).__name__)
        self.__qualname__ = getattr(func, "__qualname__", self.__name__)


class Spread(_Wrapper):
    """Passes a dict as keyword arguments."""

    def __call__(self, value: dict[str, Any]) -> Any:
        """Call the function."""
        return self.func(**value)


class Call(_Wrapper):
    """Takes an input with its index, returns the index and the result as JSON text."""

    def __call__(self, numbered: tuple[int, Any]) -> tuple[int, str]:
        """Call the function.

        Raises:
            CallFailed: it raised, or its result is not JSON.
            NotBegun: it was held back.
        """
        index, value = numbered
        _beginning.pass_or_hold_back(index)
        try:
            result = self.func(value)
        except Stopped:
            raise
        except BaseException as error:  # SystemExit too: one call must not end the others
            raise CallFailed(index, type(error).__name__, text_of(error)) from error
        try:
            return index, encode(result)
        except NOT_JSON as error:
            message = f"a result of type {type(result).__name__} is not JSON: {error}"
            raise CallFailed(index, "TypeError", message) from None


def text_of(error: BaseException) -> str:
    """Return what an exception says; ``""`` if its own ``__str__`` fails."""
    try:
        return str(error)
    except Exception:  # the user's own __str__
        return ""
