"""Modules of the user's, brought to the state that they have in the caller."""

from __future__ import annotations

import marshal
import sys
from _thread import RLock, allocate_lock

from _poolwise_worker import script, transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias, TypeVar

    from _poolwise_worker.snapshots import SharedPickle

    T = TypeVar("T")

#: What a place holds: a pickled value; a function of its own, of which the code travels, because
#: a reference would lead to what is there already; or a module, by name.
VALUE, CODE, MODULE = 0, 1, 2

#: That in bytes, or a value with its large parts in memory that all workers share.
Data: TypeAlias = "bytes | SharedPickle"

#: By module and path in it (``"Class.method"``): what it holds, and that pickled.
Places = dict[str, dict[str, tuple[int, "Data"]]]

#: Of two states, the one with the larger version is newer.
ModuleState = tuple[int, Places]

#: What came last, by module and path, with the version that brought it. Guarded by `_lock`, like
#: the modules while they are changed: several threads may bring the same, and none may run its
#: calls before all is there.
_brought: dict[tuple[str, str], tuple[int, object]] = {}
_lock = allocate_lock()


def bring(version: int, places: Places) -> Callable[[T], T]:
    """Make modules here what they were in the caller when it took `version`; versions grow. Return
    what returns its argument: in a pickle, what is read after this.

    What the caller has not changed since it came last is left as calls here have made it. What is
    still as the import here made it keeps its identity. Late word of an older version is ignored.

    Raises whatever importing, reading and setting raise.
    """
    with _lock:
        for name, entries in places.items():
            for path, (kind, data) in entries.items():
                known, before = _brought.get((name, path), (0, None))
                if known > version:
                    continue
                sign = data if isinstance(data, bytes) else data.sign
                with _setting:  # those of `__main__` may be set by `set_new`, too
                    if before != sign:
                        _put(_module(name), path, kind, data)
                        if name == script.NAME:
                            _fingerprints.pop(path, None)
                    _brought[name, path] = version, sign
    return _itself


def _itself(thing: T) -> T:
    return thing


#: Of each variable of ``__main__`` that a function brought, a fingerprint of what came last.
#: Guarded by `_setting`, as the variables are while functions set them: whoever finds a fingerprint
#: finds its variable, too. Reentrant, because what is set runs code of the user's when it is read.
#: Taken after `_lock`, if both are.
_fingerprints: dict[str, bytes] = {}
_setting = RLock()


def set_new(variables: dict[str, object], brought: dict[str, tuple[object, bytes | None]]) -> None:
    """Set those variables of ``__main__`` that are not what came last, by their fingerprints; one
    without is set always.

    Several threads may bring the same. When this returns, all is there, whoever has set it.
    """
    gone = []  # what goes may wait for another thread: not under the lock
    with _setting:
        for name, (value, fingerprint) in brought.items():
            if fingerprint is None:
                _fingerprints.pop(name, None)
            elif _fingerprints.get(name) == fingerprint:
                continue
            gone.append(variables.get(name))
            variables[name] = value
            _brought.pop((script.NAME, name), None)
            if fingerprint is not None:
                _fingerprints[name] = fingerprint


def _module(name: str) -> Any:
    if name == script.NAME:
        return script.Variables()
    if name not in sys.modules:
        __import__(name)
    return sys.modules[name]


def _put(module: Any, path: str, kind: int, data: Data) -> None:
    if not isinstance(data, bytes):
        owner, _, name = path.rpartition(".")
        setattr(_at(module, owner), name, data.load())
        return
    if kind == CODE:
        try:
            _put_code(module, path, data)
        except (AttributeError, ValueError):
            # The module has changed so much since it was imported here that this function is not
            # there, or is a closure over other variables.
            from importlib import reload

            reload(module)
            _put_code(module, path, data)
        return
    owner, _, name = path.rpartition(".")
    holder = _at(module, owner)
    if kind == MODULE:
        if getattr(getattr(holder, name, None), "__name__", "") != data.decode():
            setattr(holder, name, _module(data.decode()))
    elif not _is_there(holder, name, data):
        setattr(holder, name, transfer.loads(data))


def _at(module: Any, path: str) -> Any:
    """Return what lies at `path`; under a method, its function."""
    thing: Any = module
    for name in path.split(".") if path else ():
        thing = getattr(thing, name)
    return getattr(thing, "__func__", thing)


def _put_code(module: Any, path: str, data: bytes) -> None:
    code, defaults, keyword_defaults = marshal.loads(data)
    function = _at(module, path)
    if function.__code__ != code:
        function.__code__ = code
    if defaults is not ...:
        function.__defaults__, function.__kwdefaults__ = defaults, keyword_defaults


def _is_there(holder: Any, name: str, data: bytes) -> bool:
    try:
        return transfer.dumps(getattr(holder, name)) == data
    except Exception:
        return False
