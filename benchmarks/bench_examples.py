"""Compare the plan that poolwise chooses with the best that one could have asked for.

The four examples, each over files of the standard library: under every pinned plan of a list,
under the plan that poolwise chooses itself (``auto``), and with the standard library's executors
as they come. All in one run, in turns, each round in another order; a figure is the median of the
rounds. Whatever takes more than 4 times the shortest of the first round is measured once, ``auto``
excepted; so is the plain loop, whose results all others must equal.

Every poolwise figure is that of a whole map: workers, and for processes the fork server too, are
started within it. Only ``import`` is not in it.

What it should show:

parse            holds the GIL: threads are as slow as the loop, processes faster by the CPUs
hash             releases the GIL: threads and processes alike
fetch            waits, 16 at once: the more threads the faster, up to 16; CPUs do nothing
fetch_and_parse  waits and holds the GIL: threads reach what one CPU parses, and only several
                 threads in each of several processes pass that

How to read it: "× best" is a time over that of the best pinned plan of the same table, which is
the luckiest of nine. ``auto`` has to find out first what the pinned plans were told, so it comes
out above 1.00; up to 1.25 is what it promises. "real / forecast" is the time of the whole run over
what poolwise predicted for it when it made its last choice.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

from _report import begin, interleaved, machine, median, options, spread, table

import poolwise
from poolwise.machine import this_machine
from poolwise.units import makespan

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

#: What auto may take, over the best pinned plan.
PROMISE = 1.25

#: Times the shortest; see above.
ONCE_ABOVE = 4.0

THREADS = "ThreadPoolExecutor()"
PROCESSES = "ProcessPoolExecutor(), chunksize=16"


@dataclass(frozen=True)
class Example:
    """One of the examples; `files` is how many inputs it gets, ``None`` is all.

    `best` is the kind of plan that should win, `textbook` the mechanism that the rule "threads to
    wait, processes to compute" names.
    """

    name: str
    function: str
    files: int | None
    best: str
    textbook: str


EXAMPLES = (
    Example("parse", "parse_files.count_definitions", None, "process", "process"),
    Example("hash", "hash_files.stretched_hash", None, "thread", "process"),
    Example("fetch", "fetch_files.fetch", 320, "thread", "thread"),
    Example(
        "fetch_and_parse", "fetch_and_parse.fetch_and_count", None, "process × threads", "thread"
    ),
)


@dataclass
class Workload:
    """An example over its inputs; `results` are those of a plain loop.

    `choices` has an entry for each run of auto: its plan, what it forecast, what came of it.
    """

    function: Callable[[str], object]
    inputs: Sequence[str]
    results: list[object] = field(default_factory=list)
    choices: list[dict[str, Any]] = field(default_factory=list)

    def with_loop(self) -> float:
        """Run the plain loop, and keep its results."""
        began = perf_counter()
        self.results = [self.function(each) for each in self.inputs]
        return perf_counter() - began

    def with_poolwise(self, plan: str | None) -> float:
        """Run a map that pays for everything it needs."""
        poolwise.shutdown()
        began = perf_counter()
        run = poolwise.map(self.function, self.inputs, plan=plan)
        results = list(run)
        seconds = perf_counter() - began
        self.check(results, plan or "auto")
        record = run.record()
        assert record.started == record.done == len(self.inputs), record
        if plan is None:
            self.choices.append(
                {
                    "plan": run.plan.spec,
                    "forecast": record.forecast,
                    "seconds": seconds,
                    "phases": [(phase.at, phase.text) for phase in record.phases],
                }
            )
        return seconds

    def with_executor(self, executor: Callable[[], Executor], chunksize: int) -> float:
        """Run an executor's own map, from its making to its end."""
        began = perf_counter()
        with executor() as pool:
            results = list(pool.map(self.function, self.inputs, chunksize=chunksize))
        seconds = perf_counter() - began
        self.check(results, executor.__name__)
        return seconds

    def check(self, results: list[object], name: str) -> None:
        """Compare with what the loop found."""
        assert len(results) == len(self.inputs), f"{name}: {len(results)} of {len(self.inputs)}"
        assert results == self.results, f"{name}: other results than a loop's"


def pinned_plans() -> list[str]:
    """Return the plans that are compared; as many processes as there are CPUs, but two."""
    cpus = max(2, this_machine().facts.whole_cpus)
    threads = [f"thread:{count}" for count in (2, 8, 16, 32)]
    processes = [f"process:{cpus}{threads}" for threads in ("", "x4", "x8", "x16")]
    return ["inline", *threads, *processes]


def workload_of(example: Example, files: int | None) -> Workload:
    """Import an example, which may start its server, and draw its files evenly from all."""
    module, function = example.function.split(".")
    everything = import_module("stdlib_files").stdlib_files()
    count = min(files or len(everything), len(everything))
    inputs = [everything[number * len(everything) // count] for number in range(count)]
    return Workload(getattr(import_module(module), function), inputs)


def measure(example: Example, given: argparse.Namespace) -> tuple[Workload, dict[str, list[float]]]:
    """Measure one example under everything, the loop first."""
    workload = workload_of(example, given.files or (6 if given.smoke else example.files))
    loop = workload.with_loop()
    contestants: dict[str, Callable[[], float]] = {
        plan: partial(workload.with_poolwise, plan) for plan in pinned_plans()
    }
    contestants["auto"] = partial(workload.with_poolwise, None)
    contestants[THREADS] = partial(workload.with_executor, ThreadPoolExecutor, 1)
    contestants[PROCESSES] = partial(workload.with_executor, ProcessPoolExecutor, 16)
    figures = interleaved(
        contestants,
        rounds=given.rounds,
        seed=given.seed,
        once_above=ONCE_ABOVE,
        always=("auto",),
    )
    return workload, {"plain loop": [loop], **figures}


def fastest(figures: dict[str, list[float]], mechanism: str = "") -> str:
    """Return the best pinned plan: of all, or of a mechanism as the textbook knows it."""
    plans = [plan for plan in pinned_plans() if plan.startswith(mechanism)]
    if mechanism:
        plans = [plan for plan in plans if "x" not in plan]
    return min(plans, key=lambda plan: median(figures[plan]))


def kind(spec: str) -> str:
    """Name the kind of a plan: its mechanism, or processes with threads in them."""
    plan = poolwise.Plan.parse(spec)
    return "process × threads" if plan.threads_per_worker > 1 else plan.mechanism


def chosen(workload: Workload) -> str:
    """Name the plan that auto ended with in most rounds."""
    counts = Counter(str(choice["plan"]) for choice in workload.choices)
    return counts.most_common(1)[0][0]


def report(example: Example, workload: Workload, figures: dict[str, list[float]]) -> list[str]:
    """Print the table of one example; its row of the summary is returned."""
    best = fastest(figures)
    limit = median(figures[best])
    times = {name: f"{median(values) / limit:.2f}" for name, values in figures.items()}
    print(f"\n{example.name}: {example.function} over {len(workload.inputs)} files")
    rows = [
        [name, makespan(median(values)), spread(values, makespan), times[name]]
        for name, values in figures.items()
    ]
    print(table(["plan", "median", "min – max", "× best"], rows))

    counts = Counter(choice["plan"] for choice in workload.choices)
    plans = ", ".join(f"{plan} ({count} of {counts.total()})" for plan, count in counts.items())
    off = [each["seconds"] / each["forecast"] for each in workload.choices if each["forecast"]]
    forecast = "no forecast"
    if off:
        forecast = f"real / forecast {median(off):.2f} ({spread(off, '{:.2f}'.format)})"
    print(f"auto: {plans}; {forecast}; × {times['auto']} of {best}")

    rule = fastest(figures, example.textbook)
    executor = THREADS if example.textbook == "thread" else PROCESSES
    print(
        f"textbook: {example.textbook}; in its best number {rule}, × {times[rule]}; "
        f"as it comes, {executor}, × {times[executor]}"
    )
    ratio = median(figures["auto"]) / limit
    plan = chosen(workload)
    return [
        example.name,
        plan,
        example.best,
        "yes" if kind(plan) == example.best else "no",
        best,
        f"{ratio:.2f}",
        "yes" if ratio <= PROMISE else "no",
        times[rule],
    ]


def main() -> None:
    """Measure, print, and write the raw figures after each example."""
    parser = options(__doc__, rounds=3)
    names = [example.name for example in EXAMPLES]
    parser.add_argument("--only", choices=names, action="append", help="this example (repeatable)")
    parser.add_argument("--files", type=int, help="inputs of each example (all; fetch: 320)")
    parser.add_argument("--json", type=Path, help="write the raw figures to this file")
    given = begin(parser)
    # The first map imports; what that costs is not the question here.
    assert list(poolwise.map(abs, [-1], plan="process:1")) == [1]
    raw: dict[str, Any] = {"machine": machine(), "examples": {}}
    summary = []
    for example in EXAMPLES:
        if given.only and example.name not in given.only:
            continue
        workload, figures = measure(example, given)
        summary.append(report(example, workload, figures))
        raw["examples"][example.name] = {
            "files": len(workload.inputs),
            "seconds": figures,
            "auto": workload.choices,
        }
        if given.json:
            given.json.write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n")
    poolwise.shutdown()
    print("\nsummary")
    head = ["example", "chosen", "should be", "is it", "best pinned"]
    head += ["auto × best", f"≤ {PROMISE}", "textbook × best"]
    print(table(head, summary))


if __name__ == "__main__":
    main()
