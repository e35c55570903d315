"""Processes that calls fork: they end where a program would, and run nobody else's calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs import run

#: In workers of one thread and of several, in threads here, and wherever `auto` has them run.
PLANS = pytest.mark.parametrize(
    "plan", ["inline", "process:1/8", "process:2x3/4", "thread:3/4", "auto"]
)

#: Python warns of forks beside threads; that these are harmless is what is tried.
_PROGRAM = """
import pathlib, warnings
warnings.simplefilter("ignore", DeprecationWarning)

NOTES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "notes")

def note(number):
    with open(NOTES, "ab", buffering=0) as notes:
        notes.write(b"%d\\n" % number)

def call(number):
    note(number)
    if number % 3:
        return number
    child = os.fork()
    if not child:
        come_back()
        return number
    return number, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def statuses(results):
    return {each[1] for each in results if isinstance(each, tuple)}

plan = {"plan": PLAN} if PLAN != "auto" else {}
"""


@PLANS
def test_a_child_that_exits_ends_with_its_status(plan: str, tmp_path: Path) -> None:
    program = """
def come_back():
    sys.exit(7)

results = list(poolwise.map(call, range(40), **plan))
assert statuses(results) == {7}, results
assert sorted(map(int, pathlib.Path(NOTES).read_text().split())) == list(range(40))
"""
    run(tmp_path, _PROGRAM.replace("PLAN", repr(plan)) + program)


@pytest.mark.parametrize("plan", ["process:1/8", "process:2x3/4", "thread:3/1"])
def test_a_child_that_returns_ends_and_runs_no_other_call(plan: str, tmp_path: Path) -> None:
    program = """
def come_back():
    pass

results = list(poolwise.map(call, range(40), **plan))
assert statuses(results) == {0}, results
assert sorted(map(int, pathlib.Path(NOTES).read_text().split())) == list(range(40))
"""
    run(tmp_path, _PROGRAM.replace("PLAN", repr(plan)) + program)


@pytest.mark.parametrize("plan", ["process:1/8", "thread:3/4"])
def test_a_child_that_exits_with_a_text_writes_it(plan: str, tmp_path: Path) -> None:
    program = """
def come_back():
    os.dup2(os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    sys.stderr = open(2, "w", closefd=False)
    sys.exit("of a child")

results = list(poolwise.map(call, range(40), **plan))
assert statuses(results) == {1}, results
assert "of a child\\n" in pathlib.Path("said").read_text()
"""
    run(tmp_path, _PROGRAM.replace("PLAN", repr(plan)) + program)


@pytest.mark.parametrize("plan", ["process:1/8", "thread:3/4"])
def test_a_child_that_raises_says_so_and_ends(plan: str, tmp_path: Path) -> None:
    program = """
def come_back():
    os.dup2(os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    sys.stderr = open(2, "w", closefd=False)
    raise ValueError("of a child")

results = list(poolwise.map(call, range(40), **plan))
assert statuses(results) == {1}, results
assert "ValueError: of a child" in pathlib.Path("said").read_text()
"""
    run(tmp_path, _PROGRAM.replace("PLAN", repr(plan)) + program)
