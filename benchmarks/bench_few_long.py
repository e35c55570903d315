"""A few long calls: does the second one begin before the first has ended?

Nothing is known of a function before its first call has ended, and where calls are few and long,
that is a large part of all. Each row is so many calls of so long, of one kind, in a fresh process
that knows nothing; "beside a thread" is with another thread in the program, as in a notebook, so
that nothing can be forked safely. All take turns, each round in another order.

count         holds the GIL
hash          leaves it alone
hash, wait    leaves it alone for 5 ms, then waits for the rest

How to read it: medians, and poolwise beside the best of the others: a plain loop, threads, and
forked processes (`ProcessPoolExecutor`). Each of these is far off somewhere, and where there is
another thread, the last of them is not safe.

    python benchmarks/bench_few_long.py                        # some three minutes
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from _regret_trial import CONTESTANTS
from _report import begin, interleaved, median, options, spread, table

from poolwise.units import duration

#: Kind, calls, seconds of each, whether there is another thread.
ROWS = [
    ("count", 2, 0.5, False),
    ("count", 4, 0.1, False),
    ("count", 10, 0.3, False),
    ("count", 2, 0.5, True),
    ("count", 4, 0.5, True),
    ("count", 4, 0.1, True),
    ("hash", 6, 0.06, False),
    ("hash", 10, 0.3, False),
    ("hash", 2, 0.5, True),
    ("hash, wait", 6, 0.3, False),
    ("hash, wait", 40, 0.3, False),
]

_NAMES = ("loop", "threads 2", "threads 32", "PPE", "poolwise")


def count(seconds: float) -> None:
    """Compute in Python for so much CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(2_000))


def hash_(seconds: float) -> None:
    """Compute without the GIL for so much CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2_000)


def hash_then_wait(seconds: float) -> None:
    """Compute without the GIL for 5 ms, then wait."""
    hash_(5e-3)
    time.sleep(max(0.0, seconds - 5e-3))


KINDS: dict[str, Callable[[float], None]] = {
    "count": count,
    "hash": hash_,
    "hash, wait": hash_then_wait,
}


def trial(name: str, kind: str, calls: int, seconds: float, beside: bool) -> float:
    """Return the seconds that a contestant takes, in a process of its own."""
    given = json.dumps([name, kind, calls, seconds, beside])
    done = subprocess.run(
        [sys.executable, __file__, given], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def run(name: str, kind: str, calls: int, seconds: float, beside: bool) -> None:
    """Be such a process."""
    over = threading.Event()
    if beside:
        threading.Thread(target=over.wait).start()
    try:
        with CONTESTANTS[name]() as maps:
            began = time.perf_counter()
            maps(KINDS[kind], [seconds] * calls)
            print(time.perf_counter() - began)
    finally:
        over.set()


def row(what: Sequence[Any], figures: dict[str, list[float]]) -> list[str]:
    """Write the figures of one row."""
    kind, calls, seconds, beside = what
    medians = {name: median(figures[name]) for name in _NAMES}
    best = min(_NAMES[:-1], key=medians.__getitem__)
    return [
        f"{calls} x {duration(seconds)}, {kind}" + (", beside a thread" if beside else ""),
        *(duration(medians[name]) for name in _NAMES),
        spread(figures["poolwise"]),
        best,
        f"{medians['poolwise'] / medians[best]:.2f}",
    ]


def main() -> None:
    """Measure and print."""
    given = begin(options(__doc__, rounds=3))
    rows = []
    for kind, calls, seconds, beside in ROWS:
        length = 2e-3 if given.smoke else seconds
        figures = interleaved(
            {name: partial(trial, name, kind, calls, length, beside) for name in _NAMES},
            rounds=given.rounds,
            seed=given.seed,
        )
        rows.append(row((kind, calls, length, beside), figures))
    head = ["calls", *_NAMES, "least – greatest", "best other", "poolwise / that"]
    print("", table(head, rows, left=(0, 7)), sep="\n")


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("["):
        run(*json.loads(sys.argv[1]))
    else:
        main()
