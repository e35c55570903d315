"""Pickling for whoever reads it: classes and functions that cannot be imported, with `cloudpickle`.

Who puts a message does not know who gets it. So what ``__main__`` or a function defines goes by
value, and the reader takes its own instead where it has it: a copy would make its instances
strangers to ``isinstance``, and an enumeration's members strangers to ``is``. Nothing that is there
already is changed: to read a class by value a second time would put the methods of the sender,
with their globals, into the reader's class.
"""

from __future__ import annotations

import io
import sys
from types import CodeType, FunctionType
from weakref import WeakSet

from _poolwise_worker import PROGRAM, dynamic, script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pickle import PickleBuffer
    from typing import Any, TypeAlias

    #: A program, the file of its main script, whether `multiprocessing` has run that again, and a
    #: name there.
    Place: TypeAlias = tuple[bytes, str, bool, str]


def dumps(value: object, keep: Callable[[PickleBuffer], bool]) -> bytes:
    """Pickle `value`; `keep` says which of its buffers stay inside.

    Raises whatever pickling raises.
    """
    with io.BytesIO() as file:
        _pickler()(file, keep).dump(value)
        return file.getvalue()


_made: list[Any] = []


def _pickler() -> Any:
    if _made:
        return _made[0]

    class ForAnyone(dynamic.pickler()):  # type: ignore[misc]  # cloudpickle has no types
        def __init__(self, file: io.BytesIO, keep: Callable[[PickleBuffer], bool]) -> None:
            super().__init__(file, 5, buffer_callback=keep)

        def reducer_override(self, obj: object) -> object:
            reduced = super().reducer_override(obj)
            if not isinstance(reduced, tuple) or len(reduced) != dynamic.PARTS:
                return reduced
            make, args, *state, _ = reduced
            if isinstance(obj, type):
                return (_class, (_place(obj), make, args), *state, _set_if_new)
            if isinstance(obj, FunctionType) and (place := _place(obj)):
                return (_function, (place, make, args), *state, _set_if_new)
            return reduced

    _made.append(ForAnyone)
    return ForAnyone


# ---- in the process that pickles -----------------------------------------------------------------


def _place(definition: type | FunctionType) -> Place | None:
    name = definition.__qualname__
    if _in_main(name) is not definition:
        return None
    return PROGRAM, _file(), script.is_run_again(), name


def _file() -> str:
    return getattr(sys.modules[script.NAME], "__file__", None) or ""


def _in_main(name: str) -> object:
    try:
        found: object = script.find(name)
    except AttributeError:
        return None
    return found


# ---- in the process that reads -------------------------------------------------------------------

#: What was made here and has no state yet. A set's methods are atomic.
_new: WeakSet[Any] = WeakSet()


def _found(place: Place | None) -> object:
    """Return what this process has there, if it has the same main script: it is the program that
    pickled, or a fork of it; or `multiprocessing` has run the same file again, here or there.
    """
    if place is None:
        return None
    program, file, run_again, name = place
    again = (run_again or script.is_run_again()) and file == _file() != ""
    return _in_main(name) if program == PROGRAM or again else None


def _class(place: Place | None, make: Callable[..., type], args: tuple[Any, ...]) -> type:
    from cloudpickle.cloudpickle import _DYNAMIC_CLASS_TRACKER_BY_ID

    # The identity that `cloudpickle` gives a class travels with it, there and back.
    known = _DYNAMIC_CLASS_TRACKER_BY_ID.get(args[-2]) or _found(place)
    if isinstance(known, type):
        return known
    cls = make(*args)
    _new.add(cls)
    return cls


def _function(
    place: Place, make: Callable[..., FunctionType], args: tuple[CodeType, Any]
) -> FunctionType:
    known = _found(place)
    # A fork may be older than the definition.
    if isinstance(known, FunctionType) and known.__code__ == args[0]:
        return known
    function = make(*args)
    _new.add(function)
    return function


def _set_if_new(definition: Any, state: Any) -> None:
    from cloudpickle.cloudpickle import _class_setstate, _function_setstate

    if definition not in _new:
        return
    if isinstance(definition, type):
        _class_setstate(definition, state)
    else:
        _function_setstate(definition, state)
    # Only now: another thread that reads the same class meanwhile sets it too, before it goes on.
    _new.discard(definition)
