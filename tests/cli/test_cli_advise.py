"""The advice, in its three forms."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from cli_command import PATIENCE, Command


def test_the_advice_goes_to_standard_output(command: Command) -> None:
    run = command("advise", "work.py:square", "--expr", "range(1000)")
    assert (run.code, run.err) == (0, "")
    assert "plain loop" in run.out
    assert "1,000 inputs" in run.out


def test_as_json(command: Command) -> None:
    run = command("advise", "work:square", "--expr", "range(1000)", "--json")
    assert run.code == 0
    assert isinstance(json.loads(run.out), dict)


def test_the_code_runs(command: Command) -> None:
    run = command("advise", "work.py:size", "*.py", "--code")
    assert run.code == 0
    (command.folder / "by_hand.py").write_text(run.out)
    by_hand = subprocess.run(
        [sys.executable, "by_hand.py", "work.py"],
        cwd=command.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert by_hand.stdout == f"{(command.folder / 'work.py').stat().st_size}\n"


def test_verified(command: Command) -> None:
    run = command("advise", "work:briefly", "--expr", "range(60)", "--verify", "--max-workers", "2")
    assert run.code == 0
    assert "2 threads" in run.out


def test_the_lines_of_a_file_are_counted(command: Command) -> None:
    (command.folder / "data.jsonl").write_text("1\n\n" * 1234)
    run = command("advise", "work:square", "--jsonl", "data.jsonl")
    assert "1,234 inputs" in run.out
    run = command("advise", "work:square", "--jsonl", "data.jsonl", "--limit", "777")
    assert "777 inputs" in run.out


def test_spread(command: Command) -> None:
    run = command("advise", "work:keywords", "--spread", "--jsonl", "-", stdin='{"a": 1}\n' * 100)
    assert run.code == 0


def test_the_code_passes_names_where_the_command_does(command: Command) -> None:
    inputs = '{"a": 1}\n' * 100
    run = command("advise", "work:keywords", "--spread", "--jsonl", "-", "--code", stdin=inputs)
    assert "from work import keywords" in run.out
    (command.folder / "by_hand.py").write_text(
        run.out.replace("sys.argv[1:]", '[{"a": 1}, {"a": 2, "b": 3}]')
    )
    by_hand = subprocess.run(
        [sys.executable, "by_hand.py"],
        cwd=command.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert by_hand.stdout == "1\n5\n"


def test_what_the_function_prints_is_no_advice(command: Command) -> None:
    run = command("advise", "work:prints", "--expr", "range(3)", "--json")
    assert isinstance(json.loads(run.out), dict)
    assert "printed 0" in run.err


def test_a_call_that_raises_does_not_end_the_advice(command: Command) -> None:
    run = command("advise", "work:fails_for_odd", "--expr", "range(1, 9)")
    assert run.code == 0
    assert run.out
    assert run.err == "poolwise: 4 of 8 sampled calls raised; the first: ValueError: 1 is odd\n"


def test_if_every_call_raises_there_is_no_advice(command: Command) -> None:
    run = command("advise", "work:fails_for_odd", "--expr", "range(1, 9, 2)")
    assert (run.code, run.out) == (1, "")
    # One is enough for a sample where it takes long, as on a busy machine.
    wanted = (
        "poolwise: nothing to advise on: [1-4] sampled calls?, all raised; the first: ValueError"
    )
    assert re.match(f"{wanted}: 1 is odd\n$", run.err), run.err


@pytest.mark.parametrize("stdin", ["", "\n \n"])
def test_without_inputs_there_is_no_advice(command: Command, stdin: str) -> None:
    run = command("advise", "work:same", "--jsonl", "-", stdin=stdin)
    assert (run.code, run.out) == (2, "")
    assert run.err == "poolwise: there are no inputs to learn from\n"


@pytest.mark.parametrize("stdin", ["bad\n", "1\n2\nbad\n"])
def test_a_bad_line_within_the_sample(command: Command, stdin: str) -> None:
    run = command("advise", "work:same", "--jsonl", "-", stdin=stdin)
    assert (run.code, run.out) == (2, "")
    line = stdin.count("\n")
    assert run.err.startswith(f"poolwise: standard input, line {line} is not JSON: ")
