"""Variables of imported modules that the program has changed are what calls see in workers."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock

import pytest

import poolwise
from poolwise.mechanisms.module_state import module_state

MODULE = textwrap.dedent(
    """
    import functools
    import json
    import threading

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

    @functools.cache
    def cached(number):
        return number + LIMIT

    def late(judge):
        import settings_of_test
        return settings_of_test.LARGE

    class Base:
        def limit(self):
            return LIMIT

    class Judge(Base):
        level = 3

        def __call__(self, number):
            return self.limit() + helper(number)

        @property
        def wide(self):
            return self.level

        @staticmethod
        def rule():
            pass

        @classmethod
        def kind(cls):
            pass
    """
)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "settings_of_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("settings_of_test")
    del sys.modules["settings_of_test"]


def places(function: Callable[..., object]) -> dict[str, set[str]]:
    _, found = module_state(function)
    return {module: set(paths) for module, paths in found.items()}


def test_what_calls_can_reach_by_name_is_sent_if_it_pickles(module: ModuleType) -> None:
    assert places(module.scale) == {
        "settings_of_test": {"CONFIG", "LIMIT", "MISSING", "helper", "scale"}
    }
    assert places(module.unrelated) == {"settings_of_test": {"json", "unrelated"}}
    assert places(len) == {}


def test_what_is_found_through_objects_classes_and_imports(module: ModuleType) -> None:
    methods = {"Base.limit", "Judge.__call__", "Judge.kind", "Judge.rule", "Judge.wide.fget"}
    reached = methods | {"LIMIT", "Judge.level", "helper"}
    assert places(module.Judge()) == {"settings_of_test": reached}
    assert places(module.Judge().__call__) == {"settings_of_test": reached}
    assert reached < places(partial(module.late, module.Judge()))["settings_of_test"]
    assert places(module.cached)["settings_of_test"] >= {"LIMIT", "cached.__wrapped__"}
    assert "LARGE" in places(module.late)["settings_of_test"]


def test_versions_grow(module: ModuleType) -> None:
    assert module_state(len)[0] < module_state(len)[0]


def test_large_values_are_sent_too(module: ModuleType) -> None:
    module.LARGE = "x" * (2 << 20)
    assert list(poolwise.map(module.length, range(3), plan="process:2")) == [2 << 20] * 3


def test_replaced_code_is_what_calls_run(module: ModuleType, tmp_path: Path) -> None:
    with poolwise.Executor(plan="process:1") as pool:
        assert pool.submit(module.helper, 9).result(30) == 3
        source = MODULE.replace("return min(number, LIMIT)", "return max(number, LIMIT, 50)")
        # What lies in the file does not matter as long as this process has not read it.
        (tmp_path / "settings_of_test.py").write_text(
            source + "\n\ndef added(number):\n    return helper(number) + 1\n"
        )
        assert {pool.submit(module.helper, 9).result(30) for _ in range(5)} == {3}
        importlib.reload(module)
        while pool.submit(module.helper, 9).result(30) != 50:
            pass  # modules are looked at again before almost every batch
        assert pool.submit(module.added, 9).result(30) == 51
        assert list(poolwise.map(module.added, [9], plan="process:1")) == [51]


def test_a_mock_is_refused_where_it_would_not_hear_of_its_calls(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock = Mock(return_value=5)
    monkeypatch.setattr(module, "helper", mock)
    with pytest.raises(poolwise.PlanRefused, match=r"settings_of_test\.helper is a mock.*threads"):
        next(poolwise.map(module.scale, range(3), plan="process:1"))
    assert list(poolwise.map(module.scale, range(3))) == [(5, True)] * 3
    assert mock.call_count == 3


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


class Changing:
    """While it is pickled, something changes: as if another thread did it."""

    def __init__(self, change: Callable[[], object]) -> None:
        self.change = change

    def __reduce__(self) -> tuple[type, tuple[()]]:
        self.change()
        return object, ()


def test_another_thread_may_set_an_attribute_of_a_class_that_is_looked_at(
    module: ModuleType,
) -> None:
    module.Judge.level = Changing(lambda: setattr(module.Judge, "another", 1))
    _, places = module_state(module.Judge())
    assert "Judge.level" in places["settings_of_test"]


def test_another_thread_may_delete_a_variable_that_is_looked_at(module: ModuleType) -> None:
    def call() -> object:
        return module.CONFIG, module.LIMIT

    for function in (call, eval("lambda: (CONFIG, LIMIT)", vars(module))):
        # Whichever is looked at first deletes the other.
        module.CONFIG = Changing(lambda: vars(module).pop("LIMIT", None))
        module.LIMIT = Changing(lambda: vars(module).pop("CONFIG", None))
        _, places = module_state(function)
        assert len(places["settings_of_test"]) == 1
