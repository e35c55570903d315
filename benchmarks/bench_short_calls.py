"""Short calls that hold the GIL, under an executor: from which length on are processes worth it?

In turns, each in a process of its own: a plain loop, the standard thread pool, an executor of
poolwise as it comes, and pinned to threads and to processes. All calls are submitted, then awaited.

    python benchmarks/bench_short_calls.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import poolwise

WAYS = ("loop", "ThreadPoolExecutor", "thread:6", "process:2", "auto")
MICROSECONDS = (50, 100, 200, 300)
CALLS = 4000

_TEXT = json.dumps(list(range(20)))
#: Texts in a call of a microsecond, about.
_EACH = 0.5


def parse(texts: int) -> int:
    """Parse a short text so many times, holding the GIL."""
    for _ in range(texts):
        json.loads(_TEXT)
    return texts


def once(way: str, length: int) -> float:
    """Return how long all calls take, in seconds, from the first submit to the last result."""
    texts = [round(length * _EACH)] * CALLS
    began = time.perf_counter()
    if way == "loop":
        for each in texts:
            parse(each)
        return time.perf_counter() - began
    if way == "ThreadPoolExecutor":
        pool = ThreadPoolExecutor()
    else:
        pool = poolwise.Executor() if way == "auto" else poolwise.Executor(plan=way)
    with pool:
        began = time.perf_counter()
        for future in [pool.submit(parse, each) for each in texts]:
            future.result()
        return time.perf_counter() - began


def main() -> None:
    """Print a table: for each length, the time of each way divided by that of the loop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--once", nargs=2, metavar=("WAY", "LENGTH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print(once(arguments.once[0], int(arguments.once[1])))
        return
    print(f"{CALLS:,} calls, time divided by that of a plain loop, median of {arguments.rounds}\n")
    print(f"{'a call':>10}  {'loop':>8}  " + "  ".join(f"{way:>18}" for way in WAYS[1:]))
    for length in MICROSECONDS:
        took: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(arguments.rounds):
            for way in WAYS:
                command = [sys.executable, __file__, "--once", way, str(length)]
                took[way].append(float(subprocess.check_output(command, text=True)))
        loop = median(took["loop"])
        ratios = "  ".join(f"{median(took[way]) / loop:18.2f}" for way in WAYS[1:])
        print(f"{loop / CALLS * 1e6:7.0f} µs  {loop:6.2f} s  {ratios}", flush=True)


if __name__ == "__main__":
    main()
