"""Does one call that runs alone tell whether two would run at once?

Beside calls in one thread, the heart beats as in ``executor/beats.py``: what share of the beats
is late? Then the same calls run in two threads: how many CPUs do they use? Everyone in turns.

What it should show:

- calls that hold the GIL (parsing, counting): all beats late, and two threads use one CPU
- calls that release it (hashing, compressing, large arrays): hardly one in ten, and two CPUs
- calls that hold it again and again, for less than a turn (small systems): few are late although
  two threads use hardly more than one CPU, and so what seems to be free is confirmed

    python benchmarks/bench_heartbeat.py                       # some two minutes
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from _report import begin, interleaved, median, options, spread, table
from _workloads import MODULES, load

from poolwise.executor.beats import BEAT, Heartbeat
from poolwise.ipc import Inbox
from poolwise.timing.clock import SystemClock

#: How long two threads are watched, in seconds.
_WATCH = 0.2


@contextmanager
def calling(function: Callable[[Any], Any], items: list[Any], threads: int) -> Iterator[None]:
    """Have threads call the function again and again, within the block."""
    end = threading.Event()
    again = itertools.cycle(items)

    def calls() -> None:
        while not end.is_set():
            function(next(again))

    workers = [threading.Thread(target=calls) for _ in range(threads)]
    for each in workers:
        each.start()
    try:
        yield
    finally:
        end.set()
        for each in workers:
            each.join()


def late(function: Callable[[Any], Any], items: list[Any]) -> float:
    """Return the share of late beats beside one thread; more than 1 where there were too few."""
    function(items[0])  # it may have to import
    heartbeat = Heartbeat(SystemClock())
    with calling(function, items, 1), heartbeat.beating(Inbox()) as wait:
        while not heartbeat.enough:
            wait(BEAT)
    return 2.0 if heartbeat.held is None else heartbeat.held


def used(function: Callable[[Any], Any], items: list[Any], watch: float) -> float:
    """Return how many CPUs two threads use."""
    with calling(function, items, 2):
        began, cpu = time.perf_counter(), time.process_time()
        time.sleep(watch)
        return (time.process_time() - cpu) / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    given = begin(options(__doc__, rounds=7))
    scale, watch = (0.02, 0.02) if given.smoke else (1.0, _WATCH)
    rows = []
    for name in MODULES:
        try:
            workload = load(name)
        except ImportError as error:
            print(f"{name:20} not run: {error}; pip install -e '.[bench]' brings it")
            continue
        if not workload.computes:
            continue
        with workload.surroundings():
            items = list(itertools.islice(workload.inputs(scale), 200))
            figures = interleaved(
                {
                    "late": lambda call=workload.function, items=items: late(call, items),
                    "used": lambda call=workload.function, items=items: used(call, items, watch),
                },
                rounds=given.rounds,
                seed=given.seed,
            )
        rows.append([
            name,
            f"{median(figures['late']):.0%}",
            spread(figures["late"], "{:.0%}".format),
            f"{median(figures['used']):.1f}",
            spread(figures["used"], "{:.1f}".format),
        ])  # fmt: skip
    head = ["calls", "late beats beside one thread", "", "CPUs that two threads use", ""]
    print("", table(head, rows), sep="\n")


if __name__ == "__main__":
    main()
