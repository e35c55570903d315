"""Short calls that hold the GIL, under an executor: from which length on are processes worth it?

All calls are submitted, then awaited; each trial is in a process of its own. Executors are the
standard one with threads, and poolwise's: pinned to threads, pinned to processes, as it comes.

How to read it: the time of a plain loop, and how many times as long the executors take, medians.
Below 1 they are faster than the loop.

    python benchmarks/bench_short_calls.py                     # some two minutes
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial

from _report import begin, interleaved, median, options, table

import poolwise
from poolwise.units import duration

CALLS = 4_000

#: Of a call, in microseconds, about: so many texts are parsed in half of these.
LENGTHS = (50, 100, 200, 300)

_TEXT = json.dumps(list(range(20)))

EXECUTORS: dict[str, Callable[[], Executor]] = {
    "ThreadPoolExecutor": ThreadPoolExecutor,
    "thread:6": lambda: poolwise.Executor(plan="thread:6"),
    "process:2": lambda: poolwise.Executor(plan="process:2"),
    "as it comes": poolwise.Executor,
}


def parse(texts: int) -> int:
    """Parse a short text so many times, holding the GIL."""
    for _ in range(texts):
        json.loads(_TEXT)
    return texts


def trial(name: str, length: int, calls: int) -> float:
    """Return the seconds that a contestant takes, in a process of its own."""
    given = json.dumps([name, length, calls])
    done = subprocess.run(
        [sys.executable, __file__, given], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def run(name: str, length: int, calls: int) -> None:
    """Be such a process."""
    texts = [length // 2] * calls
    if name == "loop":
        began = time.perf_counter()
        for each in texts:
            parse(each)
        print(time.perf_counter() - began)
        return
    with EXECUTORS[name]() as pool:
        began = time.perf_counter()
        for future in [pool.submit(parse, each) for each in texts]:
            future.result()
        print(time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    given = begin(options(__doc__, rounds=5))
    calls = 100 if given.smoke else CALLS
    rows = []
    for length in LENGTHS:
        figures = interleaved(
            {name: partial(trial, name, length, calls) for name in ("loop", *EXECUTORS)},
            rounds=given.rounds,
            seed=given.seed,
        )
        loop = median(figures["loop"])
        ratios = (f"{median(figures[name]) / loop:.2f}" for name in EXECUTORS)
        rows.append([duration(loop / calls), duration(loop), *ratios])
    print("", table(["a call", f"loop of {calls:,}", *EXECUTORS], rows, left=()), sep="\n")


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("["):
        run(*json.loads(sys.argv[1]))
    else:
        main()
