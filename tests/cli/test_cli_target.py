"""What TARGET may be, and what is said when it is not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from cli_command import Command

ONE = ("--expr", "[3]", "--quiet")


def test_a_file_imports_its_siblings_wherever_the_command_runs(
    command: Command, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    run = command("map", str(command.folder / "work.py") + ":double", *ONE, cwd=elsewhere)
    assert run.results == [6]


@pytest.mark.parametrize("plan", ["process:2", "process:1x2"])
def test_workers_import_a_file_target(command: Command, plan: str) -> None:
    target = os.path.join(".", "work.py") + ":double"
    run = command("map", target, "--expr", "range(20)", "--plan", plan, "--quiet")
    assert (run.code, run.results) == (0, [2 * value for value in range(20)])


@pytest.mark.parametrize("name", ["my-work.py", "2024.work.py", "argparse.py", "time.py"])
@pytest.mark.parametrize("plan", ["inline", "process:2"])
def test_a_file_that_is_not_importable_by_its_name(command: Command, name: str, plan: str) -> None:
    (command.folder / "elsewhere").mkdir()
    shutil.copy(command.folder / "work.py", command.folder / "elsewhere" / name)
    shutil.copy(command.folder / "sibling.py", command.folder / "elsewhere")
    run = command("map", f"elsewhere/{name}:double", "--expr", "range(9)", "--plan", plan, "-q")
    assert (run.err, run.results) == ("", [2 * value for value in range(9)])


def test_a_file_without_the_ending(command: Command) -> None:
    shutil.copy(command.folder / "work.py", command.folder / "script")
    run = command("map", "./script:double", *ONE, "--plan", "process:1")
    assert run.results == [6]


def test_a_module_of_the_current_folder(command: Command) -> None:
    package = command.folder / "package"
    package.mkdir()
    (package / "module.py").write_text("def negated(value):\n    return -value\n")
    run = command("map", "package.module:negated", *ONE, "--plan", "process:1")
    assert run.results == [-3]


def test_an_attribute_of_an_attribute(command: Command) -> None:
    for plan in ("inline", "process:1"):
        assert command("map", "work:Shop.Till.price", *ONE, "--plan", plan).results == [300]


def test_a_function_of_the_standard_library(command: Command) -> None:
    assert command("map", "math:sqrt", "--expr", "[9]", "-q").results == [3.0]
    assert command("map", "os.path:basename", "work.py", "-q").results == ["work.py"]


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("work", "'work' names no function; write package.module:function"),
        ("work.py", "'work.py' names no function; write file.py:function"),
        (":double", "':double' names no function"),
        ("wrok:double", "there is no module wrok"),
        ("work.part:double", "there is no module work.part"),
        ("wrok.py:double", "wrok.py does not exist"),
        ("package/:double", "package is a folder"),
        ("work:duoble", "there is no duoble in work; is it double?"),
        ("work.py:Shop.Till.prize", "there is no Shop.Till.prize in work.py; is it price?"),
        ("work:LIMIT", "LIMIT is of type int, which cannot be called"),
        ("work:no_argument", "no_argument() cannot be called with one input"),
        ("work:two_arguments", "two_arguments(a, b) cannot be called with one input"),
        ("work:a_coroutine", "a_coroutine is a coroutine function"),
    ],
)
@pytest.mark.parametrize("name", ["map", "advise"])
def test_what_cannot_be_run_is_said_in_one_line(
    command: Command, name: str, target: str, why: str
) -> None:
    (command.folder / "package").mkdir()
    run = command(name, target, "--expr", "[3]")
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"poolwise: {why}")
    assert run.err.count("\n") == 1


def _with_fault(folder: Path, source: str) -> None:
    (folder / "faulty.py").write_text("import deeper\n")
    (folder / "deeper.py").write_text(source)


@pytest.mark.parametrize("target", ["faulty:f", "faulty.py:f"])
@pytest.mark.parametrize(
    ("source", "last"),
    [
        ("def f(value):\n    return 1\n\nraise KeyError('mine')\n", "KeyError: 'mine'"),
        ("def f(value) return 1\n", "SyntaxError: "),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_fault_in_the_users_module_shows_the_users_frames(
    command: Command, target: str, source: str, last: str
) -> None:
    _with_fault(command.folder, source)
    run = command("map", target, *ONE)
    assert (run.code, run.out) == (2, "")
    assert last in run.err
    assert 'faulty.py", line 1' in run.err
    assert 'deeper.py", line ' in run.err
    assert "poolwise/cli" not in run.err
    assert "importlib" not in run.err
    assert run.err.splitlines()[-1].startswith("poolwise: faulty")


def test_a_module_that_ends_the_program(command: Command) -> None:
    _with_fault(command.folder, "import sys\nsys.exit(7)\n")
    run = command("map", "faulty:f", *ONE)
    assert (run.code, run.out) == (2, "")
    assert "faulty ends the program when it is imported (exit code 7)" in run.err
    assert "Traceback" not in run.err


def test_a_by_value_module_with_a_fault(command: Command) -> None:
    (command.folder / "my-work.py").write_text("1 / 0\n")
    run = command("map", "my-work.py:f", *ONE)
    assert run.code == 2
    assert 'my-work.py", line 1' in run.err
    assert "poolwise/cli" not in run.err
