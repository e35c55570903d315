"""The pickler for definitions that go by value: that of `cloudpickle`, and what that leaves out.

The slots of a class: what `cloudpickle` makes of it has none, and a ``__dict__`` instead. Instances
of such a copy, sent back, do not fit into the class that has slots.

The file of a function: tracebacks would show no lines, and `inspect` would find no source.

Not text files that are read: `cloudpickle` copies what they have in them, and each copy would be
read from the same place on. Binary files, and those that are written, it refuses: so are these.

And the main script goes by value under both of its names.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from types import CodeType, FunctionType, MemberDescriptorType

from _poolwise_worker import script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What an object is made of before its state is set; so `cloudpickle` pickles by value.
PARTS = 6

#: What `cloudpickle` calls the file of each function.
_NAMELESS = "<dynamic-code>"

#: Set once it is complete. Two threads may make one each, and either will do.
_made: Any = None


def pickler() -> Any:
    """Return the class, made on first need: importing `cloudpickle` takes 20 ms."""
    global _made
    if _made is not None:
        return _made
    from typing import TypeVar

    from cloudpickle import cloudpickle

    class Dynamic(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
        dispatch_table = cloudpickle.Pickler.dispatch_table.new_child(
            {CodeType: _code, TypeVar: _type_variable, TextIOWrapper: _text_file}
        )

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, FunctionType):
                if script.is_named(obj.__module__):
                    return self._dynamic_function_reduce(obj)
                return super().reducer_override(obj)
            if not issubclass(type(obj), type):
                return NotImplemented  # as `cloudpickle` says of each object, in another call
            if script.is_named(obj.__module__):
                reduced = cloudpickle._dynamic_class_reduce(obj)
            else:
                reduced = super().reducer_override(obj)
            if isinstance(reduced, tuple) and reduced[0] is cloudpickle._make_skeleton_class:
                _keep_slots(obj, reduced)
            return reduced

    _made = Dynamic
    return Dynamic


def _keep_slots(cls: type, reduced: tuple[Any, ...]) -> None:
    """Have the copy of a class made with its slots, under the names that they have now: those that
    begin with two underscores have been given others.
    """
    from typing import NamedTuple

    own = dict(vars(cls))
    # That base gives a class its slots, none, and refuses to be told.
    if "__slots__" not in own or NamedTuple in own.get("__orig_bases__", ()):
        return
    slots = [
        name
        for name, value in own.items()
        if isinstance(value, MemberDescriptorType) and value.__objclass__ is cls
    ]
    for name in slots:
        reduced[2][0].pop(name, None)  # it comes with the slot
    slots += [name for name in ("__dict__", "__weakref__") if name in own]
    reduced[1][3]["__slots__"] = tuple(slots)


def _code(code: CodeType) -> tuple[Any, ...]:
    from cloudpickle.cloudpickle import _code_reduce

    make, args = _code_reduce(code)
    if code.co_filename.startswith("<"):  # of no file; in another process it would be another's
        return make, args
    named = (code.co_filename if type(a) is str and a == _NAMELESS else a for a in args)
    return make, tuple(named)


def _type_variable(variable: Any) -> tuple[Any, ...]:
    from cloudpickle import cloudpickle

    if script.is_named(variable.__module__):
        return cloudpickle._make_typevar, cloudpickle._decompose_typevar(variable)
    reduced: tuple[Any, ...] = cloudpickle._typevar_reduce(variable)
    return reduced


def _text_file(file: TextIOWrapper) -> tuple[object, tuple[object, str]]:
    """Standard output and error are those of whoever reads; no other file can be sent."""
    for name in ("stdout", "stderr"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    raise TypeError("cannot pickle '_io.TextIOWrapper' object")
