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
    open files) are left out; a worker has its own.
    """
    variables = (each for each in variables_of(function) if is_the_users(each[0]))
    return _pickled(variables, transfer.dumps)[0]


def state_for_fork(function: Callable[..., object]) -> ModuleState | None:
    """Return the same for a fork of this process, variables of ``__main__`` included.

    ``None`` if that is too much to send: a new fork has it all.
    """
    state, whole = _pickled(variables_of(function), transfer.BETWEEN_FORKS.dumps)
    return state if whole else None


def _pickled(
    variables: Iterable[tuple[str, str, object]], dumps: Callable[[object], bytes]
) -> tuple[ModuleState, bool]:
    """Pickle variables; the second value says whether they were few enough for all of them."""
    state: ModuleState = {}
    size = 0
    for module, name, value in variables:
        try:
            pickled = dumps(value)
        except Exception:
            continue
        size += len(pickled)
        if size > _AT_MOST:
            return state, False
        state.setdefault(module, {})[name] = pickled
    return state, True


def variables_of(function: Callable[..., object]) -> Iterator[tuple[str, str, object]]:
    """Yield module, name and value of each variable of the user's that calls may read by name:
    directly, as an attribute of a module, or through functions that they call.
    """
    return (each for each in names_reached_by(function) if _is_variable(each[2]))


def names_reached_by(function: Callable[..., object]) -> Iterator[tuple[str, str, object]]:
    """Yield module, name and value of everything of the user's that calls may find by name:
    variables, functions, classes, modules.
    """
    waiting: list[object] = [function]
    seen: set[int] = set()
    while waiting:
        plain = _plain_function(waiting.pop())
        if plain is None or id(plain) in seen:
            continue
        seen.add(id(plain))
        names = set(_names(plain.__code__))
        home = str(plain.__globals__.get("__name__"))
        # What a closure holds travels with it, but for modules and functions, which go by name.
        waiting += (cell.cell_contents for cell in plain.__closure__ or () if _is_filled(cell))
        modules = [value for value in waiting if isinstance(value, ModuleType)]
        for name in names & plain.__globals__.keys():
            value = plain.__globals__[name]
            if isinstance(value, ModuleType):
                modules.append(value)
            elif isroutine(value):
                waiting.append(value)
            yield home, name, value
        for module in modules:
            if not is_the_users(module.__name__):
                continue
            for name in names & vars(module).keys():
                value = vars(module)[name]
                if isroutine(value):
                    waiting.append(value)
                yield module.__name__, name, value


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a variable that has no value yet
        return False


def _plain_function(function: object) -> FunctionType | None:
    """Return what runs when `function` is called, if that is written in the user's Python."""
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, MethodType):
        function = function.__func__
    function = getattr(function, "__wrapped__", function)
    if not isinstance(function, FunctionType):
        return None
    module = function.__module__
    return function if module == "__main__" or is_the_users(module) else None


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # functions and comprehensions inside
            yield from _names(constant)


def _is_variable(value: object) -> bool:
    return not isinstance(value, ModuleType | type) and not isroutine(value)


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
