"""Modules as they are now, for functions that workers import by name.

A worker imports a function's module afresh, or imported it long ago. What the program has changed
there since (a `CONFIG` that was filled in, a table that was loaded, a function that was replaced,
a module that was reloaded) would be as it was, and the call would do something else than in a
loop. So what a function can reach by name travels with it.
"""

from __future__ import annotations

import itertools
import marshal
import sys
from collections.abc import Callable, Iterator
from inspect import isroutine
from types import BuiltinFunctionType, FunctionType, ModuleType

from _poolwise_worker import parts, script, transfer
from _poolwise_worker.snapshots import SharedPickle
from _poolwise_worker.state import CODE, MODULE, VALUE, Data, ModuleState, Places
from poolwise.mechanisms import snapshots
from poolwise.mechanisms.reached import home_of, is_the_users, names_reached_by
from poolwise.mechanisms.reads import ABSENT, READER, Reader, Reads, is_constant, keeps

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
    for module, path, _, entry in _entries(function, READER, _Pickles()):
        _put(places, module, path, entry)
    return version, places


class Watched:
    """A function whose state is taken again and again, which costs little while little changes.

    Belongs to one thread. What `module_state` says holds here. Definitions and small constants are
    pickled once, and again when one of them has changed; all else each time, for it may change in
    place.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self._reads: Reads | None = None
        self._settled: Places = {}
        self._open: list[tuple[str, str]] = []  # module and path of what may change in place

    @property
    def settled(self) -> Reads | None:
        """What was read, if the state is the same for as long as that holds; any thread may ask
        whether it does.
        """
        return None if self._open else self._reads

    def state(self) -> ModuleState:
        """Take the state, with a version that is higher than all before."""
        version = next(_versions)
        if self._reads is None or not self._reads.hold():
            return version, self._look()
        if not self._open:
            return version, self._settled
        pickles = _Pickles()
        places = {module: entries.copy() for module, entries in self._settled.items()}
        for module, path in self._open:
            value = _value_at(module, path)
            if value is not ABSENT:  # another thread may delete it
                _put(places, module, path, _entry(module, path, value, pickles))
        return version, places

    def _look(self) -> Places:
        self._reads = None  # of a walk that fails, nothing is known
        reads, pickles = Reads(), _Pickles()
        places: Places = {}
        settled: Places = {}
        self._open = []
        for module, path, value, entry in _entries(self.function, reads, pickles):
            _put(places, module, path, entry)
            if _is_settled(module, path, value, reads):
                _put(settled, module, path, entry)
            elif _value_at(module, path) is value:
                self._open.append((module, path))
            else:
                reads.unsure()
        self._settled, self._reads = settled, reads
        return places


def _entries(
    function: Callable[..., object], reads: Reader, pickles: _Pickles
) -> Iterator[tuple[str, str, object, tuple[int, Data] | None]]:
    """Yield module, path and value of each place that has a name, and what to send of it, if it is
    to be sent.
    """
    for module, path, value in names_reached_by(function, reads):
        if module == script.NAME or (module and is_the_users(module)):
            yield module, path, value, _entry(module, path, value, pickles)


def _put(places: Places, module: str, path: str, entry: tuple[int, Data] | None) -> None:
    if entry is not None:
        places.setdefault(module, {})[path] = entry


def _value_at(module: str, path: str) -> object:
    """Return what lies there now, `ABSENT` if nothing does."""
    first, *others = path.split(".")
    thing: object = script.variables_of(module).get(first, ABSENT)
    for name in others:
        thing = vars(thing).get(name, ABSENT) if isinstance(thing, ModuleType | type) else ABSENT
    return thing


def _is_settled(module: str, path: str, value: object, reads: Reads) -> bool:
    """Whether the entry of a value is the same for as long as `reads` hold: it is a constant, or
    code, or what is found by its name on the other side as well.
    """
    if module == script.NAME and not _is_variable(value):
        return True  # it has none
    if not isinstance(value, FunctionType | BuiltinFunctionType | type):
        return isinstance(value, ModuleType) or is_constant(value)
    if script.is_named(value.__module__):
        return False  # it goes by value
    if isinstance(value, FunctionType):
        home = home_of(value, reads)
        if home == (module, path):
            return all(
                map(keeps, [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()])
            )
        return home == (value.__module__, value.__qualname__)
    found = sys.modules.get(value.__module__)
    name = value.__qualname__
    return isinstance(found, ModuleType) and reads.get(vars(found), name) is value


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
    if not _is_variable(value) or script.variables().get(path) is not value:
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
            yield path if module in ("", script.NAME) else f"{module}.{path}", value


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
    if module == script.NAME:
        return _large_variable(path, value, pickles)
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


def _code_of(function: FunctionType) -> bytes:
    """Return the code, and the defaults if they are plain constants: others have an identity."""
    try:
        return marshal.dumps((function.__code__, function.__defaults__, function.__kwdefaults__))
    except ValueError:
        return marshal.dumps((function.__code__, ..., None))
