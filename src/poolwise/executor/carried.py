"""Functions as they are sent to processes: with the module-level variables that they read."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from _poolwise_worker.apply import bring
from _poolwise_worker.transfer import ModuleState
from poolwise.executor.functions import Seen
from poolwise.mechanisms.module_state import module_state
from poolwise.units import Bytes

#: What goes along with every batch must be small. Larger variables a worker makes for itself when
#: it imports their module.
STATE_AT_MOST: Bytes = 64 << 10

#: Variables are looked at again after so many times as long as looking takes, so that it costs a
#: per cent of the time: before almost every batch, if they are small.
_LOOK_AFTER = 100


class Carried:
    """In the place of a function in a batch; a worker reads it as the function itself."""

    __slots__ = ("_function", "_state")

    def __init__(self, function: Callable[..., Any], state: ModuleState) -> None:
        self._function = function
        self._state = state

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return bring, (self._function, self._state)


def carried(function: Callable[..., Any], seen: Seen) -> object:
    """Return what to send for `function`: itself, if it reads no variables."""
    now = perf_counter()
    if now >= seen.look_at:
        seen.state = _state_of(function)
        seen.look_at = now + _LOOK_AFTER * (perf_counter() - now)
    return Carried(function, seen.state) if seen.state else function


def _state_of(function: Callable[..., Any]) -> ModuleState:
    try:
        state = module_state(function)
    except Exception:  # whatever a thing that looks like a function does
        return {}
    size = sum(len(pickled) for module in state.values() for pickled in module.values())
    return state if size <= STATE_AT_MOST else {}
