"""What was asked for and a program of the standard library, with the same plan, does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolwise.executor.options import RunOptions

if TYPE_CHECKING:
    from poolwise.executor.drive import MapOptions


def missing(run: RunOptions, how: MapOptions) -> tuple[str, ...]:
    """Return these options as one writes them. Not among them are `common`, which the function has
    by then, and `seed`, with which it cannot be written out.
    """
    workers, retries = run.workers, run.retries
    most = run.max_concurrency  # which plans that are chosen keep
    if most is not None and (run.plan is None or run.plan.concurrency <= most):
        most = None
    given = {
        "ordered": None if how.ordered else "False",
        "on_error": '"return"' if how.return_errors else None,
        "buffersize": how.buffersize,
        "chunksize": how.chunksize,
        "max_concurrency": most,
        "initializer": None if workers.initializer is None else _name(workers.initializer[0]),
        "max_tasks_per_child": workers.calls_per_worker,
        "start_method": None if workers.start_method is None else f'"{workers.start_method}"',
        "retries": retries.most or None,
        "retry_on": ", ".join(map(_name, retries.on)) or None,
        "task_timeout": workers.call_timeout,
        "memory_limit": workers.memory_limit,
        "kill_on_cancel": "True" if workers.killable else None,
    }
    return tuple(f"{name}={value}" for name, value in given.items() if value is not None)


def _name(thing: object) -> str:
    """Return a name that stands in one line, whatever it is called."""
    name = getattr(thing, "__qualname__", None)
    name = name if isinstance(name, str) else type(thing).__qualname__
    return " ".join(name.split())
