"""Variables that calls in processes read by name are those of the moment of the submit."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from poolwise import Executor

SOURCE = """
TABLE = None

def read():
    return TABLE

def other():
    return TABLE

def step():
    return "as it was"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "changing.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("changing")
    del sys.modules["changing"]


#: Small enough to go along with each batch, sent once to each worker, and in shared memory.
SIZES = [1, 100_000, 2_000_000]


@pytest.mark.parametrize("size", SIZES)
def test_what_another_function_has_brought_is_brought_again(module: ModuleType, size: int) -> None:
    first, second = "1" * size, "2" * size
    with Executor(plan="process:1") as executor:
        for value, function in [
            (first, module.read), (second, module.other), (first, module.read),
            (first, module.other), (second, module.read), (second, module.read),
        ]:  # fmt: skip
            module.TABLE = value
            assert executor.submit(function).result() == value


@pytest.mark.parametrize("size", SIZES)
def test_what_changes_in_place_is_seen(module: ModuleType, size: int) -> None:
    module.TABLE = ["a" * size]
    with Executor(plan="process:1") as executor:
        for letter in "abba":
            module.TABLE[0] = letter * size
            assert executor.submit(module.read).result() == [letter * size]


def test_what_grows_heavy_and_light_again_is_right(module: ModuleType) -> None:
    with Executor(plan="process:1") as executor:
        for size in (1, 100_000, 1, 2_000_000, 1):
            module.TABLE = "x" * size
            assert executor.submit(module.read).result() == module.TABLE


def test_code_that_is_replaced_is_seen(module: ModuleType) -> None:
    with Executor(plan="process:1") as executor:
        assert executor.submit(module.step).result() == "as it was"
        module.step.__code__ = (lambda: "another").__code__
        assert executor.submit(module.step).result() == "another"
