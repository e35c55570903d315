"""What the workers of `bench_data.py` call; every way of starting a worker can import it."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from _poolwise_worker.guard import private_bytes

Array = NDArray[np.float64]

#: Elements of a page of 4 KiB.
PAGE = 512


def touch(array: Array) -> float:
    """Read a little of every page."""
    return float(array[::PAGE].sum())


def read(array: Array) -> float:
    """Read everything."""
    return float(array.sum())


def write(array: Array) -> float:
    """Change everything in place."""
    if not array.flags.writeable:  # some give out read-only memory, and then a copy is due
        array = array.copy()
    array += 1.0
    return float(array[0])


def length(data: bytes) -> int:
    """Receive bytes."""
    return len(data)


@cache
def _results(size: int) -> list[Array]:
    return [np.arange(size // 8, dtype=np.float64) + number for number in range(8)]


def give(order: tuple[int, int]) -> Array:
    """Return an array of so many bytes that is there already: only its way back takes time."""
    size, number = order
    return _results(size)[number % 8]


def make(order: tuple[int, int]) -> float:
    """Fill three arrays of so many bytes, and let them go."""
    size, number = order
    arrays = [np.full(size // 8, float(number)) for _ in range(3)]
    return float(sum(array[-1] for array in arrays))


#: What a function reads by name.
TABLE: Array | None = None


def look_up(number: int) -> int:
    """Read a little of every page of the table; return the private memory of this process."""
    assert TABLE is not None
    touch(TABLE)
    return private_bytes()
