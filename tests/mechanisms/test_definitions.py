"""A map sees what the program has changed since the one before, as a loop would: with idle workers
that are used again, and with a fork that was made before the change.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from programs import FORKS, METHODS, STARTS, run
from thorough import in_turns


class Change(NamedTuple):
    """What a program defines, and what it changes afterwards; `call` is what is mapped."""

    defined: str
    changed: str


IN_MAIN = {
    "variable": Change("FACTOR = 2\ndef call(x): return x * FACTOR", "FACTOR = 3"),
    "variable of a helper": Change(
        "FACTOR = 2\ndef helper(x): return x * FACTOR\ndef call(x): return helper(x)", "FACTOR = 3"
    ),
    "content of a variable": Change(
        "TABLE = {'factor': 2}\ndef call(x): return x * TABLE['factor']", "TABLE['factor'] = 3"
    ),
    "large variable": Change(
        "LARGE = 'a' * (2 << 20)\ndef call(x): return LARGE[x]", "LARGE = 'b' * (2 << 20)"
    ),
    "content of a large variable": Change(
        "LARGE = bytearray(2 << 20)\ndef call(x): return LARGE[x]", "LARGE[2] = 7"
    ),
    "function": Change("def call(x): return x", "def call(x): return -x"),
    "helper": Change(
        "def helper(x): return x\ndef call(x): return helper(x)", "def helper(x): return -x"
    ),
    "code": Change(
        "def call(x): return x\ndef other(x): return -x", "call.__code__ = other.__code__"
    ),
    "default": Change("def call(x, y=1): return x + y", "call.__defaults__ = (2,)"),
    "keyword default": Change(
        "def call(x, *, y=1): return x + y", "call.__kwdefaults__ = {'y': 2}"
    ),
    "lambda": Change("call = lambda x: x", "call = lambda x: -x"),
    "closure cell": Change(
        """
def make():
    step = 1
    def call(x): return x + step
    def change(to):
        nonlocal step
        step = to
    return call, change
call, change = make()
""",
        "change(2)",
    ),
    "closure cell of a helper": Change(
        """
def make():
    step = 1
    def helper(x): return x + step
    def change(to):
        nonlocal step
        step = to
    return helper, change
helper, change = make()
def call(x): return helper(x)
""",
        "change(2)",
    ),
    "class": Change(
        "class Model:\n  def go(self, x): return x\ndef call(x): return Model().go(x)",
        "class Model:\n  def go(self, x): return -x",
    ),
    "class attribute": Change(
        "class Model:\n  step = 1\ndef call(x): return x + Model.step", "Model.step = 2"
    ),
    "content of a class attribute": Change(
        "class Model:\n  steps = {'x': 1}\ndef call(x): return x + Model.steps['x']",
        "Model.steps['x'] = 2",
    ),
    "method": Change(
        "class Model:\n  def go(self, x): return x\ndef call(x): return Model().go(x)",
        "Model.go = lambda self, x: -x",
    ),
    "variable of a method": Change(
        "STEP = 1\nclass Model:\n  def go(self, x): return x + STEP\ndef call(x):"
        " return Model().go(x)",
        "STEP = 2",
    ),
    "variable of a property": Change(
        "STEP = 1\nclass Model:\n  @property\n  def step(self): return STEP\ndef call(x):"
        " return x + Model().step",
        "STEP = 2",
    ),
    "variable of a static method": Change(
        "STEP = 1\nclass Model:\n  @staticmethod\n  def go(x): return x + STEP\ncall = Model.go",
        "STEP = 2",
    ),
    "variable of a base class": Change(
        "STEP = 1\nclass Base:\n  def go(self, x): return x + STEP\nclass Model(Base): pass\n"
        "def call(x): return Model().go(x)",
        "STEP = 2",
    ),
    "variable of a bound method": Change(
        "STEP = 1\nclass Model:\n  def go(self, x): return self.more(x)\n"
        "  def more(self, x): return x + STEP\ncall = Model().go",
        "STEP = 2",
    ),
    "variable of an object": Change(
        "STEP = 1\nclass Model:\n  def go(self, x): return x + STEP\nMODEL = Model()\n"
        "def call(x): return MODEL.go(x)",
        "STEP = 2",
    ),
    "attribute of an object": Change(
        "class Model: step = 1\nMODEL = Model()\ndef call(x): return x + MODEL.step",
        "MODEL.step = 2",
    ),
    "variable of a callable object": Change(
        "STEP = 1\nclass Model:\n  def __call__(self, x): return x + STEP\ncall = Model()",
        "STEP = 2",
    ),
    "variable of a partial": Change(
        "from functools import partial\nSTEP = 1\ndef add(y, x): return x + y + STEP\n"
        "call = partial(add, 1)",
        "STEP = 2",
    ),
    "new name": Change("def call(x): return EXTRA if 'EXTRA' in globals() else None", "EXTRA = 5"),
}


@pytest.mark.parametrize(("change", "method"), in_turns(IN_MAIN, STARTS))
def test_what_the_script_has_changed_is_seen(change: Change, method: str, tmp_path: Path) -> None:
    program = f"""
{change.defined}
same_as_a_loop(call)
same_as_a_loop(call)
{change.changed}
same_as_a_loop(call)
same_as_a_loop(call)
"""
    run(tmp_path, program, method)


@METHODS
def test_a_change_that_only_methods_of_arguments_read_is_seen(method: str, tmp_path: Path) -> None:
    program = """
class Model:
    def go(self): return STEP
def call(model): return model.go()
for STEP in 1, 2:
    same_as_a_loop(call, [Model(), Model()])
"""
    run(tmp_path, program, method)


MODULE = """
import os
STEP = 1
def helper(x): return x + STEP
def call(x): return helper(x)
class Model:
    def go(self, x): return helper(x)
def call_method(x): return Model().go(x)
"""

IN_A_MODULE = {
    "variable": "module.STEP = 2",
    "function": "module.helper = lambda x: -x",
    "function that a test replaces": "patch = mock.patch('module.helper', other); patch.start()",
    "reload": "edit('x + STEP', 'x - STEP'); importlib.reload(module)",
}


@METHODS
@pytest.mark.parametrize("call", ["call", "call_method"])
@pytest.mark.parametrize("change", IN_A_MODULE.values(), ids=IN_A_MODULE)
def test_what_is_changed_in_a_module_is_seen(
    change: str, call: str, method: str, tmp_path: Path
) -> None:
    (tmp_path / "module.py").write_text(MODULE)
    program = f"""
import importlib
from unittest import mock
import module

def other(x):
    return x * 100

def edit(old, new):
    with open(module.__file__) as file:
        text = file.read()
    if os.path.exists(module.__cached__):
        os.remove(module.__cached__)
    with open(module.__file__, "w") as file:
        file.write(text.replace(old, new))

helper = module.helper
same_as_a_loop(module.{call})
{change}
same_as_a_loop(module.{call})
same_as_a_loop(module.{call})
if "reload" not in {change!r}:
    module.helper, module.STEP = helper, 1
    same_as_a_loop(module.{call})
"""
    run(tmp_path, program, method)


@FORKS
def test_what_a_test_has_replaced_with_a_mock_stays_here(method: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(MODULE)
    program = """
from unittest import mock
import module

same_as_a_loop(module.call)
with mock.patch.object(module, "helper", return_value=9):
    try:
        mapped(module.call)
    except poolwise.PlanRefused as refusal:
        assert "helper is a mock" in str(refusal)
    else:
        raise AssertionError("calls of the mock are counted here only")
same_as_a_loop(module.call)
"""
    run(tmp_path, program, method)


@METHODS
def test_a_change_that_is_taken_back_is_taken_back(method: str, tmp_path: Path) -> None:
    # Between maps and an executor, which bring variables to the same workers in different ways.
    (tmp_path / "module.py").write_text(MODULE)
    program = """
import module

def submitted(x):
    with poolwise.Executor(plan="process:1", start_method=method) as executor:
        return executor.submit(module.call, x).result()

for module.STEP in 1, 2, 1, 3, 1, 1, 2:
    assert submitted(0) == module.STEP
for module.STEP in 1, 2, 1:
    assert mapped(module.call, [0], "process:1") == [module.STEP]
    module.STEP += 1
    assert submitted(0) == module.STEP
"""
    run(tmp_path, program, method)


@METHODS
def test_an_executor_that_goes_on_sees_what_changes(method: str, tmp_path: Path) -> None:
    program = """
FACTOR = 2
def call(x): return x * FACTOR
same_as_a_loop(call)
with poolwise.Executor(plan="process:1", start_method=method) as executor:
    assert executor.submit(call, 1).result() == 2
    FACTOR = 3
    assert executor.submit(call, 1).result() == 3
    def call(x): return -x
    assert executor.submit(call, 1).result() == -1
    assert executor.submit(lambda x: call(x), 2).result() == -2
"""
    run(tmp_path, program, method)


@METHODS
def test_a_cache_that_calls_fill_is_kept(method: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        """
CACHE = None
def call(x):
    global CACHE
    made = CACHE is None
    CACHE = CACHE or [x]
    return made
"""
    )
    program = """
import module
made = [mapped(module.call, range(3), "process:1") for _ in range(3)]
assert made[0] == [True, False, False], made
# A fork takes note of what the caller has at the first map that it was not made for.
assert made[2] == [False] * 3, made
"""
    run(tmp_path, program, method)


@METHODS
def test_classes_of_the_script_are_the_same_on_both_sides(method: str, tmp_path: Path) -> None:
    program = """
import enum
from dataclasses import dataclass

class Colour(enum.Enum):
    RED = 1

@dataclass(frozen=True)
class Point:
    x: int
    colour: Colour = Colour.RED

class Odd(Exception):
    pass

def move(point):
    assert isinstance(point, Point) and point.colour is Colour.RED, type(point)
    if point.x == 3:
        raise Odd(point)
    return Point(point.x + 1)

for _ in range(3):
    results = mapped(move, [Point(0), Point(3), Point(5)], on_error="return")
    assert [results[0], results[2]] == [Point(1), Point(6)], results
    assert type(results[0]) is Point and results[0].colour is Colour.RED
    assert type(results[1]) is Odd and isinstance(results[1].args[0], Point)
"""
    run(tmp_path, program, method)


@FORKS
def test_what_has_not_changed_needs_no_other_fork(method: str, tmp_path: Path) -> None:
    program = """
STEP, TABLE = 1, [1, 2]
class Model:
    table = {}
    def go(self, x): return x + STEP
def call(x): return Model().go(x) + TABLE[0]
same_as_a_loop(call)
first = servers._fork_of_this
for STEP in range(5):
    TABLE[0] += 1
    same_as_a_loop(call)
assert servers._fork_of_this is first and first is not None
Model.table["new"] = 1
same_as_a_loop(call)
assert servers._fork_of_this is not first
"""
    run(tmp_path, program, method)
