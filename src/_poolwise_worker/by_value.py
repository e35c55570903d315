"""Pickling by value what cannot be imported on the other side, with `cloudpickle`.

Functions of ``__main__`` all get the ``__main__`` of the worker for their globals, whatever pickle
brings them: an initializer that sets a global sets it for every function. A variable that a pickle
brings is set there if the caller has changed it since it came last; if not, the worker keeps what
its own calls have made of it.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from types import FunctionType, ModuleType
from weakref import WeakSet, WeakValueDictionary

from _poolwise_worker import dynamic, script, state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from _poolwise_worker.transfer import KeepInBand


def write(value: object, to: str, file: Any, keep: KeepInBand | None, left: frozenset[str]) -> None:
    """Write to `file` what `to` can read: functions of ``__main__`` without the variables that are
    `left` out, because they have come there in another way.

    A "worker" does not have this ``__main__``. In a "fork", what can be found by name goes by
    reference; an "older fork" may be older than functions of ``__main__``, so these go by value.
    To the "caller", classes that came from its ``__main__`` go back by name: to read one by value
    would put the methods of the copy there, with their globals, into its own.

    Raises whatever pickling raises.
    """
    pickler = _picklers()[to](file, keep)
    pickler.left = left
    pickler.dump(value)


#: Set once it is complete, so that nobody sees a part of it. Two threads may make one each, and
#: either will do.
_made: dict[str, Any] | None = None


def _picklers() -> dict[str, Any]:
    """Return the picklers, made on first need: importing `cloudpickle` takes 20 ms."""
    global _made
    if _made is not None:
        return _made
    Dynamic: Any = dynamic.pickler()

    class ByValue(Dynamic):  # type: ignore[misc]  # cloudpickle has no types
        left: frozenset[str]

        def __init__(self, file: Any, keep: KeepInBand | None) -> None:
            super().__init__(file, 5, buffer_callback=keep)
            # One for all of the pickle: another thread may have another ``__main__`` for a while,
            # as `runpy` and the ``%run`` of notebooks do.
            self.main = script.variables()
            self.globals_ref[id(self.main)] = _MainGlobals()

        def reducer_override(self, obj: object) -> object:
            if isinstance(obj, _Cached) and script.is_named(obj.__module__):
                # Otherwise it would go by reference, as all that says so does.
                return _cached, (obj.__wrapped__, obj.cache_parameters())
            if not isinstance(obj, FunctionType | type):
                return super().reducer_override(obj)
            reduced = _at_one_moment(super().reducer_override, obj)
            by_value = isinstance(reduced, tuple) and len(reduced) == dynamic.PARTS
            if isinstance(obj, type) and by_value and _is_mains(obj):
                return (*reduced[:5], _set_class)
            return reduced

        def _dynamic_function_reduce(self, func: FunctionType) -> tuple[Any, ...]:
            reduced: tuple[Any, ...] = super()._dynamic_function_reduce(func)
            if func.__globals__ is not self.main:
                return reduced
            variables = reduced[2][1]["__globals__"]
            for name in self.left & variables.keys():
                del variables[name]
            return (*reduced[:5], _set_state)

    class BetweenForks(ByValue):
        def reducer_override(self, obj: object) -> object:
            if isinstance(obj, FunctionType | type | _Cached) and _is_where_it_says(obj):
                return NotImplemented  # by reference
            return super().reducer_override(obj)

    class ToCaller(Dynamic):  # type: ignore[misc]  # as above
        def __init__(self, file: Any, keep: KeepInBand | None) -> None:
            super().__init__(file, 5, buffer_callback=keep)

        def reducer_override(self, obj: object) -> object:
            if isinstance(obj, type) and obj in _of_caller:
                return script.of_caller, (obj.__qualname__,)
            if not isinstance(obj, FunctionType | type):
                return super().reducer_override(obj)
            return _at_one_moment(super().reducer_override, obj)

    class Current(BetweenForks):
        def reducer_override(self, obj: object) -> object:
            if isinstance(obj, FunctionType) and obj.__globals__ is self.main:
                return _at_one_moment(self._dynamic_function_reduce, obj)
            return super().reducer_override(obj)

    made = {"worker": ByValue, "fork": BetweenForks, "older fork": Current, "caller": ToCaller}
    _made = made
    return made


#: So often a definition is looked at again that another thread has changed meanwhile. To look takes
#: microseconds, so who changes it each time means to.
_LOOKS = 100


def _at_one_moment(reduce: Callable[[Any], Any], definition: object) -> Any:
    """Take a function or a class apart as it was at one moment; again, if it has changed meanwhile.

    Its attributes are variables like others: calls that run in threads set and delete them while
    this thread takes them one by one, and then finds one that is new, or misses one. Looking
    changes nothing, so it can be repeated.
    """
    for _ in range(_LOOKS):
        try:
            return reduce(definition)
        except (KeyError, RuntimeError) as error:
            if isinstance(error, RecursionError | NotImplementedError):
                raise
    return reduce(definition)


#: What `functools.lru_cache` makes of a function.
_Cached = type(lru_cache(len))


def _cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Callable[..., Any]:
    """Return a cached function of this process, whose cache is empty."""
    cached: Callable[..., Any] = lru_cache(**parameters)(function)
    return cached


def _is_where_it_says(definition: Any) -> bool:
    module = definition.__module__
    if not isinstance(module, str):  # what `exec` has made says nothing
        return False
    if "." in module and module.rpartition(".")[0] not in sys.modules:
        return False  # under a name that cannot be imported
    found: object = script.Variables() if script.is_named(module) else sys.modules.get(module)
    for name in definition.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is definition


def _is_mains(cls: type) -> bool:
    return script.is_named(cls.__module__) and _is_where_it_says(cls)


class _MainGlobals:
    """Becomes the globals of ``__main__``, wherever it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return script.variables, ()


#: Classes here that are copies of what the caller's ``__main__`` has. Added to by whichever thread
#: reads one; a set's methods are atomic.
_of_caller: WeakSet[type] = WeakSet()
script.copies = WeakValueDictionary()


def _set_class(cls: type, state: object) -> type:
    """Set what a class consists of, and note where it came from."""
    from cloudpickle.cloudpickle import _class_setstate

    _of_caller.add(cls)
    script.copies[cls.__qualname__] = cls
    done: type = _class_setstate(cls, state)
    return done


def _set_state(function: FunctionType, parts: tuple[dict[str, object], dict[str, Any]]) -> None:
    """Set what a function consists of; see `cloudpickle.cloudpickle._function_setstate`."""
    from cloudpickle.cloudpickle import _function_setstate

    brought = parts[1]["__globals__"]
    parts[1]["__globals__"] = {}
    # Outside the lock, because it runs code of the user's.
    known = {name: (value, _fingerprint(value)) for name, value in brought.items()}
    state.set_new(function.__globals__, known)
    _function_setstate(function, parts)


def _fingerprint(value: object) -> bytes | None:
    """Return what tells a value from another; ``None`` for what is always taken for another."""
    if isinstance(value, FunctionType | type | ModuleType):
        return None
    from hashlib import blake2b

    import cloudpickle

    try:
        return blake2b(cloudpickle.dumps(value)).digest()
    except Exception:  # it has come all right; but it cannot be compared
        return None
