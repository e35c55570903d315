"""What a workload of `bench_regret.py` is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Workload:
    """A function as a user would write it, and what it is mapped over.

    `inputs` makes the inputs for a scale: 1 for the figures, less for a smoke run. They are made
    before the clock starts, inside of `surroundings`: servers and files that calls need. `computes`
    is what someone who goes by the textbook would say.
    """

    function: Callable[[Any], Any]
    inputs: Callable[[float], Iterable[Any]]
    computes: bool
    surroundings: Callable[[], AbstractContextManager[object]] = nullcontext


def times(scale: float, count: int) -> int:
    """Return so many inputs, fewer in a smoke run, but two."""
    return max(2, round(scale * count))
