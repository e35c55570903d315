"""Finding the function that the command is to run."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from poolwise.cli.errors import CommandError

#: Frames of these are not the user's.
_NOT_USERS = (__file__, importlib.__file__, "<frozen importlib")


class Target(NamedTuple):
    """The function, and the module in which it was found."""

    function: Callable[..., Any]
    module: ModuleType


def load_target(text: str, *, spread: bool = False) -> Target:
    """Import what ``package.module:function`` or ``path/to/file.py:function`` names.

    Raises:
        CommandError: there is no such thing, it cannot be imported, or it cannot be called with
            one input (any keyword arguments, with `spread`).
    """
    place, _, name = text.rpartition(":")
    if not place or not name:
        example = "file.py:function" if text.endswith(".py") else "package.module:function"
        raise CommandError(f"'{text}' names no function; write {example}")
    is_file = place.endswith(".py") or os.sep in place
    module = _load_file(Path(place)) if is_file else _import_module(place)
    function = _look_up(module, name, place)
    _check(function, name, spread=spread)
    return Target(function, module)


# ---- importing ----------------------------------------------------------------------------


def _import_module(name: str) -> ModuleType:
    """Import as ``python -m`` would: modules of the current folder first."""
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return _import(name, name)
    except ModuleNotFoundError as error:
        raise CommandError(
            f"there is no module {error.name}; a file is given as path/to/file.py:function"
        ) from None


def _load_file(path: Path) -> ModuleType:
    """Import a file as ``python path/to/file.py`` would: modules of its folder first."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CommandError(f"{path} {what}; TARGET takes path/to/file.py:function")
    path = path.absolute()
    sys.path.insert(0, str(path.parent))
    if path.suffix == ".py" and _is_imported_from(path.stem, path):
        return _import(path.stem, path.name)
    return _load_by_value(path)


def _is_imported_from(name: str, path: Path) -> bool:
    """Whether ``import name`` runs this very file; then workers can import it too."""
    if not name.isidentifier():
        return False
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return (
        spec is not None
        and spec.has_location
        and spec.origin is not None
        and os.path.exists(spec.origin)
        and os.path.samefile(spec.origin, path)
    )


def _load_by_value(path: Path) -> ModuleType:
    """Run a file that cannot be imported by its name; its functions are pickled by value."""
    # Named after the main script, because that is what poolwise never pickles by reference.
    name = f"__main__:{path.stem}"
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with _UserCode(path.name):
        loader.exec_module(module)
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)
    return module


def _import(name: str, shown: str) -> ModuleType:
    """Import `name`.

    Raises:
        ModuleNotFoundError: it does not exist. That a module which it imports does not exist is
            a `CommandError` like any other.
    """
    parents = {name[:end] for end, letter in enumerate(name + ".") if letter == "."}
    with _UserCode(shown, missing=parents):
        return importlib.import_module(name)


class _UserCode:
    """Turns what the user's module raises into a `CommandError` with the user's own frames."""

    def __init__(self, shown: str, missing: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self._shown = shown
        self._missing = missing

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ModuleNotFoundError) and error.name in self._missing:
            return
        if isinstance(error, SystemExit):
            raise CommandError(
                f"{self._shown} ends the program when it is imported (exit code {error.code}); "
                'guard what must not run with: if __name__ == "__main__"'
            ) from None
        if isinstance(error, Exception):
            while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_NOT_USERS):
                trace = trace.tb_next
            details = "".join(traceback.format_exception(type(error), error, trace))
            raise CommandError(f"{self._shown} cannot be imported", details=details) from None


# ---- the function -------------------------------------------------------------------------


def _look_up(module: ModuleType, name: str, place: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            near = get_close_matches(part, dir(found), n=1)
            hint = f"; is it {near[0]}?" if near else ""
            raise CommandError(f"there is no {name} in {place}{hint}")
        found = getattr(found, part)
    return found


def _check(function: Any, name: str, *, spread: bool) -> None:
    if not callable(function):
        raise CommandError(f"{name} is of type {type(function).__name__}, which cannot be called")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise CommandError(
            f"{name} is a coroutine function: a call returns at once, and nothing runs; "
            "give a plain function, for example one that calls asyncio.run"
        )
    if spread:
        return  # the names differ from input to input
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # written in C, and says nothing of its arguments
    try:
        signature.bind(None)
    except TypeError as error:
        raise CommandError(
            f"{name}{signature} cannot be called with one input ({error}); "
            "give a function of one argument"
        ) from None
