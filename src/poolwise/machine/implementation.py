"""Dimension 6: the article's two programs, run as they stand, and through `poolwise.Worker`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
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
    """Run both programs both ways; nobody times the way through `Worker`, so side by side."""
    kinds = ("thread", "process")
    took = {kind: _timed(kind, effort) for kind in kinds}
    with ThreadPoolExecutor(len(kinds)) as pool:
        runs = {kind: pool.submit(_run, _PROGRAMS / f"{kind}_worker.py") for kind in kinds}
    return Implementation(
        programs={kind: _program(kind, *took[kind], runs[kind]) for kind in kinds}
    )


def _timed(kind: str, effort: Effort) -> tuple[str, Figure]:
    """Return what a program prints as it stands, and how long it takes."""
    printed = [""]

    def reading() -> Seconds:
        began = time.perf_counter()
        printed.append(_run(_PROGRAMS / f"{kind}.py"))
        return time.perf_counter() - began

    few = replace(effort, least=max(1, effort.least - 2))
    took = repeat(reading, "s", few, warm=0)
    return printed[-1], took


def _program(kind: str, printed: str, took: Figure, through_worker: Future[str]) -> Program:
    source = (_PROGRAMS / f"{kind}.py").read_text(encoding="utf-8")
    error = through_worker.exception()
    if error is None:
        return Program(source, printed, through_worker.result(), took)
    return Program(source, printed, "", took if isinstance(took, Gap) else gap(error))


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
