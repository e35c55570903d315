"""Calls of different functions in one batch."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def apply(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call `function`; what an executor's ``submit`` sends as the task."""
    return function(*args, **kwargs)


def applying(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what stands for `apply` in a task whose calls are all of one function."""

    def apply(_: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return function(*args, **kwargs)

    return apply
