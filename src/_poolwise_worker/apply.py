"""Calls of different functions in one batch."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from _poolwise_worker.transfer import ModuleState


def apply(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call `function`; what an executor's ``submit`` sends as the task."""
    return function(*args, **kwargs)


#: The pickles that came last, by module and variable.
_brought: dict[tuple[str, str], bytes] = {}


def bring(function: Callable[..., Any], state: ModuleState) -> Callable[..., Any]:
    """Return `function`, with the modules that it uses in the state that they have in the caller.

    It comes with every batch. A variable that the caller has not changed since it came last is
    left as calls here have made it.
    """
    from _poolwise_worker.transfer import dumps, load_function

    changed: ModuleState = {}
    for module, variables in state.items():
        for name, pickled in variables.items():
            if _brought.get((module, name)) != pickled:
                _brought[module, name] = pickled
                changed.setdefault(module, {})[name] = pickled
    if changed:
        load_function(dumps((None, changed)))
    return function
