"""Whether functions, classes and modules are still those that a worker knows.

Values can be sent to a worker that runs already; a function that has been defined anew, a module
that was reloaded or an attribute that a test has replaced cannot: such a worker is not used again.
"""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import TypeAlias

from _poolwise_worker import script
from poolwise.mechanisms.reached import is_the_users, names_reached_by
from poolwise.task import Task

#: What each name of a module meant.
Meanings: TypeAlias = dict[str, tuple[object, ...]]

#: A class may hold tables. What is larger, in bytes when pickled, is compared by identity only.
_AT_MOST = 1 << 16


class Definitions:
    """What the names of the user's modules meant at one moment."""

    def __init__(self) -> None:
        self._known: dict[str, Meanings] = {}
        self._main: Meanings | None = None

    @classmethod
    def now(cls) -> Definitions:
        """Return all there are, for a fork of this process."""
        definitions = cls()
        definitions.note({})
        definitions._main = definitions._known[script.NAME] = _of_module(script.NAME)
        return definitions

    def hold(self, tasks: Iterable[Task]) -> bool:
        """Whether what `tasks` use is still the same, as far as it was known."""
        if self._main is not None and not _same(self._main, _of_module(script.NAME)):
            return False
        for task in tasks:
            for module, path, value in names_reached_by(task.function):
                if module and is_the_users(module) and not self._holds(module, path, value):
                    return False
        return True

    def _holds(self, module: str, path: str, value: object) -> bool:
        name = path.partition(".")[0]
        value = vars(sys.modules[module]).get(name, value)
        meanings = self._known.get(module)
        known = None if meanings is None else meanings.get(name)
        if not _is_definition(value):
            return known is None  # or a variable stands where a definition was
        if known is None:
            return meanings is None  # or it was not there
        return _is(known, _identity(value))

    def note(self, noted: dict[str, Meanings]) -> None:
        """Add all of the modules that were not known, for a process that imports them now.

        Not only what its tasks use: it has the rest as well, and the next task may use that. What
        is `noted` already is taken from there, and the others are added: to look at a thousand
        definitions takes some milliseconds, for each worker that starts.
        """
        for name in list(sys.modules):
            if name not in self._known and is_the_users(name):
                if name not in noted:
                    noted[name] = _of_module(name)
                self._known[name] = noted[name]


def _of_module(name: str) -> Meanings:
    variables = script.variables_of(name)
    return {
        key: _identity(value)
        for key, value in list(variables.items())
        if isinstance(value, _DEFINITIONS)
    }


#: Not by `inspect.isroutine`, which takes ten times as long for what is none. The last is what
#: `functools.cache` makes of a function.
_DEFINITIONS = (
    FunctionType,
    type,
    ModuleType,
    BuiltinFunctionType,
    MethodType,
    type(functools.cache(len)),
)


def _is_definition(value: object) -> bool:
    return isinstance(value, _DEFINITIONS)


def _identity(value: object) -> tuple[object, ...]:
    """Return the thing and what makes it what it is."""
    if type(value) is FunctionType and not (
        value.__closure__ or value.__defaults__ or value.__kwdefaults__
    ):
        return value, value.__code__
    if isinstance(value, ModuleType):
        return (value,)
    if isinstance(value, type):
        if not (script.is_named(value.__module__) or is_the_users(value.__module__)):
            return (value,)
        return (value, *(_attribute(name, each) for name, each in list(vars(value).items())))
    cells = getattr(value, "__closure__", None) or ()
    return (
        value,
        getattr(value, "__code__", None),
        *(getattr(value, "__defaults__", None) or ()),
        *(getattr(value, "__kwdefaults__", None) or {}).values(),
        *(_content(cell) for cell in cells),
    )


def _attribute(name: str, value: object) -> object:
    """Return what tells one state of a class attribute from another: its pickle, if it may change
    in place.
    """
    if isinstance(value, dict | list | set | bytearray) and not name.startswith("__"):
        try:
            pickled = pickle.dumps(value, 5)
        except Exception:
            return value
        return pickled if len(pickled) <= _AT_MOST else value
    return value


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that has no value yet
        return None


def _is(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return len(one) == len(other) and all(map(_is_one, one, other))


def _is_one(one: object, other: object) -> bool:
    return one is other or (type(one) is type(other) is bytes and one == other)


def _same(one: Meanings, other: Meanings) -> bool:
    return one.keys() == other.keys() and all(_is(one[name], other[name]) for name in one)
