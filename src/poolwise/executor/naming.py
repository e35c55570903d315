"""Options by their names: one that there is not is refused with the one that was meant."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

#: What other libraries call it.
_ELSEWHERE = {
    "backend": "mechanism",
    "batch_size": "chunksize",
    "chunk_size": "chunksize",
    "max_threads": "max_workers",
    "maxtasksperchild": "max_tasks_per_child",
    "n_jobs": "max_workers",
    "n_workers": "max_workers",
    "processes": "max_workers",
    "threads": "max_workers",
    "timeout": "task_timeout",
    "workers": "max_workers",
}


def known_options(shown: str) -> Callable[[F], F]:
    """Have a function refuse keyword arguments that it does not take, each with the option that
    was most likely meant; `shown` is what users call the function.

    >>> @known_options("example")
    ... def example(*, max_workers: int = 1) -> int:
    ...     return max_workers
    >>> example(max_worker=3)
    Traceback (most recent call last):
    TypeError: example has no option 'max_worker'; did you mean 'max_workers'?
    """

    def decorated(function: F) -> F:
        parameters = inspect.signature(function).parameters.values()
        known = frozenset(
            each.name
            for each in parameters
            if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)
        )

        @wraps(function)
        def checked(*args: Any, **options: Any) -> Any:
            if not known >= options.keys():
                raise _unknown(shown, options.keys() - known, known)
            return function(*args, **options)

        return cast(F, checked)

    return decorated


def option_meant(name: str, known: Collection[str]) -> str | None:
    """Return the option of those `known` that was most likely meant, if one is like it."""
    meant = _ELSEWHERE.get(name)
    if meant in known:
        return meant
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, known, 1)), None)


def _unknown(shown: str, unknown: set[str], known: frozenset[str]) -> TypeError:
    name = min(unknown)
    meant = option_meant(name, known)
    hint = "docs/options.md lists all" if meant is None else f"did you mean {meant!r}?"
    return TypeError(f"{shown} has no option {name!r}; {hint}")
