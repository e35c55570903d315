"""Functions and results keep their types, as mypy and pyright see it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RIGHT, WRONG = HERE / "right.py", HERE / "wrong.py"


def mypy() -> dict[str, set[int]]:
    """The lines at which mypy sees errors, by file name."""
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--hide-error-context", str(RIGHT)]
    ended = subprocess.run(
        [*command, str(WRONG)], capture_output=True, text=True, cwd=HERE.parents[1], check=False
    )
    found: dict[str, set[int]] = {RIGHT.name: set(), WRONG.name: set()}
    for file, line in re.findall(r"(\w+\.py):(\d+): error:", ended.stdout):
        found[file].add(int(line))
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    return found


def pyright(tmp_path: Path) -> dict[str, set[int]]:
    """The lines at which pyright sees errors, by file name."""
    pytest.importorskip("basedpyright")
    settings = {"typeCheckingMode": "strict", "include": [str(RIGHT), str(WRONG)]}
    # What a checker thinks of the style of the examples is not the question.
    settings |= {"reportUnusedCallResult": False, "failOnWarnings": False}
    project = tmp_path / "pyrightconfig.json"
    project.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--project", str(project)]
    command += ["--pythonpath", sys.executable, "--level", "error"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, set[int]] = {RIGHT.name: set(), WRONG.name: set()}
    for each in json.loads(ended.stdout)["generalDiagnostics"]:
        if each.get("rule") not in ("reportUnknownArgumentType", "reportUnknownMemberType"):
            start = each["range"]["start"]["line"] + 1
            found[Path(each["file"]).name].add(start)
    return found


def marked() -> set[int]:
    lines = WRONG.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}


def test_mypy_understands_and_refuses_what_it_must() -> None:
    assert mypy() == {"right.py": set(), "wrong.py": marked()}


def test_pyright_understands_and_refuses_what_it_must(tmp_path: Path) -> None:
    assert pyright(tmp_path) == {"right.py": set(), "wrong.py": marked()}
