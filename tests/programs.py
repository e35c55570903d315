"""Whole programs: much of what workers must get right concerns the main script and its process."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

#: How workers can start; ``"default"`` is what poolwise takes by itself: a fork, in these programs.
#: ``"fork"`` is the same but for the question whether it is safe, and ``"spawn"`` starts the same
#: worker in a slower way: the laws in ``tests/contract`` hold them to the same.
STARTS = ("default", "forkserver")
METHODS = pytest.mark.parametrize("method", STARTS)
FORKS = pytest.mark.parametrize("method", ["default"])

#: Not by importing it, which would leave threads here.
NEEDS_NUMPY = pytest.mark.skipif(find_spec("numpy") is None, reason="needs NumPy")

#: A program ends within this, or never.
DEADLINE = 50.0

_PRELUDE = """
import os, signal, sys
import poolwise
from poolwise.mechanisms import idle_workers, servers

method = None if sys.argv[1] == "default" else sys.argv[1]

def mapped(function, inputs=range(4), plan="process:2", **options):
    return list(poolwise.map(function, inputs, plan=plan, start_method=method, **options))

def same_as_a_loop(function, inputs=range(4)):
    inputs = list(inputs)
    expected = [function(each) for each in inputs]
    got = mapped(function, inputs)
    assert got == expected, (got, expected)

def pid(_):
    import time
    time.sleep(0.005)  # so that one worker does not run all
    return os.getpid()

def is_fork():
    return servers._fork_of_this is not None
"""


def run(
    folder: Path, program: str, method: str = "default", *, shell: str = "", **environ: str
) -> str:
    """Run a program as a script, with warnings as errors; it must end well and complain of nothing.

    `shell` is what a shell puts after the command, such as ``"<&-"``. Returns what was printed.
    """
    script = folder / "script.py"
    script.write_text(_PRELUDE + program)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-W", "error", script, method],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        cwd=folder,
        env={**os.environ, **environ},
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
