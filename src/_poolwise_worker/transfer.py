"""How objects become bytes and come back, the same on both sides.

Plain pickle first, because it is several times faster; cloudpickle, loaded on first need, for
what only it can carry: lambdas, closures, and everything defined in ``__main__``, which a worker
does not import.
"""

from __future__ import annotations

from _pickle import dumps as _dumps
from _pickle import loads

__all__ = [
    "ModuleState",
    "Raised",
    "Untransferable",
    "came",
    "describe",
    "dumps",
    "dumps_between_forks",
    "dumps_current",
    "dumps_error",
    "dumps_from_worker",
    "load_function",
    "loads",
    "take_state",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: What a call raised: the pickled exception, ``None`` if it does not survive pickling, and the
#: worker's traceback as text.
Raised = tuple[bytes | None, str]


#: Pickled module-level variables, by module and name.
ModuleState = dict[str, dict[str, bytes]]


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


def dumps(value: object) -> bytes:
    """Pickle `value`, by value where a reference would not resolve on the other side.

    A plain pickle that mentions ``__main__`` refers to a module that differs between caller and
    worker. Looking for the word in the bytes costs a memory scan; a hook on every object would
    cost a Python call for each. A false alarm costs a slower pickle, nothing else.

    Raises whatever the object's pickling raises.
    """
    try:
        data = _dumps(value, 5)
        if b"__main__" not in data:
            return data
    except Exception:  # whatever it was, cloudpickle may do better
        pass
    from _poolwise_worker import by_value

    return by_value.dumps(value)


def dumps_from_worker(value: object) -> bytes:
    """Pickle `value` for the caller, which has its own ``__main__``: nothing of it may change.

    Raises whatever the object's pickling raises.
    """
    try:
        data = _dumps(value, 5)
        if b"__main__" not in data:
            return data
    except Exception:  # as above
        pass
    import cloudpickle

    result: bytes = cloudpickle.dumps(value, 5)
    return result


def dumps_between_forks(value: object) -> bytes:
    """Pickle `value` for a process that has the same ``__main__``: one of the two was forked.

    What ``__main__`` defines goes by reference, so that on the other side it is what is there
    already: a copy of a class would make its instances strangers to ``isinstance``.

    Raises whatever the object's pickling raises.
    """
    try:
        return _dumps(value, 5)
    except Exception:  # as above
        pass
    from _poolwise_worker import by_value

    return by_value.dumps_between_forks(value)


def dumps_current(value: object) -> bytes:
    """Pickle `value` for a process that was forked before it was made: functions of ``__main__``,
    which may have been defined anew since, go by value with the variables that they read.

    Raises whatever the object's pickling raises.
    """
    try:
        data = _dumps(value, 5)
        if b"__main__" not in data:
            return data
    except Exception:  # as above
        pass
    from _poolwise_worker import by_value

    return by_value.dumps_current(value)


#: How results and exceptions are pickled for the caller; another function in forks of the caller.
to_caller: Callable[[object], bytes] = dumps_from_worker


#: The pickles of variables that came last, by module and name. Two threads of a worker that bring
#: the same variable bring the same value.
came: dict[tuple[str, str], bytes] = {}


def load_function(payload: bytes | bytearray) -> Callable[..., Any]:
    """Read a function, and bring the modules that it uses to the state they have in the caller.

    Raises whatever reading raises.
    """
    function: Callable[..., Any]
    function, state = loads(payload)
    take_state(state)
    return function


def take_state(state: ModuleState) -> None:
    """Set variables that the caller has changed since they came last.

    What it has not changed stays as calls here have made it: a cache is filled once. What equals
    the value here keeps its identity: where the pickles are equal, nothing is replaced.

    Raises whatever reading raises.
    """
    from importlib import import_module

    for name, variables in state.items():
        module = import_module(name)
        for variable, pickled in variables.items():
            if came.get((name, variable)) == pickled:
                continue
            try:
                same = dumps(getattr(module, variable)) == pickled
            except Exception:
                same = False
            if not same:
                setattr(module, variable, loads(pickled))
            came[name, variable] = pickled


def dumps_error(error: BaseException) -> Raised:
    """Pickle an exception with its traceback as text; prove that it can be read again."""
    from traceback import format_exception

    # The outermost frame is the worker's own loop.
    shown = error.__traceback__.tb_next if error.__traceback__ else None
    text = "".join(format_exception(type(error), error, shown))
    try:
        data = to_caller(error)
        loads(data)
    except Exception:
        return None, text
    return data, text
