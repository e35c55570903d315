"""The page about the protocol names only what exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import poolwise.mechanisms
from poolwise.testing import LAWS

README = Path(poolwise.mechanisms.__file__).parent / "README.md"
TEXT = README.read_text(encoding="utf-8")

#: Where a name may start that does not start with a package.
HOMES = [
    importlib.import_module(name)
    for name in [
        "poolwise.mechanisms.protocol",
        "poolwise.mechanisms.servers",
        "poolwise.mechanisms.process_pool",
        "poolwise.task",
    ]
]


def dotted_names(text: str) -> list[str]:
    quoted = re.findall(r"`([^`]+)`", text)
    in_blocks = [name for block in re.findall(r"(?m)^ {4}.*$", text) for name in block.split()]
    return sorted({name.strip(",") for name in quoted + in_blocks if is_dotted(name.strip(","))})


def is_dotted(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z_]+(\.[A-Za-z_]+)+", name) is not None


def resolve(name: str) -> Any:
    """Return what a dotted name means; raises if it means nothing."""
    first, *rest = name.split(".")
    thing: Any
    if first in {"poolwise", "_poolwise_worker"}:
        thing = importlib.import_module(first)
    else:
        thing = next(vars(home)[first] for home in HOMES if first in vars(home))
    for attribute in rest:
        if isinstance(thing, ModuleType) and not hasattr(thing, attribute):
            thing = importlib.import_module(f"{thing.__name__}.{attribute}")
        else:
            thing = getattr(thing, attribute)
    return thing


@pytest.mark.parametrize("name", dotted_names(TEXT))
def test_every_dotted_name_resolves(name: str) -> None:
    resolve(name)


def test_a_name_that_means_nothing_is_seen() -> None:
    text = "`poolwise.mechanisms.nothing` and\n\n    run   Pool.perform, Pool.send\n"
    names = dotted_names(text)
    assert names == ["Pool.perform", "Pool.send", "poolwise.mechanisms.nothing"]
    with pytest.raises(AttributeError):
        resolve("Pool.perform")
    with pytest.raises(ImportError):
        resolve("poolwise.mechanisms.nothing")
    resolve("Pool.send")


def test_every_law_is_on_the_page_in_its_order() -> None:
    places = [TEXT.find(f"`poolwise.testing.{law.__name__}`") for law in LAWS]
    assert -1 not in places
    assert places == sorted(places)
    named = re.findall(r"`poolwise\.testing\.(\w+)`", TEXT)
    assert set(named) - {"check_mechanism"} == {law.__name__ for law in LAWS}


def test_the_page_says_which_mechanisms_there_are() -> None:
    for name in poolwise.mechanisms.table.MECHANISMS:
        assert f"`{name}`" in TEXT
