"""What was read of variables, functions and classes: as long as it is the same, so is what follows
from it.

To look at all that a function can reach by name takes up to a millisecond. To see that none of it
has changed takes a twentieth: what was read is kept in lists, which C code compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from itertools import repeat
from operator import call, eq, is_
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
        # What stands at one place in lists that belong together is compared without a step of
        # Python's: which mapping was asked for which key, and what it had there.
        self._gets: list[Callable[..., object]] = []
        self._keys: list[str] = []
        self._values: list[object] = []
        #: The same where only the type is kept.
        self._typed_gets: list[Callable[..., object]] = []
        self._typed_keys: list[str] = []
        self._types: list[type] = []
        #: Which mapping had none of which keys.
        self._lacking: list[Callable[[Set[str]], object]] = []
        self._absent: list[Set[str]] = []
        #: Which was read as a whole.
        self._whole: list[Mapping[str, object]] = []
        self._lengths: list[int] = []
        self._functions: list[FunctionType] = []
        self._parts: list[tuple[object, ...]] = []
        self._sure = True

    def unsure(self) -> None:
        """Hold no more: something was read that may change unseen."""
        self._sure = False

    def get(self, mapping: Mapping[str, Any], key: str) -> Any:
        """Return what is at `key`, or `ABSENT`, and note it."""
        value = mapping.get(key, ABSENT)
        self._note(mapping, key, value)
        return value

    def some(self, mapping: Mapping[str, Any], keys: Set[str]) -> Iterator[tuple[str, Any]]:
        """Yield what there is at `keys`, and note it with what is not there."""
        there = mapping.keys() & keys
        if len(there) < len(keys):
            self._lacking.append(mapping.keys().isdisjoint)
            self._absent.append(keys - there)
        for key in there:
            value = mapping.get(key, ABSENT)
            self._note(mapping, key, value)
            if value is not ABSENT:
                yield key, value

    def all(self, mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """Return everything in `mapping`, and note it with how much that is."""
        items = list(mapping.items())
        self._whole.append(mapping)
        self._lengths.append(len(items))
        for key, value in items:
            self._note(mapping, key, value)
        return items

    def function(self, function: FunctionType) -> None:
        """Note what a function consists of, but for its own variables; it is no closure."""
        self._functions.append(function)
        self._parts.append(_parts_of(function))

    def hold(self) -> bool:
        """Whether all of it is the same now."""
        found = map(call, self._gets, self._keys, repeat(ABSENT))
        typed = map(call, self._typed_gets, self._typed_keys, repeat(ABSENT))
        return (
            self._sure
            and all(map(is_, found, self._values))
            and all(map(is_, map(type, typed), self._types))
            and all(map(call, self._lacking, self._absent))
            and all(map(eq, map(len, self._whole), self._lengths))
            and all(map(_consists_of, self._functions, self._parts))
        )

    def _note(self, mapping: Mapping[str, object], key: str, value: object) -> None:
        if value is ABSENT or keeps(value):
            self._gets.append(mapping.get)
            self._keys.append(key)
            self._values.append(value)
        else:
            self._typed_gets.append(mapping.get)
            self._typed_keys.append(key)
            self._types.append(type(value))


def _parts_of(function: FunctionType) -> tuple[object, ...]:
    return (
        function.__code__, function.__defaults__, function.__kwdefaults__, function.__module__,
        function.__qualname__,
    )  # fmt: skip


def _consists_of(function: FunctionType, parts: tuple[object, ...]) -> bool:
    return all(map(is_, _parts_of(function), parts))


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
