"""What was read of variables, functions and classes: as long as it is the same, so is what follows
from it.

To look at all that a function can reach by name takes up to a millisecond. To see that none of it
has changed takes a tenth: what was read is kept by mapping, and compared by C code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from itertools import repeat
from operator import is_
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any


class _Absent:
    """Where there is nothing."""


ABSENT = _Absent()

#: So long a text or number is kept to compare with; of larger values, only the type is.
_SHORT = 1 << 10


class _Mapping:
    """What was read of one mapping: the values at some keys, or only their types."""

    __slots__ = ("absent", "keys", "length", "mapping", "typed", "types", "values")

    def __init__(self, mapping: Mapping[str, object]) -> None:
        self.mapping = mapping
        self.keys: list[str] = []
        self.values: list[object] = []
        self.typed: list[str] = []
        self.types: list[type] = []
        self.absent: set[str] = set()
        self.length: int | None = None  # if all of it was read

    def note(self, key: str, value: object) -> None:
        if keeps(value):
            self.keys.append(key)
            self.values.append(value)
        else:
            self.typed.append(key)
            self.types.append(type(value))

    def holds(self) -> bool:
        get = self.mapping.get
        return (
            (self.length is None or len(self.mapping) == self.length)
            and self.mapping.keys().isdisjoint(self.absent)
            and all(map(is_, map(get, self.keys, repeat(ABSENT)), self.values))
            and all(map(is_, map(type, map(get, self.typed, repeat(ABSENT))), self.types))
        )


class Reader:
    """Reads what a walk asks for, and notes nothing: to note it takes as long as to walk."""

    def unsure(self) -> None:
        """Be told that something was read that may change unseen."""

    def get(self, mapping: Mapping[str, Any], key: str) -> Any:
        """Return what is at `key`, or `ABSENT`."""
        return mapping.get(key, ABSENT)

    def some(self, mapping: Mapping[str, Any], keys: Set[str]) -> Iterator[tuple[str, Any]]:
        """Yield what there is at `keys`; another thread may delete some meanwhile."""
        for key in mapping.keys() & keys:
            value = mapping.get(key, ABSENT)
            if value is not ABSENT:
                yield key, value

    def all(self, mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """Return everything in `mapping`; other threads may set more meanwhile."""
        return list(mapping.items())

    def function(self, function: FunctionType) -> None:
        """Be told that what a function consists of is looked at, but for its own variables."""


#: It has no state, so there is one for all threads.
READER = Reader()


class Reads(Reader):
    """Notes what one walk has read. Belongs to whoever walks; other threads change what is read.

    Of what may be large or belongs to the user's data nothing is kept but its type: it would be
    kept alive. So what a walk reads of it must depend on its type only, or it says so (`unsure`).
    """

    def __init__(self) -> None:
        self._mappings: dict[int, _Mapping] = {}
        self._functions: list[tuple[FunctionType, tuple[object, ...]]] = []
        self._sure = True

    def unsure(self) -> None:
        """Hold no more: something was read that may change unseen."""
        self._sure = False

    def get(self, mapping: Mapping[str, Any], key: str) -> Any:
        """Return what is at `key`, or `ABSENT`, and note it."""
        value = mapping.get(key, ABSENT)
        read = self._of(mapping)
        if value is ABSENT:
            read.absent.add(key)
        else:
            read.note(key, value)
        return value

    def some(self, mapping: Mapping[str, Any], keys: Set[str]) -> Iterator[tuple[str, Any]]:
        """Yield what there is at `keys`, and note it with what is not there."""
        read = self._of(mapping)
        there = mapping.keys() & keys
        read.absent |= keys - there
        for key in there:
            value = mapping.get(key, ABSENT)
            if value is ABSENT:
                read.absent.add(key)
            else:
                read.note(key, value)
                yield key, value

    def all(self, mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """Return everything in `mapping`, and note it with how much that is."""
        items = list(mapping.items())
        read = self._of(mapping)
        read.length = len(items)
        for key, value in items:
            read.note(key, value)
        return items

    def function(self, function: FunctionType) -> None:
        """Note what a function consists of, but for its own variables; it is no closure."""
        self._functions.append((function, _parts_of(function)))

    def hold(self) -> bool:
        """Whether all of it is the same now."""
        return (
            self._sure
            and all(each.holds() for each in self._mappings.values())
            and all(
                all(map(is_, _parts_of(function), parts)) for function, parts in self._functions
            )
        )

    def _of(self, mapping: Mapping[str, object]) -> _Mapping:
        read = self._mappings.get(id(mapping))
        if read is None:
            read = self._mappings[id(mapping)] = _Mapping(mapping)
        return read


def _parts_of(function: FunctionType) -> tuple[object, ...]:
    return (
        function.__code__, function.__defaults__, function.__kwdefaults__, function.__module__,
        function.__qualname__,
    )  # fmt: skip


def is_constant(value: object) -> bool:
    """Whether a value cannot change in place, and is small."""
    if isinstance(value, str | bytes):
        return type(value) in (str, bytes) and len(value) <= _SHORT
    return value is None or type(value) in _NUMBERS


def keeps(value: object) -> bool:
    """Whether a value is kept to compare with: it is a constant, or a definition."""
    if isinstance(value, BuiltinFunctionType):  # else it is a method, and has its object with it
        return value.__self__ is None or isinstance(value.__self__, ModuleType)
    return is_constant(value) or isinstance(value, _DEFINITIONS)


#: An `int` may be long, but not by accident.
_NUMBERS = (bool, int, float, complex)

#: Compared by identity.
_DEFINITIONS = (
    FunctionType, type, ModuleType, staticmethod, classmethod, property, GetSetDescriptorType,
    MemberDescriptorType, MethodDescriptorType, WrapperDescriptorType, ClassMethodDescriptorType,
)  # fmt: skip
