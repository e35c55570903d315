"""The user's function as `poolwise map` calls it. Workers import this module, so it is small.

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


class Spread:
    """Passes a dict as keyword arguments."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func
        self.__name__ = getattr(func, "__name__", type(func).__name__)
        self.__qualname__ = getattr(func, "__qualname__", self.__name__)

    def __call__(self, value: dict[str, Any]) -> Any:
        return self.func(**value)


class Call:
    """Takes an input, returns the result as JSON text.

    `func` is the user's function: the name under which `functools.partial` keeps it too.

    Raises:
        CallFailed: whatever the function raised, or its result is not JSON.
    """

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func
        self.__name__ = getattr(func, "__name__", type(func).__name__)
        self.__qualname__ = getattr(func, "__qualname__", self.__name__)

    def __call__(self, value: Any) -> str:
        return self._text(None, value)

    def _text(self, index: int | None, value: Any) -> str:
        try:
            result = self.func(value)
        except Stopped:
            raise
        except BaseException as error:  # SystemExit too: one call must not end the others
            raise CallFailed(index, type(error).__name__, _text_of(error)) from error
        try:
            return encode(result)
        except NOT_JSON as error:
            kind = type(result).__name__
            message = f"a result of type {kind} is not JSON: {error}"
            raise CallFailed(index, "TypeError", message) from None


class IndexedCall(Call):
    """Takes an index and an input, returns the index and the result: for results out of order."""

    def __call__(self, value: tuple[int, Any]) -> tuple[int, str]:  # type: ignore[override]
        return value[0], self._text(*value)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the user's own __str__
        return ""
