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


def bring(function: Callable[..., Any], state: ModuleState) -> Callable[..., Any]:
    """Return `function`, with the modules that it uses in the state that they have in the caller.

    It comes with every batch.
    """
    from _poolwise_worker.transfer import take_state

    take_state(state)
    return function
