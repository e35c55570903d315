"""Module-level variables as they are now, for functions that workers import by name.

A worker imports a function's module afresh. What the program has changed there since (a `CONFIG`
that was filled in, a table that was loaded) would be as it was at import, and the call would do
something else than in a loop. So the variables that a function can reach travel with it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from inspect import isroutine
from types import CellType, CodeType, FunctionType, MethodType, ModuleType

from _poolwise_worker import transfer
from _poolwise_worker.transfer import ModuleState

#: Pickles up to so many bytes in all are sent along. What is larger a worker makes for itself, if
#: it is made lazily; sending it with every function would cost more than calls save.
_AT_MOST = 1 << 20


def module_state(function: Callable[..., object]) -> ModuleState:
    """Return the variables that `function` can reach by name, by module, each pickled.

    Only those of the user's modules: neither the standard library, nor what is installed, nor
    ``__main__``, whose functions travel with their variables. Variables that do not pickle (locks,
    open files) are left out; a worker has its own. A function or class from elsewhere that stands
    in a module counts as a variable: a test may have put it in the place of another.
    """
    variables = (
        (module, name, value)
        for module, name, value in names_reached_by(function)
        if is_the_users(module) and (_is_variable(value) or _is_from_elsewhere(module, value))
    )
    return _pickled(variables, transfer.dumps)[0]


def state_for_fork(function: Callable[..., object]) -> ModuleState | None:
    """Return the same for a fork of this process, variables of ``__main__`` included.

    ``None`` if that is too much to send: a new fork has it all.
    """
    state, whole = _pickled(variables_of(function), transfer.dumps_between_forks)
    return state if whole else None


def _pickled(
    variables: Iterable[tuple[str, str, object]], dumps: Callable[[object], bytes]
) -> tuple[ModuleState, bool]:
    """Pickle variables; the second value says whether they were few enough for all of them.

    If not, the smallest go: which ones must not depend on the order in which they were found.
    """
    found: dict[tuple[str, str], bytes] = {}
    whole = True
    for module, name, value in variables:
        if max(sys.getsizeof(value, 0), _bytes_of(value)) > _AT_MOST:
            whole = False
            continue
        try:
            found[module, name] = dumps(value)
        except Exception:
            continue
    state: ModuleState = {}
    size = 0
    for (module, name), pickled in sorted(found.items(), key=lambda each: (len(each[1]), each[0])):
        size += len(pickled)
        if size > _AT_MOST:
            return state, False
        state.setdefault(module, {})[name] = pickled
    return state, whole


def _bytes_of(value: object) -> int:
    """Return the size of an array, even of one that does not own its memory."""
    try:
        return int(value.nbytes)  # type: ignore[attr-defined]
    except Exception:
        return 0


def variables_of(function: Callable[..., object]) -> Iterator[tuple[str, str, object]]:
    """Yield module, name and value of each variable of the user's that calls may read by name:
    directly, as an attribute of a module, or through functions that they call.
    """
    return (each for each in names_reached_by(function) if _is_variable(each[2]))


def names_of(function: Callable[..., object]) -> Iterator[tuple[str, str, object]]:
    """Yield module, name and value of what `function` itself is found by, or its class."""
    for plain in _plain_functions(function):
        name = plain.__qualname__.partition(".")[0]
        found = vars(sys.modules.get(plain.__module__, os)).get(name)
        if found is not None:
            yield plain.__module__, name, found


def names_reached_by(function: Callable[..., object]) -> Iterator[tuple[str, str, object]]:
    """Yield module, name and value of everything of the user's that calls may find by name:
    variables, functions, classes, modules.

    Methods count, too: those of classes that are named, of objects that are found by name, and of
    classes beside a function that calls something of that name, because objects of them may come
    as arguments.
    """
    waiting: list[object] = [function]
    seen: set[int] = set()
    while waiting:
        for plain in _plain_functions(waiting.pop()):
            if id(plain) in seen:
                continue
            seen.add(id(plain))
            # What a closure holds travels with it, but for modules and functions, which go by name.
            held = [cell.cell_contents for cell in plain.__closure__ or () if _is_filled(cell)]
            waiting += held
            for module, name, value in _names_in(plain, held):
                waiting.append(value)
                yield module, name, value
            waiting += _classes_called_by(plain)


def _names_in(plain: FunctionType, held: Iterable[object]) -> Iterator[tuple[str, str, object]]:
    """Yield what one function finds in its own module, and in modules as their attributes."""
    names = set(_names(plain.__code__))
    home = str(plain.__globals__.get("__name__"))
    modules = [value for value in held if isinstance(value, ModuleType)]
    for name in names & plain.__globals__.keys():
        value = plain.__globals__[name]
        if isinstance(value, ModuleType):
            modules.append(value)
        yield home, name, value
    for module in modules:
        if is_the_users(module.__name__):
            for name in names & vars(module).keys():
                yield module.__name__, name, vars(module)[name]


def _classes_called_by(plain: FunctionType) -> Iterator[type]:
    """Yield the classes beside a function that have something of a name that it uses."""
    names = set(_names(plain.__code__))
    for value in list(plain.__globals__.values()):
        if isinstance(value, type) and _is_by_the_user(value) and names & vars(value).keys():
            yield value


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a variable that has no value yet
        return False


def _plain_functions(thing: object) -> Iterator[FunctionType]:
    """Yield what may run when `thing` is used, as far as that is written in the user's Python."""
    while isinstance(thing, partial):
        thing = thing.func
    if isinstance(thing, MethodType):
        yield from _plain_functions(thing.__self__)
        thing = thing.__func__
    thing = getattr(thing, "__wrapped__", thing)
    if isinstance(thing, FunctionType):
        if _is_by_the_user(thing):
            yield thing
    elif not isroutine(thing) and not isinstance(thing, ModuleType):
        for each in (thing if isinstance(thing, type) else type(thing)).__mro__:
            if _is_by_the_user(each):
                yield from _methods(each)


def _methods(of: type) -> Iterator[FunctionType]:
    for value in list(vars(of).values()):
        if isinstance(value, property):
            accessors: tuple[object, ...] = (value.fget, value.fset, value.fdel)
        else:  # what static, class and cached methods wrap
            accessors = (getattr(value, "__func__", getattr(value, "func", value)),)
        for each in accessors:
            each = getattr(each, "__wrapped__", each)
            if isinstance(each, FunctionType) and _is_by_the_user(each):
                yield each


def _is_by_the_user(definition: FunctionType | type) -> bool:
    module = definition.__module__
    return module == "__main__" or is_the_users(module)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # functions and comprehensions inside
            yield from _names(constant)


def _is_variable(value: object) -> bool:
    return not isinstance(value, ModuleType | type) and not isroutine(value)


def _is_from_elsewhere(module: str, value: object) -> bool:
    return not isinstance(value, ModuleType) and getattr(value, "__module__", None) != module


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
