"""The libraries that are compared, each behind the same four words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Protocol

Call = Callable[[Any], Any]


class Peer(Protocol):
    """An open pool. What a library does not offer, its class does not have."""

    def map(self, fn: Call, items: Iterable[Any]) -> Iterable[Any]:
        """Apply `fn` as the library does when one says nothing but that."""
        ...

    def start(self, fn: Call, items: Sequence[Any]) -> Iterable[Any]:
        """Submit each call by itself, all at once; iterating waits for the results in order."""
        ...

    def call(self, fn: Call, item: Any) -> Any:
        """Submit one call and wait for its result."""
        ...

    def close(self) -> None:
        """End the workers."""
        ...


class Poolwise:
    """`poolwise.map`, and an executor that is made when it is first needed."""

    def __init__(self, workers: int, plan: str | None = None) -> None:
        self._options: dict[str, Any] = (
            {"max_workers": workers} if plan is None else {"plan": f"{plan}:{workers}"}
        )
        self._executor: Any = None

    @property
    def executor(self) -> Any:
        """The executor."""
        if self._executor is None:
            from poolwise import Executor

            self._executor = Executor(**self._options)
        return self._executor

    def map(self, fn: Call, items: Iterable[Any]) -> Iterable[Any]:
        """Map with a run of its own."""
        from poolwise import map

        return map(fn, items, **self._options)

    def start(self, fn: Call, items: Sequence[Any]) -> Iterable[Any]:
        """Submit to the executor."""
        submit = self.executor.submit
        return _results([submit(fn, item) for item in items])

    def call(self, fn: Call, item: Any) -> Any:
        """Submit to the executor, and wait."""
        return self.executor.submit(fn, item).result()

    def close(self) -> None:
        """Shut everything down."""
        from poolwise import shutdown

        if self._executor is not None:
            self._executor.shutdown()
        shutdown()


class PoolwiseMapOfOne(Poolwise):
    """A call is a map over one input: it needs no thread but the caller's."""

    def call(self, fn: Call, item: Any) -> Any:
        """Map over one input."""
        (result,) = self.map(fn, [item])
        return result


class PoolwiseExecutorMap(Poolwise):
    """A map goes to the warm executor."""

    def map(self, fn: Call, items: Iterable[Any]) -> Iterable[Any]:
        """Map in the executor."""
        return self.executor.map(fn, items)


class Standard:
    """`concurrent.futures.ProcessPoolExecutor`, and what has its interface."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @classmethod
    def of_method(cls, workers: int, method: str) -> Standard:
        """Open the standard executor."""
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        return cls(ProcessPoolExecutor(workers, mp_context=get_context(method)))

    @classmethod
    def of_loky(cls, workers: int) -> Standard:
        """Open loky's executor, the one that it recommends."""
        from loky import get_reusable_executor

        return cls(get_reusable_executor(max_workers=workers))

    def map(self, fn: Call, items: Iterable[Any]) -> Iterable[Any]:
        """Map with chunks of one, which is its default."""
        return self._pool.map(fn, items)

    def start(self, fn: Call, items: Sequence[Any]) -> Iterable[Any]:
        """Submit."""
        submit = self._pool.submit
        return _results([submit(fn, item) for item in items])

    def call(self, fn: Call, item: Any) -> Any:
        """Submit, and wait."""
        return self._pool.submit(fn, item).result()

    def close(self) -> None:
        """Shut down."""
        self._pool.shutdown()


class Pool:
    """`multiprocessing.Pool`, as it comes: started by fork where that is the default."""

    def __init__(self, workers: int, chunksize: int | None = None) -> None:
        from multiprocessing import get_context

        self._pool = get_context("fork").Pool(workers)
        self._chunksize = chunksize

    def map(self, fn: Call, items: Iterable[Any]) -> Iterable[Any]:
        """Map with the chunk size that was given, or with its own."""
        return self._pool.map(fn, items, self._chunksize)

    def start(self, fn: Call, items: Sequence[Any]) -> Iterable[Any]:
        """Apply to each."""
        apply = self._pool.apply_async
        sent = [apply(fn, (item,)) for item in items]
        return (each.get() for each in sent)

    def call(self, fn: Call, item: Any) -> Any:
        """Apply, and wait."""
        return self._pool.apply_async(fn, (item,)).get()

    def close(self) -> None:
        """Close and join."""
        self._pool.close()
        self._pool.join()


class Joblib:
    """`joblib.Parallel`, whose workers are loky's and outlast a call."""

    def __init__(self, workers: int) -> None:
        from joblib import Parallel, delayed

        self._delayed = delayed
        self._whole, self._lazy = Parallel(workers), Parallel(workers, return_as="generator")

    def map(self, fn: Call, items: Iterable[Any]) -> Iterable[Any]:
        """Run them all; joblib finds the batch size."""
        call = self._delayed(fn)
        return self._whole(call(item) for item in items)

    def start(self, fn: Call, items: Sequence[Any]) -> Iterable[Any]:
        """Send them off; joblib has no calls of their own."""
        call = self._delayed(fn)
        return self._lazy(call(item) for item in items)

    def call(self, fn: Call, item: Any) -> Any:
        """Run one."""
        return self._whole([self._delayed(fn)(item)])[0]

    def close(self) -> None:
        """End the workers that joblib keeps."""
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown()


class Mpire:
    """`mpire.WorkerPool`, told to keep its workers between maps."""

    def __init__(self, workers: int) -> None:
        from mpire import WorkerPool

        self._pool = WorkerPool(workers, keep_alive=True)

    def map(self, fn: Call, items: Iterable[Any]) -> Iterable[Any]:
        """Map."""
        return self._pool.map(fn, items)

    def start(self, fn: Call, items: Sequence[Any]) -> Iterable[Any]:
        """Apply to each."""
        apply = self._pool.apply_async
        sent = [apply(fn, (item,)) for item in items]
        return (each.get() for each in sent)

    def call(self, fn: Call, item: Any) -> Any:
        """Apply, and wait."""
        return self._pool.apply_async(fn, (item,)).get()

    def close(self) -> None:
        """Stop and join."""
        self._pool.stop_and_join()


class Pebble:
    """`pebble.ProcessPool`."""

    def __init__(self, workers: int) -> None:
        from pebble import ProcessPool

        self._pool = ProcessPool(max_workers=workers)

    def start(self, fn: Call, items: Sequence[Any]) -> Iterable[Any]:
        """Schedule each."""
        schedule = self._pool.schedule
        return _results([schedule(fn, args=(item,)) for item in items])

    def call(self, fn: Call, item: Any) -> Any:
        """Schedule, and wait."""
        return self._pool.schedule(fn, args=(item,)).result()

    def close(self) -> None:
        """Close and join."""
        self._pool.close()
        self._pool.join()


class Ray:
    """Ray on this machine alone, without its dashboard."""

    def __init__(self, workers: int) -> None:
        import ray

        self._ray = ray
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
        self._remote: dict[Call, Any] = {}

    def start(self, fn: Call, items: Sequence[Any]) -> Iterable[Any]:
        """Call the remote function for each."""
        remote = self._function(fn)
        return self._ray.get([remote.remote(item) for item in items])

    def call(self, fn: Call, item: Any) -> Any:
        """Call the remote function, and get."""
        return self._ray.get(self._function(fn).remote(item))

    def close(self) -> None:
        """Shut down."""
        self._ray.shutdown()

    def _function(self, fn: Call) -> Any:
        if fn not in self._remote:
            self._remote[fn] = self._ray.remote(fn)
        return self._remote[fn]


def _results(futures: Iterable[Any]) -> Iterable[Any]:
    return (future.result() for future in futures)


@dataclass(frozen=True)
class Kind:
    """How to open a peer with so many workers, and what to import before."""

    open: Callable[[int], Peer]
    modules: tuple[str, ...]

    @property
    def installed(self) -> bool:
        """Whether it can be measured here."""
        return find_spec(self.modules[0].partition(".")[0]) is not None


_POOLWISE = ("poolwise.api.mapping", "poolwise.executor.executor")
_STANDARD = ("concurrent.futures.process", "multiprocessing")

#: By the names under which rows show them.
KINDS: dict[str, Kind] = {
    "poolwise": Kind(Poolwise, _POOLWISE),
    "poolwise process": Kind(partial(Poolwise, plan="process"), _POOLWISE),
    "poolwise map of one": Kind(partial(PoolwiseMapOfOne, plan="process"), _POOLWISE),
    "poolwise executor map": Kind(partial(PoolwiseExecutorMap, plan="process"), _POOLWISE),
    "stdlib fork": Kind(partial(Standard.of_method, method="fork"), _STANDARD),
    "stdlib forkserver": Kind(partial(Standard.of_method, method="forkserver"), _STANDARD),
    "stdlib spawn": Kind(partial(Standard.of_method, method="spawn"), _STANDARD),
    "Pool": Kind(Pool, ("multiprocessing.pool",)),
    "Pool chunks of 1000": Kind(partial(Pool, chunksize=1_000), ("multiprocessing.pool",)),
    "loky": Kind(Standard.of_loky, ("loky",)),
    "joblib": Kind(Joblib, ("joblib",)),
    "mpire": Kind(Mpire, ("mpire",)),
    "pebble": Kind(Pebble, ("pebble",)),
    "ray": Kind(Ray, ("ray",)),
}
