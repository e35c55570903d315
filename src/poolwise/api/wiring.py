"""From what users say to what drives a run; what nobody could mean is refused here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal

from _poolwise_worker.seeded import seeded
from poolwise.executor.drive import Drive, MapOptions
from poolwise.executor.options import RunOptions
from poolwise.executor.progress import Progress, make_progress
from poolwise.machine import this_machine
from poolwise.plan import check_count
from poolwise.task import Task
from poolwise.units import whole

OnError = Literal["raise", "return"]


def with_common(fn: Callable[..., Any], common: Mapping[str, Any]) -> Callable[..., Any]:
    """Return `fn` with the keyword arguments that all its calls share."""
    if not isinstance(common, Mapping) or not all(isinstance(name, str) for name in common):
        raise TypeError(f"common takes keyword arguments, such as {{'depth': 3}}, not {common!r}")
    if not callable(fn):
        raise TypeError(f"fn takes a callable, not {fn!r}")
    return partial(fn, **common)


def drive_of(
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    run: RunOptions,
    map_options: MapOptions,
    progress: bool | Callable[[int, int | None], object] = False,
    seed: int | None = None,
) -> Drive:
    """Return what runs the calls of `fn` on these inputs; nothing has begun."""
    if not callable(fn):
        raise TypeError(f"fn takes a callable, not {fn!r}")
    if not iterables:
        raise TypeError("give at least one iterable of inputs")
    for position, each in enumerate(iterables, 1):
        kind = type(each)  # a class may have the methods that its instances are iterated with
        if not hasattr(kind, "__iter__") and not hasattr(kind, "__getitem__"):
            raise TypeError(f"iterable {position} is not iterable: {each!r}")
    if seed is not None:
        number = whole(seed)
        if number is None:
            raise TypeError(f"seed takes a whole number from 0 on, or None, not {seed!r}")
        if number < 0:
            raise ValueError(f"seed takes a whole number from 0 on, or None, not {number}")
        fn, iterables = seeded(fn, number), (range(sys.maxsize), *iterables)
    shown: Progress | None = make_progress(progress)
    drive = Drive(Task(fn), iterables, this_machine(), run, map_options, shown)
    if seed is not None:  # an option, and options are checked at once; a function when it runs
        drive.refuse()
    return drive


def map_options(
    ordered: bool, total: int | None, buffersize: int | None, chunksize: int | None, on_error: str
) -> MapOptions:
    """Return how results come out."""
    if on_error not in ("raise", "return"):
        raise ValueError(f"on_error takes 'raise' or 'return', not {on_error!r}")
    if not isinstance(ordered, bool):
        raise TypeError(f"ordered takes True or False, not {ordered!r}")
    if buffersize is not None:
        buffersize = check_count("buffersize", buffersize)
    if chunksize is not None:
        chunksize = check_count("chunksize", chunksize)
    inputs = whole(total)
    if total is not None and inputs is None:
        raise TypeError(f"total takes a number of inputs, not {total!r}")
    if inputs is not None and inputs < 0:
        raise ValueError(f"total takes a number of inputs, not {inputs}")
    return MapOptions(ordered, on_error == "return", buffersize, inputs, chunksize)
