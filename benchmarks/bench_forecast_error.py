"""How far from what happens is what was forecast for the chosen plan, when it was chosen?

Each workload of `bench_regret.py` runs under `poolwise.map`, each time in a fresh process. The
forecast is that of the whole makespan, made after pilot and race when a plan is first chosen; it
is not corrected by what comes later. The error is the distance to the makespan, as a share of it.

    python benchmarks/bench_forecast_error.py                  # two minutes
    python benchmarks/bench_forecast_error.py --wisdom         # second runs, which learn nothing
    python benchmarks/bench_forecast_error.py --only sleep HTTP

Left out, and said to be: runs that were over before there was a choice, and inputs of a number that
is not known, whose forecast is for another number.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from _report import begin, options, table
from _workloads import MODULES, NAMES, load

from poolwise.units import duration

#: A trial that takes longer has hung.
_AT_MOST = 120.0

#: In a smoke run.
_TINY = 0.05

#: The goals: median and 90th percentile of the error.
_GOALS = 0.15, 0.40


def trial(name: str, scale: float, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Run a workload; ``None`` if that fails or hangs."""
    script = Path(__file__).with_name("_forecast_trial.py")
    command = [sys.executable, str(script), json.dumps([name, scale])]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_AT_MOST, check=True, env=environment
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        print(f"{name}: {str(error.stderr or error)[-300:]}", file=sys.stderr)
        return None
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def can_run(name: str) -> bool:
    """Whether the libraries of a workload are installed; says so if not."""
    try:
        load(name)
    except ImportError as error:
        print(f"{name:20} not run: {error}; pip install -e '.[bench]' brings it")
        return False
    return True


def error_of(figures: Mapping[str, Any]) -> float | None:
    """Return by how much of the makespan the forecast was off; ``None`` where there is none."""
    if figures["forecast"] is None or figures["total"] is None:
        return None
    return abs(figures["forecast"] - figures["seconds"]) / float(figures["seconds"])


def row_of(name: str, trials: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[float]]:
    """Return the cells of a workload's row, and its errors."""
    errors = [error for each in trials if (error := error_of(each)) is not None]
    last = trials[-1]
    took = duration(median(each["seconds"] for each in trials))
    if not errors:
        why = "number not known" if last["total"] is None else "over before a choice"
        return [name, last["last"], "", took, "", "", why], []
    chosen = [each for each in trials if error_of(each) is not None]
    forecast, last = median(each["forecast"] for each in chosen), chosen[-1]
    plan = last["plan"]
    moved = "" if last["last"] == plan else f"then {last['last']}"
    cells = [f"{100 * median(errors):.0f} %", f"{100 * max(errors):.0f} %"]
    return [name, plan, duration(forecast), took, *cells, moved], errors


def environments(cache: str, *, wisdom: bool) -> dict[str, str]:
    """Return the environment of trials; modules are compiled once, as they are when installed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"POOLWISE_CACHE": cache, "POOLWISE_WISDOM": "on" if wisdom else "off"}


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, rounds=3)
    parser.add_argument("--only", nargs="+", choices=[*MODULES], metavar="WORKLOAD")
    parser.add_argument("--scale", type=float, default=1.0, help="inputs, as a multiple (1)")
    parser.add_argument("--wisdom", action="store_true", help="after a first run, not counted")
    given = begin(parser)
    scale = _TINY if given.smoke else given.scale
    names = given.only or ([each[0] for each in NAMES.values()] if given.smoke else [*MODULES])
    trials: dict[str, list[dict[str, Any]]] = {name: [] for name in names if can_run(name)}
    with tempfile.TemporaryDirectory() as cache:
        environment = environments(cache, wisdom=given.wisdom)
        for number in range(given.rounds + given.wisdom):
            for name, figures in trials.items():
                one = trial(name, scale, environment)
                if one is not None and number >= given.wisdom:
                    figures.append(one)
    rows, errors = [], []
    for name, figures in trials.items():
        if figures:
            cells, off = row_of(name, figures)
            rows.append(cells)
            errors += off
    head = ["workload", "plan when chosen", "forecast", "took", "median error", "worst", ""]
    print(table(head, rows, left=(0, 1, 6)))
    if len(errors) > 1:
        ninth = quantiles(errors, n=10, method="inclusive")[-1]
        print(
            f"\nerror over {len(errors)} runs: median {100 * median(errors):.0f} % (goal: "
            f"{100 * _GOALS[0]:.0f} %), 90th percentile {100 * ninth:.0f} % (goal: "
            f"{100 * _GOALS[1]:.0f} %)"
        )
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
