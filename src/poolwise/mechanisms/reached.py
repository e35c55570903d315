"""What a function can reach by name: where the calls of a function may look, and what is there."""

from __future__ import annotations

import os
import sys
from abc import ABCMeta
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache, partial
from inspect import isroutine
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import TypeAlias

from _poolwise_worker import script
from poolwise.mechanisms.reads import ABSENT, READER, Reader, is_constant

#: Module, path in it, and what is there.
Place: TypeAlias = tuple[str, str, object]


def names_reached_by(function: Callable[..., object], reads: Reader = READER) -> Iterator[Place]:
    """Yield each place of the user's that calls of `function` may look at by name: directly, as
    an attribute of a module, in methods of classes, or through functions that they call. What
    closures and objects hold has no place; it is yielded with an empty module and path.

    Runs no code of the user's. Names that are made up at run time are not seen. While `Reads` hold
    that were given, the places are the same.
    """
    waiting: list[object] = [function]
    visited: dict[int, object] = {}  # which keeps them alive, so that ids stay theirs
    while waiting:
        thing = waiting.pop()
        if id(thing) in visited:
            continue
        visited[id(thing)] = thing
        for module, path, value in _places_at(thing, waiting, reads):
            # What is not called itself may have methods that are.
            waiting.append(value if callable(value) else type(value))
            yield module, path, value


def home_of(function: FunctionType, reads: Reader = READER) -> tuple[str, str] | None:
    """Return module and path by which a function is found, if it is where its name says: there, or
    inside what a decorator has put there. Runs no code of the user's.
    """
    found = reads.get(sys.modules, function.__module__)
    module = script.usual(function.__module__)
    path = function.__qualname__
    for name in path.split("."):
        found = reads.get(vars(found), name) if isinstance(found, ModuleType | type) else None
    for suffix, part in parts_of(found):
        while part is not function:
            if not isinstance(part, FunctionType | _Cached):
                break
            if isinstance(part, _Cached):
                reads.unsure()  # another may take its place unseen
            wrapped = reads.get(vars(part), "__wrapped__")
            if wrapped is ABSENT:
                break
            part, suffix = wrapped, f"{suffix}.__wrapped__"
        else:
            return module, path + suffix
    return None


def _places_at(thing: object, waiting: list[object], reads: Reader) -> Iterable[Place]:
    """Return the places that one thing names; put into `waiting` what else it consists of."""
    if isinstance(thing, FunctionType):
        return _places_of_function(thing, reads)
    if isinstance(thing, type):
        return _places_of_class(thing, waiting, reads)
    held: list[object] = []
    if isinstance(thing, partial):
        reads.unsure()
        held += thing.func, *thing.args, *thing.keywords.values()
    elif isinstance(thing, MethodType):
        reads.unsure()
        held += thing.__func__, thing.__self__, type(thing.__self__)
    elif isinstance(thing, _Cached):
        reads.unsure()  # to keep it would keep all that it has cached
        held.append(vars(thing).get("__wrapped__"))
    elif not isroutine(thing):  # an object with `__call__`
        attributes = attributes_of(thing)
        if attributes is not None:
            reads.unsure()
        held += type(thing), thing, *(attributes or {}).values()
    return [("", "", each) for each in held]


def _places_of_function(function: FunctionType, reads: Reader) -> Iterator[Place]:
    if not (script.is_named(function.__module__) or is_the_users(function.__module__)):
        return
    reads.function(function)
    home = home_of(function, reads)
    if home is not None:
        yield *home, function
    names = _names_in(function.__code__)
    variables = function.__globals__
    held = [_content_of(cell) for cell in function.__closure__ or ()]
    if held:  # which may change unseen, and is not to be kept
        reads.unsure()
    held += [value for _, value in reads.all(vars(function))]  # what it decorates, if it says so
    held += function.__defaults__ or ()
    if function.__kwdefaults__:
        held += [value for _, value in reads.all(function.__kwdefaults__)]
    modules = _imported(names, variables, reads)
    for each in held:
        if each is not ABSENT:
            yield "", "", each
            if isinstance(each, ModuleType):
                modules.append(each)
    module = script.usual(str(variables.get("__name__")))
    for name, value in reads.some(variables, names):
        if isinstance(value, ModuleType):
            modules.append(value)
        yield module, name, value
    for each in modules:  # which grows: a module may hold another
        if is_the_users(each.__name__):
            for name, value in reads.some(vars(each), names):
                if isinstance(value, ModuleType) and value not in modules:
                    modules.append(value)
                yield each.__name__, name, value


def _imported(
    names: frozenset[str], variables: dict[str, object], reads: Reader
) -> list[ModuleType]:
    """Return modules that a function imports itself."""
    package = variables.get("__package__") or ""
    own = names - variables.keys()
    wanted = own | {f"{package}.{name}" for name in own}
    return [module for _, module in reads.some(sys.modules, wanted) if module is not None]


def _places_of_class(cls: type, waiting: list[object], reads: Reader) -> Iterator[Place]:
    if not (script.is_named(cls.__module__) or is_the_users(cls.__module__)):
        return
    waiting += cls.__bases__
    at_home = "<locals>" not in cls.__qualname__ and type(cls).__setattr__ is type.__setattr__
    for name, value in reads.all(vars(cls)):
        path = f"{cls.__qualname__}.{name}"
        functions = [part for _, part in parts_of(value) if isinstance(part, FunctionType)]
        waiting += functions
        if functions:
            homes = [home_of(each, reads) for each in functions]
            strange = not all(home and f"{home[1]}.".startswith(f"{path}.") for home in homes)
        else:
            strange = not (_is_machinery(name, cls) or hasattr(type(value), "__get__"))
        # What a metaclass keeps in its classes may be anything, and cannot always be set from
        # outside: only constants have a place there. Nothing has one in classes that cannot be
        # found by their names.
        if at_home and strange and (type(cls) in (type, ABCMeta) or is_constant(value)):
            yield script.usual(cls.__module__), path, value
        elif strange and not functions and _keeps_own_state(cls):
            yield "", "", value


def _keeps_own_state(cls: type) -> bool:
    """Whether the attributes of a class are what the user has put there: not what a framework's
    metaclass keeps for itself, which is much, and changes when it likes.
    """
    enum = sys.modules.get("enum")
    known = (type, ABCMeta) if enum is None else (type, ABCMeta, enum.EnumMeta)
    home = type(cls).__module__
    return type(cls) in known or script.is_named(home) or is_the_users(home)


def _is_machinery(name: str, cls: type) -> bool:
    """Whether a class attribute of this name is the language's, or of a class of its library's."""
    if name.startswith("_") and name.endswith("_"):
        return True
    enum = sys.modules.get("enum")
    return name == "_abc_impl" or (
        enum is not None and isinstance(cls, enum.EnumMeta) and name in cls.__members__
    )


def parts_of(value: object) -> Iterator[tuple[str, object]]:
    """Take a class attribute apart: where its functions are, seen from the class."""
    if isinstance(value, staticmethod | classmethod):
        yield "", value.__func__
    elif isinstance(value, property):
        for name in ("fget", "fset", "fdel"):
            if getattr(value, name) is not None:
                yield f".{name}", getattr(value, name)
    else:
        yield "", value


def _content_of(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that has no value yet
        return ABSENT


def attributes_of(thing: object) -> dict[str, object] | None:
    """Return the attributes that a thing itself has, ``None`` if it can have none."""
    try:
        return object.__getattribute__(thing, "__dict__")  # type: ignore[no-any-return]
    except AttributeError:
        return None


@lru_cache(maxsize=1024)
def _names_in(code: CodeType) -> frozenset[str]:
    return frozenset(_names(code))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # functions and comprehensions inside
            yield from _names(constant)


_Cached = type(cache(len))


#: Not from `sysconfig`, which takes some milliseconds to import and to answer.
_STANDARD = os.path.dirname(os.__file__) + os.sep


@cache
def is_the_users(module: str) -> bool:
    """Whether a module is the user's own code, in a file that workers can import too."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if script.is_named(module) or file is None or file.startswith(_STANDARD):
        return False
    if module.partition(".")[0] in ("poolwise", "_poolwise_worker"):
        return False
    return "site-packages" not in file and "dist-packages" not in file
