"""The user's function as the command calls it. Workers import this module, so it is small.

Results become JSON where they were computed: in parallel, and what is not JSON fails in the same
way under every plan, whether it pickles or not.
"""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import JSONEncoder
from typing import Any

from poolwise.cli.errors import CallFailed, Stopped

#: ASCII, so that it survives every locale; NaN and infinities are not JSON.
encode = JSONEncoder(allow_nan=False).encode

#: What `encode` raises for what is not JSON.
NOT_JSON = (TypeError, ValueError, RecursionError)


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
        """
        index, value = numbered
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
