"""By what a function is recognised: the same in every process, another when its code is edited."""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from poolwise.cli.call import Call, Spread
from poolwise.wisdom import Subject, subject_of

SOURCE = """
LIMIT = 3

def work(x, *, deep=1):
    kinds = {"a", "b", "c", "d"}
    if x in {"one", "two", "three", "four"}:
        return [each + 1 for each in range(x)]
    return x * 2.5
"""


def made(source: str, name: str = "work", module: str = "somewhere") -> Any:
    """The function of a module with this source, as if it had been imported from a file."""
    made_module = ModuleType(module)
    made_module.__file__ = f"/{module}.py"
    sys.modules[module] = made_module
    code = compile(source, made_module.__file__, "exec", dont_inherit=True)
    exec(code, vars(made_module))
    return getattr(made_module, name)


@pytest.fixture(autouse=True)
def _nothing_stays_imported() -> Any:
    yield
    sys.modules.pop("somewhere", None)


@pytest.mark.parametrize(
    "edit",
    [
        ("x * 2.5", "x * 2.6"),
        ("x * 2.5", "x + 2.5"),
        ("each + 1", "each + 2"),
        ('"four"', '"five"'),
        ("*, deep=1", "deep=1"),
        ("range(x)", "list(x)"),
    ],
    ids=str,
)
def test_code_that_is_edited_is_another_function(edit: tuple[str, str]) -> None:
    assert edit[0] in SOURCE
    before, after = subject_of(made(SOURCE)), subject_of(made(SOURCE.replace(*edit)))
    assert (after.module, after.name) == (before.module, before.name) == ("somewhere", "work")
    assert after.code != before.code


def test_what_stands_above_it_and_in_comments_does_not_matter() -> None:
    moved = "# a comment\n\nimport os\n" + SOURCE.replace("return x", "return x  # really\n    x")
    assert subject_of(made(moved.replace("\n    x *", " *"))) == subject_of(
        made(SOURCE.replace("return x", "return x  # really\n    x").replace("\n    x *", " *"))
    )
    assert subject_of(made("LINE = 1\n" * 5 + SOURCE)) == subject_of(made(SOURCE))


def test_it_is_the_same_in_another_process_whatever_the_order_of_sets(tmp_path: Path) -> None:
    (tmp_path / "somewhere.py").write_text(SOURCE)
    program = """
import somewhere
from poolwise.wisdom import subject_of
print(subject_of(somewhere.work).code)
"""
    codes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert codes == {subject_of(made(SOURCE)).code}


def _holding(value: object) -> Callable[[object], object]:
    return lambda x: (x, value)


def _calling(function: Callable[..., object]) -> Callable[..., object]:
    def wrapper(*args: object) -> object:
        return function(*args)

    return wrapper


def _named(function: Callable[..., object]) -> Callable[..., object]:
    return functools.wraps(function)(_calling(function))


def one(x: object) -> object:
    return x


def two(x: object) -> object:
    return [x]


def test_of_what_it_holds_the_type_counts_and_the_code() -> None:
    assert subject_of(_holding(1)) == subject_of(_holding(2))
    assert subject_of(_holding(1)) != subject_of(_holding("1"))
    assert subject_of(_calling(one)) != subject_of(_calling(two))
    assert subject_of(functools.partial(one, 1)) == subject_of(functools.partial(one, 2))
    assert subject_of(functools.partial(one, 1)) != subject_of(functools.partial(two, 1))
    assert subject_of(functools.partial(map, one)) != subject_of(functools.partial(map, two))


class Model:
    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, x: object) -> object:
        return x

    def __call__(self, x: object) -> object:
        return [x]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (one, "one"),
        (functools.partial(one), "one"),
        (functools.cache(one), "one"),
        (_named(one), "one"),
        (Call(one), "one"),
        (Call(Spread(one)), "one"),
        (Model(1).run, "Model.run"),
        (Model(1), "Model"),
        (Model, "Model"),
        (_calling(one), "_calling.<locals>.wrapper"),
    ],
    ids=str,
)
def test_it_goes_by_the_name_that_the_user_gave_it(function: Any, name: str) -> None:
    subject = subject_of(function)
    assert str(subject) == f"{__name__}:{name}"
    assert subject.lasting


def test_what_is_around_it_makes_other_work_of_it() -> None:
    around = [one, _named(one), Call(one), Call(Spread(one)), functools.partial(one, 1)]
    assert len({subject_of(each).code for each in around}) == len(around)
    assert subject_of(Model(1).run) == subject_of(Model(2).run)


@pytest.mark.parametrize(
    ("function", "where"),
    [
        (math.sqrt, "math:sqrt"),
        (time.sleep, "time:sleep"),
        (abs, "builtins:abs"),
        (str.upper, "builtins:str.upper"),
        ("a".join, "builtins:str.join"),
        (int, "builtins:int"),
    ],
)
def test_what_is_written_in_c_has_a_name_too(function: Any, where: str) -> None:
    assert str(subject_of(function)) == where


PROGRAM = """
import sys
from poolwise.wisdom import subject_of
def f(x): return x
subject = subject_of(f)
print(subject, subject.lasting)
"""


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["script.py"], "", "script:f True"),
        (["-m", "script"], "", "script:f True"),
        (["-m", "package"], "", "package:f True"),
        (["-c", PROGRAM], "", ":f False"),
        (["-"], PROGRAM, ":f False"),
    ],
    ids=["script", "-m", "-m package", "-c", "stdin"],
)
def test_the_main_script_goes_by_the_name_by_which_others_import_it(
    tmp_path: Path, arguments: list[str], stdin: str, said: str
) -> None:
    """What has no file is not told from any other that looks the same: it is not kept for long."""
    (tmp_path / "package").mkdir()
    for name in ("script.py", "package/__init__.py", "package/__main__.py"):
        (tmp_path / name).write_text("" if name.endswith("__init__.py") else PROGRAM)
    done = subprocess.run(
        [sys.executable, *arguments], input=stdin, cwd=tmp_path, capture_output=True, text=True
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == (said, "")


class Touchy:
    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"the user's code ran for {name}")

    @property
    def func(self) -> object:
        raise AssertionError("the user's code ran")

    def __eq__(self, other: object) -> bool:
        raise AssertionError("the user's code ran")

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, x: object) -> object:
        return x


def test_no_code_of_the_users_runs() -> None:
    assert subject_of(Touchy()).name == "Touchy"
    assert subject_of(_holding(Touchy())).name == "_holding.<locals>.<lambda>"
    assert isinstance(subject_of(mock.Mock()), Subject)


def test_what_holds_itself_has_an_end() -> None:
    def again(x: int) -> int:
        return x and again(x - 1)

    assert subject_of(again) == subject_of(again)
    chained = functools.partial(again)
    for _ in range(1000):
        chained = functools.partial(chained)  # which flattens
    assert subject_of(chained).name.endswith("again")
