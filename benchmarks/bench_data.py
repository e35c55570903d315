"""Compare how fast large arguments and results travel between the caller and worker processes.

Each workload sends or returns arrays of 8 MB, all different, to or from as many workers as there
are CPUs (2 at least), under poolwise and under its peers; all in one run, in turns, each round in
another order. Pools are opened, and have run some calls, before the clock starts.

touch    arguments of which the worker reads a little of every page
sum      arguments of which the worker reads everything
write    arguments that the worker changes in place
bytes    arguments of type `bytes`
dropped  results that the caller touches and lets go before the next
kept     results that the caller touches and keeps
made     arrays that the worker fills and lets go, three in each call; only numbers travel

What it should show: peers pickle arrays into a pipe, some 1 GB/s; joblib writes arguments to files
and maps those, read-only. Under poolwise a copy into shared memory is all there is, so arguments
that are read come near to what `memcpy` does.

How to read it: "GiB/s" is the median of the rounds; "× ceiling" is that over the first row, which
is what one process can do without any worker:

touch, sum, bytes, dropped  copy to memory that is there already (`memcpy`)
write                       change pages of a file that is mapped privately, each for the first time
kept                        copy to pages of a shared file that do not exist yet
made                        fill memory that is there already

"arena alone" is forked workers that load, call and answer, nothing else. The table by size
compares, for such a worker, a call whose argument goes through the arena with one whose argument
goes through the socket: `buffers.THRESHOLD` should be about where they are equal. "A global" is a
variable that the function reads by name: one copy for all workers, compared before each map.
"""

from __future__ import annotations

import argparse
import mmap
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import _data_calls
import numpy as np
from _bare_workers import BareWorkers
from _data_calls import Array, give, length, look_up, make, read, touch, write
from _report import begin, interleaved, median, options, spread, table

import poolwise
from _poolwise_worker import buffers
from poolwise.machine import this_machine
from poolwise.units import duration

GIB = 1 << 30

Map = Callable[[Iterable[Any]], Iterable[Any]]
Opened = AbstractContextManager[Map]


# ---- the contestants: each opens a pool for one function and gives its map -----------------------


@contextmanager
def with_poolwise(function: Callable[[Any], Any], workers: int) -> Iterator[Map]:
    """Pin the plan: which one is best is not the question here."""
    yield partial(poolwise.map, function, plan=f"process:{workers}")
    poolwise.shutdown()


@contextmanager
def with_bare_workers(function: Callable[[Any], Any], workers: int) -> Iterator[Map]:
    """Use nothing but the arena."""
    with BareWorkers(function, workers, this_machine().facts.free_memory or GIB) as bare:
        yield bare.map


@contextmanager
def with_executor(method: str, function: Callable[[Any], Any], workers: int) -> Iterator[Map]:
    """Start workers by `method`."""
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield partial(pool.map, function)


@contextmanager
def with_pool(function: Callable[[Any], Any], workers: int) -> Iterator[Map]:
    """Use `imap`, because `map` returns nothing before the last."""
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        yield partial(pool.imap, function)


@contextmanager
def with_loky(function: Callable[[Any], Any], workers: int) -> Iterator[Map]:
    """Use its executor as it comes."""
    from loky import ProcessPoolExecutor

    with ProcessPoolExecutor(workers) as pool:
        yield partial(pool.map, function)


@contextmanager
def with_joblib(function: Callable[[Any], Any], workers: int) -> Iterator[Map]:
    """Have results as they come; large arguments are mapped from files."""
    from joblib import Parallel, delayed

    with Parallel(workers, return_as="generator") as parallel:
        yield lambda values: parallel(delayed(function)(value) for value in values)


@contextmanager
def with_mpire(function: Callable[[Any], Any], workers: int) -> Iterator[Map]:
    """Send each array by itself: it would cut one large array into parts."""
    from mpire import WorkerPool

    with WorkerPool(workers, start_method="fork", keep_alive=True) as pool:
        yield lambda values: pool.imap(function, [(value,) for value in values], chunk_size=1)


@contextmanager
def with_pebble(function: Callable[[Any], Any], workers: int) -> Iterator[Map]:
    """Use its map as it comes."""
    from pebble import ProcessPool

    context = multiprocessing.get_context("fork")
    with ProcessPool(workers, context=context) as pool:
        yield lambda values: pool.map(function, values).result()


@contextmanager
def with_ray(function: Callable[[Any], Any], workers: int) -> Iterator[Map]:
    """Give all tasks at once and take results in order; `wait` is its own bound on memory."""
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    remote = ray.remote(function)
    try:
        yield lambda values: map(ray.get, [remote.remote(value) for value in values])
    finally:
        ray.shutdown()


CONTESTANTS: dict[str, tuple[str, Callable[[Callable[[Any], Any], int], Opened]]] = {
    "arena alone": ("poolwise", with_bare_workers),
    "poolwise": ("poolwise", with_poolwise),
    "ProcessPoolExecutor, fork": ("multiprocessing", partial(with_executor, "fork")),
    "ProcessPoolExecutor, forkserver": ("multiprocessing", partial(with_executor, "forkserver")),
    "ProcessPoolExecutor, spawn": ("multiprocessing", partial(with_executor, "spawn")),
    "multiprocessing.Pool.imap": ("multiprocessing", with_pool),
    "loky": ("loky", with_loky),
    "joblib": ("joblib", with_joblib),
    "mpire": ("mpire", with_mpire),
    "pebble": ("pebble", with_pebble),
    "ray": ("ray", with_ray),
}


# ---- the workloads -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workload:
    """What travels: `values` go out, `take` is what the caller does with a result.

    `warm` goes out before; other values, because joblib knows again what it has sent.
    """

    function: Callable[[Any], Any]
    warm: Sequence[Any]
    values: Sequence[Any]
    expected: Sequence[Any]
    take: Callable[[Any], Any]
    keep: bool
    size: int
    workers: int

    def run(self, opened: Callable[[Callable[[Any], Any], int], Opened]) -> float:
        """Return bytes per second of one map in a warm pool."""
        with opened(self.function, self.workers) as run:
            for result in run(self.warm):
                self.take(result)
            result = None
            kept, found = [], []
            began = perf_counter()
            for result in run(self.values):
                found.append(self.take(result))
                if self.keep:
                    kept.append(result)
                result = None
            took = perf_counter() - began
            assert found == self.expected, "wrong results"
            assert [self.take(result) for result in kept] == self.expected[: len(kept)]
            del kept
        return self.size * len(self.values) / took


def same(value: Any) -> Any:
    """Take a result that is a number."""
    return value


def arguments(
    function: Callable[[Any], Any], values: Sequence[Any], calls: int, workers: int
) -> Workload:
    """Send so many of `values`, get numbers; the others are for warming up."""
    values, warm = values[:calls], values[calls:]
    expected = [function(value.copy() if function is write else value) for value in values]
    size = len(values[0]) if isinstance(values[0], bytes) else values[0].nbytes
    return Workload(function, warm, values, expected, same, False, size, workers)


def results(size: int, calls: int, keep: bool, workers: int) -> Workload:
    """Send numbers, get arrays."""
    orders = [(size, number) for number in range(calls)]
    expected = [touch(give(order)) for order in orders]
    return Workload(give, orders[:8] * workers, orders, expected, touch, keep, size, workers)


def made(size: int, calls: int, workers: int) -> Workload:
    """Send numbers, get numbers."""
    orders = [(size, number) for number in range(calls)]
    expected = [make(order) for order in orders]
    return Workload(make, orders[:8] * workers, orders, expected, same, False, 3 * size, workers)


# ---- the ceilings: bytes per second in one process -----------------------------------------------


def copying(arrays: Sequence[Array]) -> float:
    """Copy to the same memory again and again."""
    target = np.ones_like(arrays[0])
    began = perf_counter()
    for array in arrays:
        target[:] = array
    return len(arrays) * target.nbytes / (perf_counter() - began)


def filling(arrays: Sequence[Array]) -> float:
    """Fill the same memory again and again."""
    targets = [np.ones_like(arrays[0]) for _ in range(3)]
    began = perf_counter()
    for number in range(len(arrays)):
        for target in targets:
            target.fill(number)
    return 3 * len(arrays) * arrays[0].nbytes / (perf_counter() - began)


def private_writing(arrays: Sequence[Array]) -> float:
    """Change the pages of a private mapping for the first time."""
    size, took = arrays[0].nbytes, 0.0
    descriptor = os.memfd_create("ceiling")
    os.pwrite(descriptor, arrays[0], 0)
    for _ in arrays:
        mapped = np.frombuffer(mmap.mmap(descriptor, size, mmap.MAP_PRIVATE))
        began = perf_counter()
        mapped += 1.0
        took += perf_counter() - began
        del mapped
    os.close(descriptor)
    return len(arrays) * size / took


def fresh_copying(arrays: Sequence[Array]) -> float:
    """Copy to pages of a shared file that do not exist yet."""
    size = arrays[0].nbytes
    descriptor = os.memfd_create("ceiling")
    os.ftruncate(descriptor, size * len(arrays))
    with mmap.mmap(descriptor, size * len(arrays)) as mapped:
        os.close(descriptor)
        began = perf_counter()
        for number, array in enumerate(arrays):
            mapped[number * size : (number + 1) * size] = array
        return len(arrays) * size / (perf_counter() - began)


def workloads(
    given: argparse.Namespace,
) -> dict[str, tuple[str, Callable[[], float], Workload]]:
    """Return each workload with its ceiling, and what that is."""
    workers = max(2, this_machine().facts.whole_cpus)
    size, calls = (1 << 18, 4) if given.smoke else (8 << 20, given.calls)
    count = calls + 8 * workers
    arrays = [np.arange(size // 8, dtype=np.float64) + number for number in range(count)]
    memcpy = ("memcpy", partial(copying, arrays[:calls]))
    private = ("private pages", partial(private_writing, arrays[:calls]))
    fresh = ("fresh shared pages", partial(fresh_copying, arrays[:calls]))
    contents = [array.tobytes() for array in arrays]
    return {
        "touch": (*memcpy, arguments(touch, arrays, calls, workers)),
        "sum": (*memcpy, arguments(read, arrays, calls, workers)),
        "write": (*private, arguments(write, arrays, calls, workers)),
        "bytes": (*memcpy, arguments(length, contents, calls, workers)),
        "dropped": (*memcpy, results(size, calls, False, workers)),
        "kept": (*fresh, results(size, calls, True, workers)),
        "made": ("fill", partial(filling, arrays[:calls]), made(size, calls, workers)),
    }


# ---- from which size on the arena pays ----------------------------------------------------------


def round_trip(size: int, calls: int, arena: bool) -> float:
    """Return the seconds of a call with an array of `size` bytes in one warm worker."""
    values = [np.arange(size // 8, dtype=np.float64)] * calls
    usual, buffers.THRESHOLD = buffers.THRESHOLD, size if arena else size + 1
    try:
        with BareWorkers(touch, 1, 1 << 28, arena=arena) as bare:
            for _ in bare.map(values[: calls // 4]):
                pass
            began = perf_counter()
            for _ in bare.map(values):
                pass
            return (perf_counter() - began) / calls
    finally:
        buffers.THRESHOLD = usual


def by_size(given: argparse.Namespace) -> str:
    """Return the table of round trips by size."""
    sizes = [1 << power for power in range(13, 21)]
    ways = {"socket": False, "arena": True}
    figures = interleaved(
        {
            f"{way} {size}": partial(round_trip, size, 20 if given.smoke else 400, arena)
            for size in sizes
            for way, arena in ways.items()
        },
        rounds=given.rounds,
        seed=given.seed,
    )
    rows = []
    for size in sizes:
        socket, arena = (figures[f"{way} {size}"] for way in ways)
        ratio = median([one / other for one, other in zip(arena, socket, strict=True)])
        here = "THRESHOLD" if size == buffers.THRESHOLD else ""
        rows.append(
            [
                f"{size >> 10} KiB",
                duration(median(socket)),
                duration(median(arena)),
                f"{ratio:.2f}",
                here,
            ]
        )
    return table(["a call with", "socket", "arena", "arena / socket", ""], rows)


# ---- a large global ------------------------------------------------------------------------------


def global_maps(size: int, workers: int) -> list[float]:
    """Return what maps took whose function reads a global of so many bytes: the first, the next,
    one after it was changed in place; and the largest private memory of a worker, in MiB.

    With another thread alive, so that no worker is a fork, which would have it already.
    """
    _data_calls.TABLE = np.arange(size // 8, dtype=np.float64)
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    figures, private = [], 0
    try:
        for change in (0.0, 0.0, 1.0):
            _data_calls.TABLE[0] += change
            began = perf_counter()
            for found in poolwise.map(look_up, range(2 * workers), plan=f"process:{workers}"):
                private = max(private, found)
            figures.append(perf_counter() - began)
    finally:
        over.set()
        thread.join()
        _data_calls.TABLE = None
        poolwise.shutdown()
    return [*figures, private / (1 << 20)]


def large_global(given: argparse.Namespace) -> str:
    """Return the table of maps with a large global."""
    size, workers = (
        (1 << 24) if given.smoke else (320 << 20),
        max(2, this_machine().facts.whole_cpus),
    )
    rounds = list(zip(*(global_maps(size, workers) for _ in range(given.rounds)), strict=True))
    names = ["first map", "the next", "changed in place", "private memory of a worker"]
    writes = [duration, duration, duration, lambda value: f"{value:.0f} MiB"]
    rows = [
        [name, write(median(list(values))), spread(list(values), write)]
        for name, write, values in zip(names, writes, rounds, strict=True)
    ]
    return table([f"a global of {size >> 20} MiB", "", "least – greatest"], rows)


# ---- reporting -----------------------------------------------------------------------------------


def speed(value: float) -> str:
    """Write a throughput."""
    return f"{value / GIB:.2f}"


def report(name: str, ceiling: str, figures: dict[str, list[float]]) -> str:
    """Return the table of one workload."""
    rows = []
    for contestant in [ceiling, *CONTESTANTS]:
        values = figures.get(contestant)
        if values is None:
            missing = not find_spec(CONTESTANTS[contestant][0])
            rows.append([contestant, "not installed" if missing else "left out", "", "", ""])
            continue
        row = [contestant, speed(median(values)), spread(values, speed)]
        for base in (ceiling, "poolwise"):
            pairs = zip(values, figures.get(base, ()), strict=False)
            ratios = [one / other for one, other in pairs]
            row.append(f"{median(ratios):.2f}" if ratios else "")
        rows.append(row)
    return table([name, "GiB/s", "least – greatest", "× ceiling", "× poolwise"], rows)


def main() -> None:
    """Measure all contestants on each workload, and print a table for each."""
    parser = options(__doc__, rounds=5)
    parser.add_argument("--calls", type=int, default=48, help="arrays of each map (48)")
    parser.add_argument(
        "--only", action="append", help='this workload, "by size" or "global" (repeatable)'
    )
    parser.add_argument("--without", action="append", default=[], help="this contestant")
    given = begin(parser)
    for name, (ceiling, limit, workload) in workloads(given).items():
        if given.only and name not in given.only:
            continue
        contestants = {ceiling: limit} | {
            contestant: partial(workload.run, opened)
            for contestant, (module, opened) in CONTESTANTS.items()
            if find_spec(module) and contestant not in given.without
        }
        figures = interleaved(contestants, rounds=given.rounds, seed=given.seed)
        print(f"\n{report(name, ceiling, figures)}")
    if not given.only or "by size" in given.only:
        print(f"\n{by_size(given)}")
    if not given.only or "global" in given.only:
        print(f"\n{large_global(given)}")


if __name__ == "__main__":
    main()
