"""One workload under one contestant, in a process of its own, as a line of JSON.

Before the clock starts the libraries are imported, and the inputs and whatever calls need are
there. It stops when the last result has come; ending the workers is not counted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from _workloads import load

Call = Callable[[Any], Any]
Maps = Callable[[Call, Iterable[Any]], list[Any]]

CPUS = len(os.sched_getaffinity(0))


@contextmanager
def plain_loop() -> Iterator[Maps]:
    """A loop."""
    yield lambda function, items: [function(item) for item in items]


@contextmanager
def poolwise() -> Iterator[Maps]:
    """`poolwise.map` as it comes."""
    from poolwise import map, shutdown

    yield lambda function, items: list(map(function, items))
    shutdown()


def poolwise_under(plan: str) -> Callable[[], Any]:
    """`poolwise.map` under a plan of its own that nobody has to find out."""

    @contextmanager
    def opened() -> Iterator[Maps]:
        from poolwise import map, shutdown

        yield lambda function, items: list(map(function, items, plan=plan))
        shutdown()

    return opened


def threads(count: int) -> Callable[[], Any]:
    """`ThreadPoolExecutor` with so many threads."""

    @contextmanager
    def opened() -> Iterator[Maps]:
        from concurrent.futures import ThreadPoolExecutor

        pools: list[ThreadPoolExecutor] = []

        def run(function: Call, items: Iterable[Any]) -> list[Any]:
            pools.append(ThreadPoolExecutor(count))
            return list(pools[0].map(function, items))

        yield run
        pools[0].shutdown()

    return opened


def processes(*, tuned: bool) -> Callable[[], Any]:
    """`ProcessPoolExecutor` with forked workers, and chunks of one or as its documentation says."""

    @contextmanager
    def opened() -> Iterator[Maps]:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        pools: list[ProcessPoolExecutor] = []

        def run(function: Call, items: Iterable[Any]) -> list[Any]:
            pools.append(ProcessPoolExecutor(CPUS, mp_context=get_context("fork")))
            chunk = 1
            if tuned:
                items = list(items)
                chunk = -(-len(items) // (4 * CPUS))
            return list(pools[0].map(function, items, chunksize=chunk))

        yield run
        pools[0].shutdown()

    return opened


@contextmanager
def pool_map() -> Iterator[Maps]:
    """`multiprocessing.Pool.map`."""
    from multiprocessing import get_context

    pools: list[Any] = []

    def run(function: Call, items: Iterable[Any]) -> list[Any]:
        pools.append(get_context("fork").Pool(CPUS))
        return list(pools[0].map(function, items))

    yield run
    pools[0].terminate()


def joblib(backend: str) -> Callable[[], Any]:
    """`joblib.Parallel` with one worker for each CPU."""

    @contextmanager
    def opened() -> Iterator[Maps]:
        from joblib import Parallel, delayed

        yield lambda function, items: list(
            Parallel(n_jobs=CPUS, backend=backend)(delayed(function)(item) for item in items)
        )

    return opened


@contextmanager
def mpire() -> Iterator[Maps]:
    """`mpire.WorkerPool.map` with one worker for each CPU."""
    from mpire import WorkerPool
    from mpire.utils import make_single_arguments

    pools: list[WorkerPool] = []

    def run(function: Call, items: Iterable[Any]) -> list[Any]:
        pools.append(WorkerPool(n_jobs=CPUS, start_method="fork"))
        items = list(items)
        single = make_single_arguments(items, generator=False)
        return list(pools[0].map(function, single, concatenate_numpy_output=False))

    yield run
    pools[0].terminate()


CONTESTANTS: dict[str, Callable[[], Any]] = {
    "loop": plain_loop,
    "threads 2": threads(2),
    "threads 8": threads(8),
    "threads 32": threads(32),
    "PPE": processes(tuned=False),
    "PPE tuned": processes(tuned=True),
    "Pool": pool_map,
    "loky": joblib("loky"),
    "joblib threads": joblib("threading"),
    "mpire": mpire,
    "poolwise": poolwise,
}

#: What the best plan of poolwise itself takes where there is nothing to learn: the limit of what
#: `poolwise` can reach by choosing.
PINNED = {
    f"pinned {plan}": poolwise_under(plan)
    for plan in ("thread:2", "thread:8", "thread:32", "thread:64", "process:2", "process:2x8")
}
CONTESTANTS |= PINNED


def story() -> dict[str, Any]:
    """What the last run of poolwise did."""
    from poolwise import last_run

    run = last_run()
    record = run.record()
    return {
        "plan": str(run.plan),
        "settled": record.phases[-1].at if record.phases else 0.0,
        "phases": [f"{1e3 * each.at:7.1f} ms  {each.text}" for each in record.phases],
        "forecast": record.forecast,
        "explanation": str(run.explain()),
    }


def main() -> None:
    """Measure what the command line says: a workload, a contestant and a scale."""
    name, contestant, scale = json.loads(sys.argv[1])
    os.environ.pop("POOLWISE_PLAN", None)
    workload = load(name)
    with workload.surroundings():
        items = workload.inputs(scale)
        with CONTESTANTS[contestant]() as run:
            began = time.perf_counter()
            results = run(workload.function, items)
            took = time.perf_counter() - began
            figures: dict[str, Any] = {"seconds": took, "results": len(results)}
            if contestant == "poolwise":
                figures |= story()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
