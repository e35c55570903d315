"""Variables that calls in processes read by name are those of the moment of the submit."""

from __future__ import annotations

import functools
import gc
import importlib
import sys
import weakref
from collections.abc import Callable, Iterator
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

def called():
    return TABLE()

class Rule:
    kind = 0

def kind():
    return Rule().kind

def reaches():
    return TABLE is None, other is None

def tasks():
    import gc
    from _poolwise_worker.intake import Intake
    return sum(len(each._tasks) for each in gc.get_objects() if type(each) is Intake)
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


def test_what_another_function_has_brought_is_brought_again_for_one_that_is_known(
    module: ModuleType,
) -> None:
    with Executor(plan="process:1") as executor:
        for value, function in [
            *[("first", module.read)] * 4, ("second", module.other), *[("first", module.read)] * 3,
            *[("second", module.other)] * 3, ("second", module.read), ("first", module.other),
            *[("first", module.read)] * 3,
        ]:  # fmt: skip
            module.TABLE = value
            assert executor.submit(function).result() == value


def test_a_function_that_is_known_comes_to_workers_that_start_later(module: ModuleType) -> None:
    module.TABLE = "there"
    with Executor(plan="process:1", max_tasks_per_child=5) as executor:
        assert {executor.submit(module.read).result() for _ in range(20)} == {"there"}


def test_workers_forget_functions_as_they_were(module: ModuleType) -> None:
    with Executor(plan="process:1") as executor:
        for value in range(20):
            module.TABLE = str(value)
            for _ in range(4):
                assert executor.submit(module.read).result() == module.TABLE
        assert executor.submit(module.tasks).result() < 10


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


CHANGING = """
import functools
import math
from collections import Counter

LIMIT = 3
TABLE = [1]
NOTHING = None

class Rule:
    level = 1
    kinds = []
    def apply(self):
        return self.level, list(self.kinds), LIMIT

class Callable:
    def __init__(self):
        self.step = 1
    def __call__(self):
        return self.step

RULE = Rule()
CALLED = Callable()
PARTIAL = functools.partial(max, 1)

def helper():
    return LIMIT

def wrap(function):
    @functools.wraps(function)
    def wrapped():
        return function(), LIMIT
    return wrapped

@wrap
def decorated():
    return TABLE[0]

def constant():
    return LIMIT, NOTHING

def through_another():
    return helper()

def default(values=[1], *, more={"a": 1}):
    return list(values), dict(more)

def method():
    return RULE.apply(), Rule.level

def absent():
    return MISSING

def standard():
    return math.floor(2.5), sorted(Counter("aab"))

def through_an_object():
    return CALLED(), PARTIAL(2)

def bound():
    return RULE.apply()
"""


def _later(tmp_path: Path, module: ModuleType) -> None:
    module.MISSING = "there now"


def _reload(tmp_path: Path, module: ModuleType) -> None:
    (tmp_path / "watched.py").write_text(CHANGING.replace("LIMIT = 3", "LIMIT = 333_333"))
    importlib.reload(module)


#: What a program may do between two calls.
CHANGES: dict[str, Callable[[Path, ModuleType], object]] = {
    "constant": lambda _, m: setattr(m, "LIMIT", 4),
    "other type": lambda _, m: setattr(m, "LIMIT", [4]),
    "none": lambda _, m: setattr(m, "NOTHING", 0),
    "in place": lambda _, m: m.TABLE.__setitem__(0, 5),
    "added": _later,
    "function": lambda _, m: setattr(m, "helper", lambda: "another"),
    "code": lambda _, m: setattr(m.helper, "__code__", (lambda: "other code").__code__),
    "default list": lambda _, m: m.default.__defaults__[0].append(2),
    "defaults": lambda _, m: setattr(m.default, "__defaults__", ([9],)),
    "keyword default": lambda _, m: m.default.__kwdefaults__["more"].update(b=2),
    "keyword default set": lambda _, m: m.default.__kwdefaults__.update(more={"c": 3}),
    "class attribute": lambda _, m: setattr(m.Rule, "level", 2),
    "class list": lambda _, m: m.Rule.kinds.append("kind"),
    "method": lambda _, m: setattr(m.Rule, "apply", lambda self: "patched"),
    "instance": lambda _, m: setattr(m.RULE, "level", 7),
    "attribute of what is called": lambda _, m: setattr(m.CALLED, "step", 2),
    "partial": lambda _, m: setattr(m, "PARTIAL", m.functools.partial(max, 6)),
    "reload": _reload,
}


def _outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_after_many_calls_is_seen_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    (tmp_path / "watched.py").write_text(CHANGING)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("watched")
    names = (
        "constant", "through_another", "default", "method", "absent", "standard", "decorated",
        "through_an_object",
    )  # fmt: skip
    try:
        with Executor(plan="process:1") as executor:
            for changed in (False, True):
                if changed:
                    CHANGES[change](tmp_path, module)
                for _ in range(3):
                    for name in names:
                        function = getattr(module, name)
                        there = _outcome(executor.submit(function).result)
                        assert there == _outcome(function), name
    finally:
        del sys.modules["watched"]


def test_a_function_that_is_found_no_more_stays_what_it_was(module: ModuleType) -> None:
    step = module.step
    with Executor(plan="process:1") as executor:
        for _ in range(3):
            assert executor.submit(step).result() == "as it was"
        module.step = module.read
        assert executor.submit(step).result() == "as it was"
        assert executor.submit(module.step).result() is None


def _three_times(function: Callable[..., object], executor: Executor) -> list[object]:
    return [executor.submit(function).result() for _ in range(3)]


def test_what_hooks_hold_is_seen_to_change(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions of ``__main__``, closures and properties that a program puts into a module."""
    main = vars(sys.modules["__main__"])
    table = [1]
    monkeypatch.setitem(main, "table_of_a_test", table)
    monkeypatch.setitem(main, "hook_of_a_test", None)
    exec("def hook_of_a_test():\n    return table_of_a_test[0]", main)
    for put in (main["hook_of_a_test"], lambda: table[0]):
        table[0] = 1
        module.TABLE = put
        with Executor(plan="process:1") as executor:
            assert _three_times(module.called, executor) == [1, 1, 1]
            table[0] = 2
            assert _three_times(module.called, executor) == [2, 2, 2]
    module.Rule.kind = property(lambda self: table[0])
    with Executor(plan="process:1") as executor:
        assert _three_times(module.kind, executor) == [2, 2, 2]
        table[0] = 3
        assert _three_times(module.kind, executor) == [3, 3, 3]


def test_a_cached_function_that_was_reloaded_is_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = "import functools\n@functools.lru_cache\ndef helper(x):\n    return x + 1\n"
    (tmp_path / "caching.py").write_text(source)
    (tmp_path / "using.py").write_text(
        "import caching\ndef use(x):\n    return caching.helper(x)\n"
    )
    using = importlib.import_module("using")
    try:
        with Executor(plan="process:1") as executor:
            for x in range(3):
                assert executor.submit(using.use, x).result() == x + 1
            (tmp_path / "caching.py").write_text(source.replace("x + 1", "x + 22_222"))
            importlib.reload(using.caching)
            assert executor.submit(using.use, 3).result() == 22_225
    finally:
        del sys.modules["using"], sys.modules["caching"]


def test_nothing_of_the_users_is_kept_alive(module: ModuleType) -> None:
    class Large:
        pass

    large, held = Large(), [Large()]
    gone = weakref.ref(large), weakref.ref(held[0])
    module.TABLE = large
    module.other = functools.partial(lambda thing: None, held[0])
    with Executor(plan="process:1") as executor:
        executor.submit(module.reaches).result()
        executor.submit(module.reaches).result()
        module.TABLE = module.other = None
        del large
        held.clear()
        gc.collect()
        assert [each() for each in gone] == [None, None]
