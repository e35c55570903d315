"""Pickling by value what cannot be imported on the other side, with `cloudpickle`.

Functions of ``__main__`` all get the ``__main__`` of the worker for their globals, whatever pickle
brings them: an initializer that sets a global sets it for every function. A variable that a pickle
brings is set there if the caller has changed it since it came last; if not, the worker keeps what
its own calls have made of it.
"""

from __future__ import annotations

import io
import sys
from functools import lru_cache
from types import FunctionType, ModuleType
from weakref import WeakSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from _poolwise_worker.transfer import KeepInBand


def dumps(value: object, keep: KeepInBand | None = None) -> bytes:
    """Pickle for a worker that does not have this ``__main__``.

    Raises whatever pickling raises.
    """
    with io.BytesIO() as file:
        _picklers()[0](file, keep).dump(value)
        return file.getvalue()


def dumps_between_forks(value: object, keep: KeepInBand | None = None) -> bytes:
    """Pickle for a fork: lambdas and closures by value, what can be found by name by reference.

    Raises whatever pickling raises.
    """
    with io.BytesIO() as file:
        _picklers()[1](file, keep).dump(value)
        return file.getvalue()


def dumps_current(value: object, keep: KeepInBand | None = None) -> bytes:
    """Pickle for a fork that may be older than functions of ``__main__``: these go by value.

    Raises whatever pickling raises.
    """
    with io.BytesIO() as file:
        _picklers()[2](file, keep).dump(value)
        return file.getvalue()


def dumps_to_caller(value: object, keep: KeepInBand | None = None) -> bytes:
    """Pickle for the caller. Classes that came from its ``__main__`` go back by name: to read one
    by value would put the methods of the copy here, with their globals, into the caller's own.

    Raises whatever pickling raises.
    """
    with io.BytesIO() as file:
        _picklers()[3](file, keep).dump(value)
        return file.getvalue()


_made: list[Any] = []


def _picklers() -> list[Any]:
    """Return the picklers, made on first need: importing `cloudpickle` takes 20 ms."""
    if _made:
        return _made
    import cloudpickle

    class ByValue(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
        def __init__(self, file: io.BytesIO, keep: KeepInBand | None) -> None:
            super().__init__(file, 5, buffer_callback=keep)
            self.globals_ref[id(_main_globals())] = _MainGlobals()

        def reducer_override(self, obj: object) -> object:
            if isinstance(obj, _Cached) and obj.__module__ == "__main__":
                # Otherwise it would go by reference, as all that says so does.
                return _cached, (obj.__wrapped__, obj.cache_parameters())
            reduced = super().reducer_override(obj)
            by_value = isinstance(reduced, tuple) and len(reduced) == 6
            if isinstance(obj, type) and by_value and _is_mains(obj):
                return (*reduced[:5], _set_class)
            return reduced

        def _dynamic_function_reduce(self, func: FunctionType) -> tuple[Any, ...]:
            reduced = super()._dynamic_function_reduce(func)
            if func.__globals__ is not _main_globals():
                return reduced  # type: ignore[no-any-return]
            return (*reduced[:5], _set_state)

    class BetweenForks(ByValue):
        def reducer_override(self, obj: object) -> object:
            if isinstance(obj, FunctionType | type | _Cached) and _is_where_it_says(obj):
                return NotImplemented  # by reference
            return super().reducer_override(obj)

    class ToCaller(cloudpickle.Pickler):  # type: ignore[misc]  # as above
        def __init__(self, file: io.BytesIO, keep: KeepInBand | None) -> None:
            super().__init__(file, 5, buffer_callback=keep)

        def reducer_override(self, obj: object) -> object:
            if isinstance(obj, type) and obj in _of_caller:
                return _in_main, (obj.__qualname__,)
            return super().reducer_override(obj)

    class Current(BetweenForks):
        def reducer_override(self, obj: object) -> object:
            if isinstance(obj, FunctionType) and obj.__globals__ is _main_globals():
                return self._dynamic_function_reduce(obj)
            return super().reducer_override(obj)

    _made[:] = ByValue, BetweenForks, Current, ToCaller
    return _made


#: What `functools.lru_cache` makes of a function.
_Cached = type(lru_cache(len))


def _cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Callable[..., Any]:
    """Return a cached function of this process, whose cache is empty."""
    cached: Callable[..., Any] = lru_cache(**parameters)(function)
    return cached


def _is_where_it_says(definition: Any) -> bool:
    module = definition.__module__
    if "." in module and module.rpartition(".")[0] not in sys.modules:
        return False  # under a name that cannot be imported
    found: object = sys.modules.get(module)
    for name in definition.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is definition


def _is_mains(cls: type) -> bool:
    return cls.__module__ == "__main__" and _is_where_it_says(cls)


class _MainGlobals:
    """Becomes the globals of ``__main__``, wherever it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return _main_globals, ()


def _main_globals() -> dict[str, object]:
    return vars(sys.modules["__main__"])


#: Classes here that are copies of what the caller's ``__main__`` has. Added to by whichever thread
#: reads one; a set's methods are atomic.
_of_caller: WeakSet[type] = WeakSet()


def _set_class(cls: type, state: object) -> type:
    """Set what a class consists of, and note where it came from."""
    from cloudpickle.cloudpickle import _class_setstate

    _of_caller.add(cls)
    done: type = _class_setstate(cls, state)
    return done


def _in_main(qualname: str) -> object:
    found: object = sys.modules["__main__"]
    for name in qualname.split("."):
        found = getattr(found, name)
    return found


#: Of each variable of ``__main__`` that has come, a fingerprint of what came last. Two threads that
#: bring the same variable bring the same value.
_last: dict[str, bytes] = {}


def _set_state(function: FunctionType, state: tuple[dict[str, object], dict[str, Any]]) -> None:
    """Set what a function consists of; see `cloudpickle.cloudpickle._function_setstate`."""
    from cloudpickle.cloudpickle import _function_setstate

    brought = state[1]["__globals__"]
    state[1]["__globals__"] = {
        name: value for name, value in brought.items() if _is_new(name, value)
    }
    _function_setstate(function, state)


def _is_new(name: str, value: object) -> bool:
    if isinstance(value, FunctionType | type | ModuleType):
        return True
    from hashlib import blake2b

    import cloudpickle

    try:
        fingerprint = blake2b(cloudpickle.dumps(value)).digest()
    except Exception:  # it has come all right; but it cannot be compared
        return True
    new = _last.get(name) != fingerprint
    _last[name] = fingerprint
    return new
