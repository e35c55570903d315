"""Whether functions, classes and modules are still those that a worker knows.

Values can be sent to a worker that runs already; a function that has been defined anew, a module
that was reloaded or an attribute that a test has replaced cannot: such a worker is not used again.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType

from poolwise.mechanisms.module_state import is_the_users, names_reached_by
from poolwise.task import Task

_Known = dict[tuple[str, str], tuple[object, ...]]


class Definitions:
    """What some names of the user's modules meant at one moment."""

    def __init__(self, known: _Known, main: _Known | None = None) -> None:
        self._known = known
        self._main = main

    @classmethod
    def now(cls) -> Definitions:
        """Return all there are, for a fork of this process."""
        main = _of_module("__main__")
        known = dict(main)
        for name in list(sys.modules):
            if is_the_users(name):
                known.update(_of_module(name))
        return cls(known, main)

    @classmethod
    def reached_by(cls, tasks: Iterable[Task]) -> Definitions:
        """Return those that tasks use, for a process that imports modules by itself."""
        return cls(dict(_reached_by(tasks)))

    def hold(self, tasks: Iterable[Task]) -> bool:
        """Whether what `tasks` use is still the same, as far as it was known."""
        if self._main is not None and not _same(self._main, _of_module("__main__")):
            return False
        return all(_is(self._known.get(name, value), value) for name, value in _reached_by(tasks))

    def note(self, tasks: Iterable[Task]) -> None:
        """Add what `tasks` use, for a process that has imported it now."""
        self._known.update(_reached_by(tasks))


def _of_module(name: str) -> _Known:
    variables = vars(sys.modules[name])
    return {
        (name, key): _identity(value)
        for key, value in list(variables.items())
        if _is_definition(value)
    }


def _reached_by(tasks: Iterable[Task]) -> Iterator[tuple[tuple[str, str], tuple[object, ...]]]:
    for task in tasks:
        for module, name, value in names_reached_by(task.function):
            if _is_definition(value) and is_the_users(module):
                yield (module, name), _identity(value)


#: Not `inspect.isroutine`, which takes ten times as long for what is none.
_DEFINITIONS = (FunctionType, type, ModuleType, BuiltinFunctionType, MethodType)


def _is_definition(value: object) -> bool:
    return isinstance(value, _DEFINITIONS)


def _identity(value: object) -> tuple[object, ...]:
    """Return the thing and what makes it what it is, all to be compared by identity."""
    if isinstance(value, type):
        return (value, *vars(value).values())
    cells = getattr(value, "__closure__", None) or ()
    return (value, getattr(value, "__code__", None), *(_content(cell) for cell in cells))


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that has no value yet
        return None


def _is(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return len(one) == len(other) and all(map(operator.is_, one, other))


def _same(one: _Known, other: _Known) -> bool:
    return one.keys() == other.keys() and all(_is(one[name], other[name]) for name in one)
