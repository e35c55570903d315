"""What the code says of itself is there, and its examples do what they show."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import poolwise

SRC = Path(poolwise.__path__[0])
PROJECT = Path(__file__).parent.parent


def _module_name(file: Path) -> str:
    return ".".join(file.relative_to(SRC.parent).with_suffix("").parts).removesuffix(".__init__")


#: Every module and its text, but what runs when it is imported: the command line, the programs of
#: the claims.
MODULES = {
    _module_name(file): file.read_text(encoding="utf-8")
    for file in sorted(SRC.rglob("*.py"))
    if file.name != "__main__.py" and file.parent.name != "programs"
}

#: What a class defines that can have a docstring.
MEMBERS = (FunctionType, classmethod, staticmethod, property, cached_property)


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


WITH_EXAMPLES = [name for name, text in MODULES.items() if ">>> " in text]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_do_what_they_show(name: str) -> None:
    ran = doctest.testmod(import_module(name))
    assert ran.attempted > 0
    assert ran.failed == 0


def test_there_are_examples_of_the_main_names() -> None:
    homes = {
        "poolwise",
        "poolwise.api.mapping",
        "poolwise.api.advising",
        "poolwise.executor.executor",
        "poolwise.plan",
    }
    assert homes <= set(WITH_EXAMPLES)


def _undocumented(module: ModuleType) -> Iterator[str]:
    if not module.__doc__:
        yield module.__name__
    for name, thing in vars(module).items():
        if not _is_public(name) or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(thing):
            yield from _undocumented_in(thing, f"{module.__name__}.{name}")
        elif inspect.isroutine(thing) and not thing.__doc__:
            yield f"{module.__name__}.{name}"


def _undocumented_in(cls: type, name: str) -> Iterator[str]:
    # `dataclass` writes "Name(field, ...)" where there is no text.
    if not cls.__doc__ or cls.__doc__.startswith(f"{cls.__name__}("):
        yield name
    for attribute, member in vars(cls).items():
        if _is_public(attribute) and isinstance(member, MEMBERS) and not inspect.getdoc(member):
            yield f"{name}.{attribute}"


def test_everything_public_says_what_it_is_for() -> None:
    modules = [import_module(name) for name in MODULES if _is_public(name)]
    assert len(modules) > 50
    assert [name for module in modules for name in _undocumented(module)] == []


def test_what_says_nothing_is_seen() -> None:
    module = ModuleType("example")
    source = """
class Bare:
    def method(self): pass
    @property
    def value(self): pass
    @classmethod
    def make(cls): pass
    def told(self): "Text."
    def _private(self): pass
def bare(): pass
def told(): "Text."
def _private(): pass
"""
    exec(source, vars(module))
    assert sorted(_undocumented(module)) == [
        "example",
        "example.Bare",
        "example.Bare.make",
        "example.Bare.method",
        "example.Bare.value",
        "example.bare",
    ]


# ---- the README of a room --------------------------------------------------------------------


def _names_in(readme: str) -> list[str]:
    """Everything between backticks that is a name or a file."""
    return re.findall(r"(?<!`)`([A-Za-z_][\w.]*(?:/[\w.]+)*)`(?!`)", readme)


def _resolves(name: str, room: str) -> bool:
    """Whether `name` is a file of the room or of the project, or can be had from a module."""
    if "/" in name or name.endswith(".py"):
        return any((folder / name).is_file() for folder in (SRC / room, PROJECT))
    return name in MODULES or any(_found(import_module(module), name) for module in MODULES)


def _found(start: object, name: str) -> bool:
    for part in name.split("."):
        fields = getattr(start, "__dataclass_fields__", {})
        if part not in fields and not hasattr(start, part):
            return False
        start = getattr(start, part, None)
    return True


@pytest.mark.parametrize("room", ["cost", "machine"])
def test_every_name_in_the_readme_of_a_room_exists(room: str) -> None:
    names = _names_in((SRC / room / "README.md").read_text(encoding="utf-8"))
    assert names
    assert [name for name in names if not _resolves(name, room)] == []


def test_a_name_that_does_not_exist_is_seen() -> None:
    for name in ("Facts.whole_cpus", "PoolCosts.call_overhead", "Plan", "facts.py"):
        assert _resolves(name, "machine"), name
    for name in ("Facts.half_cpus", "PoolCosts.nothing", "Plans", "feats.py", "poolwise.nothing"):
        assert not _resolves(name, "machine"), name
