"""Each claim has a program that a reader can paste and run."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import poolwise.machine.claims as claims
from poolwise.machine.claims import CLAIMS, program, run_program

FOLDER = Path(claims.__file__).parent / "programs"
IDS = [each.id for each in CLAIMS]


def test_every_claim_has_one_and_no_other_is_there() -> None:
    assert {file.name for file in FOLDER.glob("*.py")} == {
        f"{id.replace('.', '_')}.py" for id in IDS
    }


@pytest.mark.parametrize("id", IDS)
def test_it_is_short_and_needs_the_standard_library_only(id: str) -> None:
    source = program(id)
    assert source.startswith(f"# claim {id}: ")
    assert len(source.splitlines()) <= 25
    for node in ast.walk(ast.parse(source)):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert {name.partition(".")[0] for name in modules} <= sys.stdlib_module_names


@pytest.mark.parametrize("id", IDS)
def test_it_runs_and_says_something(id: str, tmp_path: Path) -> None:
    script = tmp_path / "pasted.py"
    script.write_text(program(id), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        # One crashes on purpose; the stacks that this would write are no complaint of Python's.
        env={key: value for key, value in os.environ.items() if key != "PYTHONFAULTHANDLER"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
    assert [file.name for file in tmp_path.iterdir()] == ["pasted.py"]


def test_running_one_prints_to_where_this_prints(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    assert run_program("6.t.1") == 0
    assert capfd.readouterr().out == "before\nWorker thread\n"


def test_an_unknown_one_is_refused_with_those_that_exist() -> None:
    for function in (program, run_program):
        with pytest.raises(ValueError, match=r"no claim '7\.P\.1'; there are 0\.S\.1"):
            function("7.P.1")
