"""NumPy: transforms, linear algebra, and calls so small that NumPy hardly pays."""

from __future__ import annotations

import numpy as np
from _workload import Workload, times
from numpy.typing import NDArray

Array = NDArray[np.float64]


def signals(scale: float) -> list[Array]:
    """Noisy tones of 512 KB; ten different ones, each wanted again and again."""
    draw = np.random.default_rng(401)
    time = np.arange(1 << 16) / 48_000
    tones = [np.sin(2 * np.pi * (200 + 90 * n) * time) + draw.normal(size=time.size)
             for n in range(10)]  # fmt: skip
    return tones * max(1, times(scale, 500) // 10)


def pitch(signal: Array) -> float:
    """Find the strongest frequency of a signal."""
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(signal.size)))
    return float(np.argmax(spectrum) * 48_000 / signal.size)


def corners(scale: float) -> list[Array]:
    """Quadrangles."""
    return list(np.random.default_rng(402).random((times(scale, 25_000), 4, 2)))


def area(polygon: Array) -> float:
    """The area of a polygon, by the shoelace formula."""
    x, y = polygon[:, 0], polygon[:, 1]
    return 0.5 * float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))


def covariances(scale: float) -> list[Array]:
    """Matrices of 200 x 200, 320 KB each."""
    draw = np.random.default_rng(403)
    return [draw.normal(size=(200, 200)) + 20 * np.eye(200) for _ in range(times(scale, 200))]


def inverse(matrix: Array) -> Array:
    """Invert a matrix."""
    return np.linalg.inv(matrix)


WORKLOADS = {
    "FFT": Workload(pitch, signals, True),
    "tiny NumPy calls": Workload(area, corners, True),
    "invert matrices": Workload(inverse, covariances, True),
}
