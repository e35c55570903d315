"""Somewhere else to run a function: a thread, a process, another interpreter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, Self

from poolwise.machine.door import Door
from poolwise.timing.repeat import Unmeasurable

#: What is compared.
KINDS = ("thread", "process", "interpreter")


class Place(Protocol):
    """A worker that runs functions one after the other."""

    def call(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Return what a function of an importable module returns there."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def open_place(kind: str) -> Place:
    """Start a worker of a kind.

    Raises:
        Unmeasurable: there are none here.
        OSError: none can be started.
    """
    return Interpreter() if kind == "interpreter" else _Pool(kind)


class _Pool:
    """A pool with one worker."""

    def __init__(self, kind: str) -> None:
        self._door = Door(kind, _apply, workers=1)

    def call(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        return self._door.call(function, *arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._door.__exit__(kind, error, traceback)


def _apply(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


#: Packages that an interpreter gets without what they import, which is a twentieth of a second of
#: work: what is called there lies in a small module of them.
_PACKAGES = {name: list(sys.modules[name].__path__) for name in ("poolwise", "poolwise.machine")}

_BARE = """
import types
sys.modules[{package!r}] = types.ModuleType({package!r})
sys.modules[{package!r}].__path__ = {path!r}
"""


class Interpreter:
    """An interpreter beside this one, in the same process; calls run in the caller's thread."""

    _knows_path = False

    def __init__(self) -> None:
        if sys.version_info < (3, 14):
            raise Unmeasurable("the standard library has interpreters from Python 3.14 on")
        try:
            interpreters: Any = import_module("concurrent.interpreters")
        except ImportError as error:
            raise Unmeasurable(f"there are no interpreters in this Python: {error}") from None
        self._interpreter: Any = interpreters.create()

    def call(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Return what a function of an importable module returns there."""
        if not self._knows_path:
            self.run(f"import sys; sys.path[:] = {sys.path!r}")
            for package, path in _PACKAGES.items():
                self.run(_BARE.format(package=package, path=path))
            self._knows_path = True
        return self._interpreter.call(function, *arguments)

    def run(self, code: str) -> None:
        """Run code in its main module."""
        self._interpreter.exec(code)

    def close(self) -> None:
        """End it."""
        self._interpreter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
