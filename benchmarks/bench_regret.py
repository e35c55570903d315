"""How far from the best plan is what poolwise chooses, and is what one would have chosen by hand?

Every workload runs under every contestant, each time in a fresh process, everyone in turns. The
best fixed plan of a row is the contestant with the least median; regret is the median of poolwise
divided by that. Who took more than three times as long as the best in the first round is not
measured again, except for the loop, poolwise and what the textbook says.

With `--limits` poolwise's own plans are contestants too, each pinned, so that nothing has to be
learnt. The best fixed plan is none of them. They show how far choosing can come at all, and so what
of a shortfall is the time that learning took.

    python benchmarks/bench_regret.py                          # some ten minutes
    python benchmarks/bench_regret.py --wisdom                 # poolwise after a first run of each
    python benchmarks/bench_regret.py --limits                 # with poolwise's plans, pinned
    python benchmarks/bench_regret.py --second                 # the second set of workloads
    python benchmarks/bench_regret.py --only sleep HTTP --explain
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, geometric_mean, median
from typing import Any

from _regret_trial import CONTESTANTS, PINNED
from _report import begin, interleaved, options, table
from _workloads import MODULES, NAMES, SECOND, load

from poolwise.units import duration

#: Whoever is slower than this in the first round decides nothing.
_HOPELESS = 3.0

#: A trial that takes longer has hung: the slowest peers take some 30 s.
_AT_MOST = 120.0

#: In a smoke run.
_TINY = 0.02
_IN_SMOKE = ["loop", "threads 8", "PPE", "poolwise"]

#: What the textbook says of work that computes, and of work that waits.
_TEXTBOOK = {True: "PPE", False: "threads 8"}

#: Rows whose best plan takes less, in seconds, may take so much more instead of a factor.
_SHORT, _SHORT_MAY = 0.1, 15e-3


def trial(
    stories: dict[str, list[dict[str, Any]]],
    name: str,
    contestant: str,
    scale: float,
    wisdom: str | None = None,
) -> float:
    """Measure a workload under a contestant; infinite if that fails or hangs.

    `wisdom` is the folder in which runs find what earlier ones have learnt, if they may.
    """
    script = Path(__file__).with_name("_regret_trial.py")
    command = [sys.executable, str(script), json.dumps([name, contestant, scale])]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_AT_MOST,
            check=True,
            env=_installed(wisdom),
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        print(f"{name} under {contestant}: {str(error.stderr or error)[-300:]}", file=sys.stderr)
        return math.inf
    figures = json.loads(done.stdout.splitlines()[-1])
    if contestant == "poolwise":
        stories.setdefault(name, []).append(figures)
    return float(figures["seconds"])


def _installed(wisdom: str | None) -> dict[str, str]:
    """Return an environment in which modules are compiled once, as they are when installed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept if wisdom is None else kept | {"POOLWISE_WISDOM": "on", "POOLWISE_CACHE": wisdom}


def can_run(name: str) -> bool:
    """Whether the libraries of a workload are installed; says so if not."""
    try:
        load(name)
    except ImportError as error:
        print(f"{name:20} not run: {error}; pip install -e '.[bench]' brings it")
        return False
    return True


def textbook(name: str) -> str:
    """Return the contestant that the textbook names."""
    return _TEXTBOOK[load(name).computes]


def measure(
    names: Sequence[str],
    contestants: Sequence[str],
    given: argparse.Namespace,
    wisdom: str | None = None,
) -> tuple[dict[str, dict[str, float]], dict[str, list[dict[str, Any]]]]:
    """Return the median seconds by workload and contestant, and the stories of poolwise."""
    stories: dict[str, list[dict[str, Any]]] = {}
    seconds: dict[str, dict[str, float]] = {}
    scale = _TINY if given.smoke else given.scale
    for name in names:
        if wisdom is not None:
            trial({}, name, "poolwise", scale, wisdom)  # which teaches those that count
        figures = interleaved(
            {each: partial(trial, stories, name, each, scale, wisdom) for each in contestants},
            rounds=given.rounds,
            seed=given.seed,
            once_above=_HOPELESS,
            always=("loop", "poolwise", textbook(name)),
        )
        seconds[name] = {each: median(taken) for each, taken in figures.items()}
        print(line_of(name, seconds[name], stories[name][-1] if name in stories else {}))
    return seconds, stories


def best_fixed(row: Mapping[str, float]) -> float:
    """Return the seconds of the best plan that somebody could have picked by hand."""
    return min(taken for each, taken in row.items() if each != "poolwise" and each not in PINNED)


def best_pinned(row: Mapping[str, float]) -> float:
    """Return the seconds of the best of poolwise's own plans; the loop is one."""
    return min(row["loop"], *(row[each] for each in PINNED))


def line_of(name: str, row: Mapping[str, float], story: Mapping[str, Any]) -> str:
    """Say in a line what a workload came to, while the others are being measured."""
    best = best_fixed(row)
    who = next(each for each, taken in row.items() if taken == best)
    ours = row.get("poolwise", math.inf)
    return (
        f"{name:20} {who:14} {duration(best):>8}  poolwise {duration(ours):>8} "
        f"{ours / best:5.2f}  {story.get('plan', '')}  load {os.getloadavg()[0]:.1f}"
    )


def summary(seconds: Mapping[str, Mapping[str, float]], contestants: Sequence[str]) -> str:
    """Compare choices: the geometric mean of their distance to the best, and the worst row."""
    choices = {each: {name: row[each] for name, row in seconds.items()} for each in contestants}
    choices["textbook"] = {name: row[textbook(name)] for name, row in seconds.items()}
    if PINNED.keys() <= {*contestants}:
        choices["best pinned"] = {name: best_pinned(row) for name, row in seconds.items()}
    rows: list[tuple[float, list[str]]] = []
    for each, taken in choices.items():
        ratios = {name: taken[name] / best_fixed(row) for name, row in seconds.items()}
        worst = max(ratios, key=ratios.__getitem__)
        mean = geometric_mean(ratios.values())
        close = sum(ratio <= 1.15 for ratio in ratios.values())
        rows.append((
            mean,
            [each, f"{mean:.2f}", f"{ratios[worst]:.2f}", worst, f"{close} of {len(ratios)}"],
        ))  # fmt: skip
    rows.sort(key=lambda row: row[0])
    head = ["always", "geometric mean", "worst", "on", "within 1.15"]
    return table(head, [cells for _, cells in rows], left=(0, 3))


def shortfalls(
    seconds: Mapping[str, Mapping[str, float]],
    stories: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[str]:
    """Name the rows that miss a goal, and say where the time went, as far as was measured: what the
    best plan takes where there is nothing to choose, and until when there was something to learn.
    """
    result: list[str] = []
    for name, row in seconds.items():
        ours, best, loop = row["poolwise"], best_fixed(row), row["loop"]
        if ours > 1.10 * loop + 5e-3:
            result.append(f"{name}: {ours / loop:.2f} x a loop ({duration(ours - loop)} more)")
        allowed = best + _SHORT_MAY if best < _SHORT else 1.15 * best
        if ours > allowed:
            text = f"{name}: {ours / best:.2f} x the best ({duration(ours - best)} more)"
            if PINNED.keys() <= row.keys():
                limit = best_pinned(row)
                text += (
                    f"; its best plan, pinned, {limit / best:.2f} x,"
                    f" and {duration(max(0.0, ours - limit))} for choosing it"
                )
            if stories.get(name):
                settled = median(each["settled"] for each in stories[name])
                text += f"; the last thing learnt or changed {duration(settled)} after its start"
            result.append(text)
    return result


def show(
    seconds: Mapping[str, Mapping[str, float]],
    stories: Mapping[str, Sequence[Mapping[str, Any]]],
    contestants: Sequence[str],
) -> None:
    """Print the table, the summary and what is missing."""
    head = ["workload", "best", *contestants, "poolwise's plan"]
    rows = [
        [
            name,
            duration(best_fixed(row)),
            *(f"{row[each] / best_fixed(row):.2f}" for each in contestants),
            "; ".join(dict.fromkeys(each["plan"] for each in stories.get(name, ()))),
        ]
        for name, row in seconds.items()
    ]
    print("\nseconds divided by those of the best fixed plan", table(head, rows), sep="\n")
    print("\none choice for all of them", summary(seconds, contestants), sep="\n")
    if "poolwise" in contestants and "loop" in contestants:
        missing = shortfalls(seconds, stories)
        print(f"\nrows that miss a goal: {len(missing)}", *missing, sep="\n  ")


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, rounds=3)
    parser.add_argument("--only", nargs="+", choices=[*MODULES], metavar="WORKLOAD")
    parser.add_argument("--second", action="store_true", help="take the second set of workloads")
    parser.add_argument("--contestants", nargs="+", choices=[*CONTESTANTS], metavar="NAME")
    parser.add_argument("--scale", type=float, default=1.0, help="inputs, as a multiple (1)")
    parser.add_argument("--wisdom", action="store_true", help="measure poolwise's second run")
    parser.add_argument("--limits", action="store_true", help="measure poolwise's plans, too")
    parser.add_argument("--explain", action="store_true", help="print what poolwise says of a run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    given = begin(parser)
    usual = [each for each in CONTESTANTS if given.limits or each not in PINNED]
    contestants = given.contestants or (_IN_SMOKE if given.smoke else usual)
    suite = (SECOND if given.second else NAMES).values()
    names = given.only or [name for each in suite for name in (each[:1] if given.smoke else each)]
    names = [name for name in names if can_run(name)]
    with tempfile.TemporaryDirectory() as cache:
        seconds, stories = measure(names, contestants, given, cache if given.wisdom else None)
    if {_TEXTBOOK[True], _TEXTBOOK[False]} <= {*contestants}:
        show(seconds, stories, contestants)
    if given.explain:
        for name, each in stories.items():
            print(f"\n{name}", each[-1]["explanation"], sep="\n")
    if given.json:
        given.json.write_text(json.dumps({"seconds": seconds, "stories": stories}, indent=1))
    print(f"\nload average {fmean(os.getloadavg()):.1f}")


if __name__ == "__main__":
    main()
