"""Getting at something by importing it."""

from __future__ import annotations

import builtins
import importlib.util
import keyword
import sys
import sysconfig
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, MethodType, ModuleType

from _poolwise_worker import script

#: What a program by hand imports under its own name.
USUAL = {
    "sys": sys,
    "ThreadPoolExecutor": ThreadPoolExecutor,
    "ProcessPoolExecutor": ProcessPoolExecutor,
}


@dataclass(frozen=True, slots=True)
class Reference:
    """Lines that go before, and the expression that then is the function.

    `names` are those that the lines bind. `future` are lines that must come first of all. `usual`
    are those of the names that mean what `USUAL` says.
    """

    call: str
    lines: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    future: tuple[str, ...] = ()
    usual: frozenset[str] = frozenset()


class CannotWrite(Exception):
    """Something can neither be imported nor written out; the text says what."""


def is_name(text: str) -> bool:
    """Whether `text` can name a variable."""
    return text.isidentifier() and not keyword.iskeyword(text)


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a thing is defined: a module, as it is known to this process."""

    name: str
    namespace: Mapping[str, object]
    file: Path | None
    package: bool


def by_import(thing: object, alias: str | None = None) -> Reference | None:
    """Return how to import `thing`, as `alias` if given, or ``None`` if it cannot be."""
    path = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    home = _home(thing)
    if home is None or not isinstance(path, str) or not all(map(is_name, path.split("."))):
        return None
    if not _is_at(home.namespace, path, thing):
        return None
    if home.name == "builtins":
        return Reference(path) if alias is None else _named(alias, path)
    folder, module = _place(home)
    top, dot, rest = path.partition(".")
    bound = top if alias is None or rest else alias
    if hasattr(builtins, bound):
        bound += "_"
    lines = [] if folder is None else [f"sys.path.insert(0, {_quoted(str(folder))})"]
    if all(map(is_name, module.split("."))):
        lines.append(f"from {module} import {top}" + (f" as {bound}" if bound != top else ""))
    else:
        lines += ["import importlib", f"{bound} = importlib.import_module({module!r}).{top}"]
    if alias is not None and rest:
        lines.append(f"{alias} = {bound}{dot}{rest}")
    call = bound + dot + rest if alias is None else alias
    return Reference(call, tuple(lines), frozenset({bound, call.partition(".")[0]}))


def import_module(name: str, module: ModuleType) -> tuple[str, ...]:
    """Return the lines that import a module under a name.

    Raises:
        CannotWrite: it cannot be imported by its own.

    """
    own = module.__name__
    if sys.modules.get(own) is not module or script.is_named(own):
        raise CannotWrite(f"it uses the module {own}, which cannot be imported")
    if not all(map(is_name, own.split("."))):
        raise CannotWrite(f"it uses the module {own}, whose name is none")
    file = getattr(module, "__file__", None)
    package = hasattr(module, "__path__")
    home = _Home(own, vars(module), Path(file) if isinstance(file, str) else None, package)
    folder, found = _place(home)
    lines = [] if folder is None else [f"sys.path.insert(0, {_quoted(str(folder))})"]
    return *lines, f"import {name}" if found == name else f"import {found} as {name}"


def way_to(module: str) -> tuple[str, ...]:
    """Return the line that has a module found that a function imports, if there has to be one."""
    top = module.partition(".")[0]
    try:
        spec = getattr(sys.modules.get(top), "__spec__", None) or importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return ()
    if spec is None or not spec.has_location or spec.origin is None:
        return ()
    package = spec.submodule_search_locations is not None
    folder, _ = _place(_Home(top, {}, Path(spec.origin), package))
    return () if folder is None else (f"sys.path.insert(0, {_quoted(str(folder))})",)


def by_its_owner(thing: object, alias: str) -> tuple[str, ...] | None:
    """Return how to import a method of an object that a module has, as `random.randint` is."""
    owner, name = getattr(thing, "__self__", None), getattr(thing, "__name__", None)
    home = getattr(type(owner), "__module__", None)
    if isinstance(owner, type | ModuleType) or not isinstance(name, str) or not is_name(name):
        return None
    if not isinstance(home, str) or script.is_named(home) or home == "builtins":
        return None
    if vars(sys.modules.get(home, sys)).get(name) is not thing:
        return None
    return (f"from {home} import {name}" + (f" as {alias}" if alias != name else ""),)


def _named(alias: str, path: str) -> Reference:
    return Reference(alias, (f"{alias} = {path}",), frozenset({alias}))


def _home(thing: object) -> _Home | None:
    owner = getattr(thing, "__self__", None)
    owner = owner if isinstance(owner, type) else getattr(thing, "__objclass__", thing)
    name = getattr(thing, "__module__", None) or getattr(owner, "__module__", None)
    if not isinstance(name, str) or script.is_named(name):
        return None
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        namespace: Mapping[str, object] = vars(module)
        package = hasattr(module, "__path__")
    elif isinstance(thing, FunctionType):  # loaded from a file, and not registered
        file, namespace, package = thing.__globals__.get("__file__"), thing.__globals__, False
    else:
        return None
    return _Home(name, namespace, Path(file) if isinstance(file, str) else None, package)


def _is_at(namespace: Mapping[str, object], path: str, thing: object) -> bool:
    """Whether following `path` from `namespace` leads to `thing` itself."""
    top, *rest = path.split(".")
    found = namespace.get(top)
    for name in rest:
        found = getattr(found, name, None)
    if isinstance(thing, MethodType) and isinstance(found, MethodType):
        return found.__self__ is thing.__self__ and found.__func__ is thing.__func__
    is_builtin_of_a_class = isinstance(getattr(thing, "__self__", None), type)
    return found is thing or (is_builtin_of_a_class and bool(found == thing))


def _place(home: _Home) -> tuple[Path | None, str]:
    """Return the folder to look in, ``None`` if every program does, and the name to import."""
    if home.file is None:
        return None, home.name
    file = home.file.absolute()
    parts = [*home.name.split("."), *(["__init__"] if home.package else [])]
    stem = file.name.partition(".")[0]
    if [*file.parent.parts[1 - len(parts) :], stem][-len(parts) :] != parts:
        return file.parent, stem  # loaded from a file under another name
    root = file.parents[len(parts) - 1]
    return (None if _searched_by_all(root) else root), home.name


def _searched_by_all(folder: Path) -> bool:
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    usual = {Path(sysconfig.get_path(key)) for key in keys}
    return folder in usual | {path / "lib-dynload" for path in usual}


def _quoted(text: str) -> str:
    """Write a string as people do, with double quotes where that is possible."""
    plain = text.isprintable() and text.isascii() and not {'"', "\\"} & set(text)
    return f'"{text}"' if plain else ascii(text)
