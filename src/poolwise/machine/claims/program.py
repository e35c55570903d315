"""The program of each claim: a file that a reader can paste and run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAMS = Path(__file__).parent / "programs"


def program(id: str) -> str:
    """Return the source of the program that shows what a claim says: standard library only.

    Raises:
        ValueError: there is no such claim; the text lists those that exist.
    """
    return _file(id).read_text(encoding="utf-8")


def run_program(id: str) -> int:
    """Run the program of a claim in a Python of its own, which prints to where this one prints.

    Returns:
        Its exit code, 0 if all went well; a signal that ended it as a negative number.

    Raises:
        ValueError: there is no such claim; the text lists those that exist.
    """
    sys.stdout.flush()  # what was printed before stays before
    return subprocess.run([sys.executable, _file(id)], check=False).returncode


def _file(id: str) -> Path:
    from poolwise.machine.claims import claim

    return _PROGRAMS / f"{claim(id).id.replace('.', '_')}.py"
