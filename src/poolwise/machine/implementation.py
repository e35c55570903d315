"""Dimension 6: the article's two programs, run as they stand, and through `poolwise.Worker`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from poolwise.machine.dimensions import Implementation, Program
from poolwise.timing.repeat import Effort, gap, repeat
from poolwise.timing.sample import Figure, Gap
from poolwise.units import Seconds

_PROGRAMS = Path(__file__).parent / "programs"

#: What a program of a tenth of a second is waited for.
_PATIENCE: Seconds = 20.0


def measure_implementation(effort: Effort) -> Implementation:
    """Run both programs both ways."""
    return Implementation(programs={kind: _program(kind, effort) for kind in ("thread", "process")})


def _program(kind: str, effort: Effort) -> Program:
    path = _PROGRAMS / f"{kind}.py"
    printed: list[str] = []

    def reading() -> Seconds:
        began = time.perf_counter()
        printed.append(_run(path))
        return time.perf_counter() - began

    few = replace(effort, least=max(1, effort.least - 2))
    took: Figure = repeat(reading, "s", few, warm=0)
    try:
        of_worker = _run(_PROGRAMS / f"{kind}_worker.py")
    except Exception as error:
        of_worker = ""
        if not isinstance(took, Gap):
            took = gap(error)
    return Program(
        path.read_text(encoding="utf-8"), printed[-1] if printed else "", of_worker, took
    )


def _run(path: Path) -> str:
    """Run a program in a Python of its own and return what it printed.

    Raises:
        RuntimeError: it failed; the text is what it wrote to standard error.
        subprocess.TimeoutExpired: it hangs.
    """
    home = str(Path(__file__).parents[2])
    found = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    run = subprocess.run(
        [sys.executable, path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": found},
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if run.returncode:
        lines = run.stderr.strip().splitlines() or [f"it ended with {run.returncode}"]
        raise RuntimeError(f"{path.name}: {lines[-1]}")
    return run.stdout
