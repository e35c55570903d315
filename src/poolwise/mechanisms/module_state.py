"""Modules as they are now, for functions that workers import by name.

A worker imports a function's module afresh, or imported it long ago. What the program has changed
there since (a `CONFIG` that was filled in, a table that was loaded, a function that was replaced,
a module that was reloaded) would be as it was, and the call would do something else than in a
loop. So what a function can reach by name travels with it.
"""

from __future__ import annotations

import itertools
import marshal
import os
import sys
from abc import ABCMeta
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from inspect import isroutine
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

from _poolwise_worker import parts, transfer
from _poolwise_worker.snapshots import SharedPickle
from _poolwise_worker.state import CODE, MODULE, VALUE, Data, ModuleState, Places
from poolwise.mechanisms import snapshots

#: Module, path in it, and what is there.
Place: TypeAlias = tuple[str, str, object]

_versions = itertools.count(1)

#: What a fork is sent at most: making another costs less than pickling and reading more.
_AT_MOST = 1 << 20


def module_state(function: Callable[..., object]) -> ModuleState:
    """Return what `function` can reach by name, as it is now.

    Only what is in the user's own modules: neither in the standard library, nor in what is
    installed. Of ``__main__``, whose functions travel with their variables, only those that are
    large. What does not pickle (locks, open files) is left out; a worker has its own.
    """
    places: Places = {}
    version = next(_versions)
    pickles = _Pickles()
    for module, path, value in names_reached_by(function):
        entry = None
        if module == "__main__":
            entry = _large_variable(path, value, pickles)
        elif module and is_the_users(module):
            entry = _entry(module, path, value, pickles)
        if entry is not None:
            places.setdefault(module, {})[path] = entry
    return version, places


class _Pickles:
    """The pickles of one state. A large value that has two names is one object there, too."""

    def __init__(self) -> None:
        snapshots.begin()
        self._large: dict[int, tuple[object, SharedPickle]] = {}
        self._snapshots = 0

    def of(self, value: object) -> Data:
        """Return the pickle of a value. Raises whatever its pickling raises."""
        if id(value) in self._large:
            return self._large[id(value)][1]
        if self._snapshots >= snapshots.AT_MOST:
            return transfer.dumps(value)
        data = snapshots.pickled(value, transfer.TO_WORKER)
        if not isinstance(data, bytes):
            self._snapshots += data.snapshots
            self._large[id(value)] = value, data
        return data


def _large_variable(path: str, value: object, pickles: _Pickles) -> tuple[int, Data] | None:
    """Return what is to be brought of a variable of ``__main__``; ``None``: it is not large."""
    if not _is_variable(value) or vars(sys.modules["__main__"]).get(path) is not value:
        return None
    try:
        with transfer.looking():
            size = snapshots.size_of(value, transfer.TO_WORKER)
        return (VALUE, pickles.of(value)) if size >= snapshots.LARGE else None
    except Exception:
        return None


def state_for_fork(function: Callable[..., object]) -> ModuleState | None:
    """Return the variables alone, for a fork of this process, those of ``__main__`` included.

    ``None`` if that is too much to send: a new fork has it all.
    """
    places: Places = {}
    version, size = next(_versions), 0
    for module, path, value in names_reached_by(function):
        if not module or not _is_variable(value):
            continue
        try:
            whole = parts.pickled(value, _AT_MOST, transfer.BETWEEN_FORKS)
        except Exception:
            continue
        size += whole.size
        if size > _AT_MOST or whole.buffers:
            return None
        places.setdefault(module, {})[path] = VALUE, b"".join(whole.parts)
    return version, places


def variables_of(function: Callable[..., object]) -> Iterator[tuple[str, object]]:
    """Yield name and value of each variable of the user's that calls share with the program: in
    modules, closures, and the objects that are called. What has no place has an empty name.
    """
    for module, path, value in names_reached_by(function):
        if _is_variable(value):
            yield path if module in ("", "__main__") else f"{module}.{path}", value


def _is_variable(value: object) -> bool:
    return not isinstance(value, ModuleType | type) and not isroutine(value)


def mock_in(function: Callable[..., object]) -> str | None:
    """Return the name of a mock that calls may reach, ``None`` if there is none.

    It notes how it is called, in this process, and is not what another would import.
    """
    mock = getattr(sys.modules.get("unittest.mock"), "NonCallableMock", None)
    if mock is None:
        return None
    found = (f"{module}.{path}" for module, path, value in names_reached_by(function)
             if isinstance(value, mock))  # fmt: skip
    return next(found, None)


def _entry(module: str, path: str, value: object, pickles: _Pickles) -> tuple[int, Data] | None:
    if isinstance(value, ModuleType):
        return MODULE, value.__name__.encode()
    if isinstance(value, FunctionType) and home_of(value) == (module, path):
        return CODE, _code_of(value)
    if isinstance(value, type) and (value.__module__, value.__qualname__) == (module, path):
        return None  # what it consists of has places of its own
    try:
        return VALUE, pickles.of(value)
    except Exception:
        return None


def home_of(function: FunctionType) -> tuple[str, str] | None:
    """Return module and path by which a function is found, if it is where its name says: there, or
    inside what a decorator has put there. Runs no code of the user's.
    """
    found: object = sys.modules.get(function.__module__)
    path = function.__qualname__
    if isinstance(found, ModuleType) and vars(found).get(path) is function:
        return function.__module__, path
    for name in path.split("."):
        found = vars(found).get(name) if isinstance(found, ModuleType | type) else None
    for suffix, part in _parts(found):
        while part is not function:
            if not isinstance(part, FunctionType | _Cached) or not hasattr(part, "__wrapped__"):
                break
            part, suffix = part.__wrapped__, f"{suffix}.__wrapped__"
        else:
            return function.__module__, path + suffix
    return None


def _code_of(function: FunctionType) -> bytes:
    """Return the code, and the defaults if they are plain constants: others have an identity."""
    try:
        return marshal.dumps((function.__code__, function.__defaults__, function.__kwdefaults__))
    except ValueError:
        return marshal.dumps((function.__code__, ..., None))


# ---- what a function can reach -------------------------------------------------------------------


def names_reached_by(function: Callable[..., object]) -> Iterator[Place]:
    """Yield each place of the user's that calls of `function` may look at by name: directly, as
    an attribute of a module, in methods of classes, or through functions that they call. What
    closures and objects hold has no place; it is yielded with an empty module and path.

    Runs no code of the user's. Names that are made up at run time are not seen.
    """
    waiting: list[object] = [function]
    visited: dict[int, object] = {}  # which keeps them alive, so that ids stay theirs
    while waiting:
        thing = waiting.pop()
        if id(thing) in visited:
            continue
        visited[id(thing)] = thing
        for module, path, value in _places_at(thing, waiting):
            # What is not called itself may have methods that are.
            waiting.append(value if callable(value) else type(value))
            yield module, path, value


def _places_at(thing: object, waiting: list[object]) -> Iterable[Place]:
    """Return the places that one thing names; put into `waiting` what else it consists of."""
    if isinstance(thing, FunctionType):
        return _places_of_function(thing)
    if isinstance(thing, type):
        return _places_of_class(thing, waiting)
    held: list[object] = []
    if isinstance(thing, partial):
        held += thing.func, *thing.args, *thing.keywords.values()
    elif isinstance(thing, MethodType):
        held += thing.__func__, thing.__self__, type(thing.__self__)
    elif isinstance(thing, _Cached):
        held.append(thing.__wrapped__)
    elif not isroutine(thing):  # an object with `__call__`
        held += type(thing), thing, *_attributes(thing).values()
    return [("", "", each) for each in held]


def _places_of_function(function: FunctionType) -> Iterator[Place]:
    if function.__module__ != "__main__" and not is_the_users(function.__module__):
        return
    home = home_of(function)
    if home is not None:
        yield *home, function
    names = set(_names(function.__code__))
    held: list[object] = []
    if function.__closure__:
        held += [cell.cell_contents for cell in function.__closure__ if _is_filled(cell)]
    held += vars(function).values()  # what it decorates, if it says so
    held += *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()
    modules = list(_imported(names, function.__globals__))
    for each in held:
        yield "", "", each
        if isinstance(each, ModuleType):
            modules.append(each)
    for name, value in _found(names, function.__globals__):
        if isinstance(value, ModuleType):
            modules.append(value)
        yield str(function.__globals__.get("__name__")), name, value
    for module in modules:  # which grows: a module may hold another
        if is_the_users(module.__name__):
            for name, value in _found(names, vars(module)):
                if isinstance(value, ModuleType) and value not in modules:
                    modules.append(value)
                yield module.__name__, name, value


def _found(names: set[str], variables: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield those variables; another thread may delete some meanwhile."""
    for name in names & variables.keys():
        value = variables.get(name, _found)
        if value is not _found:
            yield name, value


def _places_of_class(cls: type, waiting: list[object]) -> Iterator[Place]:
    if cls.__module__ != "__main__" and not is_the_users(cls.__module__):
        return
    waiting += cls.__bases__
    at_home = "<locals>" not in cls.__qualname__ and type(cls) in (type, ABCMeta)
    for name, value in list(vars(cls).items()):  # other threads may set more
        path = f"{cls.__qualname__}.{name}"
        functions = [part for _, part in _parts(value) if isinstance(part, FunctionType)]
        waiting += functions
        if functions:
            homes = map(home_of, functions)
            strange = not all(home and f"{home[1]}.".startswith(f"{path}.") for home in homes)
        else:  # data, but not what is the machinery of classes
            strange = not (name.startswith("_") or hasattr(type(value), "__get__"))
        if at_home and strange:
            yield cls.__module__, path, value


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Take a class attribute apart: where its functions are, seen from the class."""
    if isinstance(value, staticmethod | classmethod):
        yield "", value.__func__
    elif isinstance(value, property):
        for name in ("fget", "fset", "fdel"):
            if getattr(value, name) is not None:
                yield f".{name}", getattr(value, name)
    else:
        yield "", value


def _imported(names: set[str], variables: dict[str, Any]) -> Iterator[ModuleType]:
    """Yield modules that a function imports itself."""
    package = variables.get("__package__") or ""
    for name in names:
        for full in (name, f"{package}.{name}"):
            module = sys.modules.get(full)
            if module is not None and name not in variables:
                yield module


def _attributes(thing: object) -> dict[str, object]:
    try:
        return object.__getattribute__(thing, "__dict__")  # type: ignore[no-any-return]
    except AttributeError:
        return {}


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a variable that has no value yet
        return False


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
    if module == "__main__" or file is None or file.startswith(_STANDARD):
        return False
    if module.partition(".")[0] in ("poolwise", "_poolwise_worker"):
        return False
    return "site-packages" not in file and "dist-packages" not in file
