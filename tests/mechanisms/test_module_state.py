"""Variables of imported modules that the program has changed are what calls see in workers."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import poolwise
from poolwise.mechanisms.module_state import module_state

MODULE = textwrap.dedent(
    """
    import threading
    import json

    CONFIG = {"factor": 1}
    LIMIT = 3
    LOCK = threading.Lock()
    MISSING = object()
    LARGE = None

    def helper(number):
        return min(number, LIMIT)

    def scale(number, default=MISSING):
        with LOCK:
            return helper(number) * CONFIG["factor"], default is MISSING

    def length(number):
        return len(LARGE)

    def unrelated(number):
        return json.dumps(number)
    """
)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "settings_of_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("settings_of_test")
    del sys.modules["settings_of_test"]


def test_only_variables_that_calls_can_reach_and_that_pickle_are_sent(module: ModuleType) -> None:
    state = module_state(module.scale)
    assert set(state) == {"settings_of_test"}
    assert set(state["settings_of_test"]) == {"CONFIG", "LIMIT", "MISSING"}
    assert module_state(module.unrelated) == {}
    assert module_state(len) == {}


def test_what_is_too_large_is_not_sent(module: ModuleType) -> None:
    module.LARGE = "x" * (2 << 20)
    assert module_state(module.length) == {}


def test_changed_variables_are_seen_and_unchanged_ones_keep_their_identity(
    module: ModuleType,
) -> None:
    module.CONFIG["factor"] = 100
    module.LIMIT = 5
    expected = [module.scale(number) for number in range(8)]
    assert expected[7] == (500, True)
    assert list(poolwise.map(module.scale, range(8), plan="process:2")) == expected


def test_functions_that_travel_by_value_see_them_too(module: ModuleType) -> None:
    module.LIMIT = 7

    def call(number: int) -> object:
        return module.LIMIT, module.helper(number)

    expected = [call(number) for number in range(10)]
    assert list(poolwise.map(call, range(10), plan="process:2")) == expected


def test_each_map_sends_them_as_they_are_then(module: ModuleType) -> None:
    for limit in (1, 2, 3):
        module.LIMIT = limit
        assert list(poolwise.map(module.helper, [9], plan="process:1")) == [limit]
