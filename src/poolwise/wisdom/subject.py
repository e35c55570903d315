"""By what a function is recognised in another process: its module, its name, its code.

Not by where it stands in a file, nor by what it holds: of variables in closures, arguments of
partials and attributes of objects only the type counts, or the code if they are functions. So the
lambda that a loop makes anew for each epoch is one function; what a value changes is found out by
looking at the first call.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
)

from _poolwise_worker import script
from poolwise.machine.fingerprint import digest

#: Functions in closures of functions in closures are followed so far.
_DEEP = 4

_Cached = type(cache(len))

_Named = FunctionType | BuiltinFunctionType | MethodDescriptorType | type


@dataclass(frozen=True, slots=True)
class Subject:
    """A function as wisdom knows it; `code` is a hash.

    `module` is empty where the function belongs to no file (a prompt, ``-c``, a notebook): the same
    text may be anybody's there, and it is remembered for this process only.
    """

    module: str
    name: str
    code: str

    @property
    def lasting(self) -> bool:
        """Whether another process may have the same function."""
        return bool(self.module)

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


def subject_of(function: Callable[..., object]) -> Subject:
    """Return what `function` is known as. Runs no code of the user's, and never fails.

    >>> str(subject_of(os.path.join))
    'posixpath:join'
    """
    try:
        inner = _innermost(function)
        return Subject(_module(inner), _name(inner), digest(repr(_picture(function, _DEEP))))
    except Exception:  # whatever a thing that looks like a function does
        return Subject("", type(function).__qualname__, "")


def _innermost(function: object) -> object:
    """Return what partials, methods, caches, decorators and our own wrappers are around."""
    for _ in range(100):
        if isinstance(function, partial):
            function = function.func
        elif _is_ours(function):
            function = _attributes(function)["func"]
        elif isinstance(function, MethodType):
            function = function.__func__
        elif isinstance(function, FunctionType | _Cached) and "__wrapped__" in vars(function):
            function = vars(function)["__wrapped__"]
        else:
            break
    return function


def _is_ours(thing: object) -> bool:
    """Whether it is what the command wraps around a function."""
    return type(thing).__module__ == "poolwise.cli.call"


def _name(inner: object) -> str:
    if isinstance(inner, _Named):
        return inner.__qualname__
    name = _attributes(inner).get("__name__")
    return name if isinstance(name, str) else type(inner).__qualname__


def _module(inner: object) -> str:
    owner = inner if isinstance(inner, FunctionType | BuiltinFunctionType | type) else type(inner)
    name = owner.__module__
    if isinstance(owner, BuiltinFunctionType):
        return str(name or type(owner.__self__).__module__)
    module = sys.modules.get(name) if isinstance(name, str) else None
    if script.is_named(name):
        return _main(module)
    if module is None or (isinstance(owner, FunctionType) and not _has_file(module)):
        return ""
    return name.removeprefix("__main__:")  # so the command names files it cannot import


def _main(module: ModuleType | None) -> str:
    """Return by what name others would import the main script."""
    spec, file = getattr(module, "__spec__", None), getattr(module, "__file__", None)
    if spec is not None:  # python -m
        return str(spec.name).removesuffix(".__main__")
    if not isinstance(file, str) or file.startswith("<"):  # as "<stdin>"
        return ""
    return os.path.splitext(os.path.basename(file))[0]


def _has_file(module: ModuleType) -> bool:
    return isinstance(vars(module).get("__file__"), str)


# ---- what it consists of -------------------------------------------------------------------------


def _picture(thing: object, deep: int) -> object:
    """Return what determines the work of a callable, as far as its code says; of others the type.

    The same in every process: no ids, no order of sets.
    """
    if not deep:
        return "deep"
    if isinstance(thing, FunctionType):
        held = [_content(cell, deep) for cell in thing.__closure__ or ()]
        inside = thing.__dict__.get("__wrapped__")
        wrapped = None if inside is None else _picture(inside, deep - 1)
        defaults = [_kind(each) for each in thing.__defaults__ or ()]
        return _of_code(thing.__code__), held, defaults, wrapped
    if isinstance(thing, partial):
        arguments = [_picture(each, deep - 1) for each in thing.args]
        keywords = sorted((name, _picture(each, deep - 1)) for name, each in thing.keywords.items())
        return _kind(thing), _picture(thing.func, deep - 1), arguments, repr(keywords)
    if isinstance(thing, MethodType):
        return _picture(thing.__func__, deep - 1), _kind(thing.__self__)
    if isinstance(thing, _Cached):
        return _picture(thing.__wrapped__, deep - 1)
    if isinstance(thing, BuiltinFunctionType):
        return thing.__qualname__
    if isinstance(thing, type):
        return f"{thing.__module__}.{thing.__qualname__}", _method(thing, "__init__")
    if _is_ours(thing):
        return _kind(thing), _picture(_attributes(thing)["func"], deep)
    held = [
        (name, _picture(each, deep - 1))
        for name, each in sorted(_attributes(thing).items())
        if isinstance(each, FunctionType | BuiltinFunctionType | partial | MethodType)
    ]
    return _kind(thing), _method(type(thing), "__call__"), held


def _content(cell: CellType, deep: int) -> object:
    try:
        return _picture(cell.cell_contents, deep - 1)
    except ValueError:  # no value yet
        return None


def _method(cls: type, name: str) -> object:
    function = next((vars(each)[name] for each in cls.__mro__ if name in vars(each)), None)
    return _of_code(function.__code__) if isinstance(function, FunctionType) else None


def _of_code(code: CodeType) -> object:
    """Return all of the code but the places in the file that it was read from."""
    return (
        code.co_code,
        [_constant(each) for each in code.co_consts],
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_argcount,
        code.co_kwonlyargcount,
        code.co_flags,
    )


def _constant(value: object) -> object:
    if isinstance(value, CodeType):
        return _of_code(value)
    if isinstance(value, tuple):
        return [_constant(each) for each in value]
    if isinstance(value, frozenset):
        return sorted(repr(each) for each in value)
    return repr(value)


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _attributes(thing: object) -> dict[str, object]:
    try:
        return object.__getattribute__(thing, "__dict__")  # type: ignore[no-any-return]
    except AttributeError:
        return {}
