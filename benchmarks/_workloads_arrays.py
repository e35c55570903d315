"""Work of NumPy: some releases the GIL, some uses all CPUs by itself, most moves large arrays."""

from __future__ import annotations

import numpy as np
from _workload import Workload, times
from numpy.typing import NDArray

Array = NDArray[np.float64]


def arrays(values: int, count: int) -> list[Array]:
    """Arrays of random numbers, no two alike."""
    draw = np.random.default_rng(1)
    return [draw.random(values) for _ in range(count)]


def product(seed: int) -> float:
    """Multiply two matrices of 500 x 500."""
    draw = np.random.default_rng(seed)
    one, other = draw.random((500, 500)), draw.random((500, 500))
    return float(np.trace(one @ other @ one))


def solution(seed: int) -> float:
    """Solve a system of 60 equations."""
    draw = np.random.default_rng(seed)
    return float(np.linalg.solve(draw.random((60, 60)), draw.random(60)).max())


def spread(values: Array) -> float:
    """Boil 8 MB down to a number."""
    return float(values.std())


def waves(number: int) -> Array:
    """Make 4 MB of nothing but a number."""
    return np.sin(np.linspace(0.0, number, 500_000))


def scaled(values: Array) -> Array:
    """Turn 4 MB into as many others."""
    return np.sqrt(values) * 3.0 + np.log1p(values)


def middle(values: Array) -> float:
    """Sort half a million numbers, and take the one in the middle."""
    return float(np.sort(values)[values.size // 2])


WORKLOADS = {
    "matrix products": Workload(product, lambda scale: range(times(scale, 50)), True),
    "small systems": Workload(solution, lambda scale: range(times(scale, 3_000)), True),
    "sum arrays": Workload(spread, lambda scale: arrays(1_000_000, 10) * times(scale, 18), True),
    "make arrays": Workload(waves, lambda scale: range(1, 1 + times(scale, 100)), True),
    "scale arrays": Workload(scaled, lambda scale: arrays(500_000, 10) * times(scale, 12), True),
    "sort arrays": Workload(middle, lambda scale: arrays(500_000, times(scale, 20)), True),
}
