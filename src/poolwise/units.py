"""Units in the type, and how figures are written for people."""

from __future__ import annotations

import math
import operator
from typing import TypeAlias

Seconds: TypeAlias = float
Bytes: TypeAlias = int
PerSecond: TypeAlias = float


def whole(value: object) -> int | None:
    """Return what is a whole number to Python, such as one of NumPy's, as an `int`; else ``None``.

    Not True or False: where a number is asked for, they are a mistake.

    >>> whole(3), whole(3.0), whole(True)
    (3, None, None)
    """
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def real(value: object) -> float | None:
    """Return any real number as a `float`, also one of NumPy's; ``None`` if it is none.

    >>> real(3), real(0.5), real("3"), real(True)
    (3.0, 0.5, None, None)
    """
    if isinstance(value, bool):
        return None
    if not isinstance(value, int | float):
        from numbers import Real  # which only such a number needs

        if not isinstance(value, Real):
            return None
    try:
        return float(value)
    except OverflowError:  # an int beyond all floats
        return -math.inf if value < 0 else math.inf


def _two_digits(value: float) -> str:
    """Two significant digits below ten, whole numbers with separators from a hundred on."""
    if value >= 99.5:
        return f"{value:,.0f}"
    if value >= 9.95:
        return f"{value:.0f}"
    return f"{value:.2g}"


def duration(seconds: Seconds) -> str:
    """Write a duration: ``duration(0.0051)`` is ``'5.1 ms'``.

    >>> duration(0.0051), duration(75.0), duration(4e-8)
    ('5.1 ms', '75 s', '40 ns')
    """
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds == 0:
        return "0 s"
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 0.9995:
            return f"{_two_digits(seconds * factor)} {unit}"
    return f"{_two_digits(seconds * 1e9)} ns"


def makespan(seconds: Seconds) -> str:
    """Write a makespan with enough digits to compare two of them: ``'1.94 s'``.

    >>> makespan(1.937), makespan(0.0213), makespan(312.0)
    ('1.94 s', '21 ms', '312 s')
    """
    if 0.9995 <= seconds < 9.995:
        return f"{seconds:.2f} s"
    if 9.995 <= seconds < 99.95:
        return f"{seconds:.1f} s"
    return duration(seconds)


def size(count: Bytes) -> str:
    """Write a size in bytes: ``size(1_200)`` is ``'1.2 KB'`` (decimal units).

    >>> size(90), size(1_200), size(8_000_000)
    ('90 B', '1.2 KB', '8 MB')
    """
    value = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 999.5 or unit == "GB":
            break
        value /= 1000.0
    return f"{_two_digits(value)} {unit}"


_UNITS = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip


def parse_size(text: str) -> Bytes:
    """Read a size in bytes, with a unit or without.

    Raises:
        ValueError: it is none; the text says what it takes.

    >>> parse_size("2GB"), parse_size("1.5 MiB"), parse_size("4096")
    (2000000000, 1572864, 4096)
    """
    stripped = text.strip().lower()
    number = stripped.rstrip("abcdefghijklmnopqrstuvwxyz").rstrip()
    try:
        count = float(number) * _UNITS[stripped[len(number) :].strip()]
        return int(count)
    except (KeyError, ValueError, OverflowError):
        raise ValueError(
            f"a size takes bytes, or a number with a unit such as '2GB' or '512 MiB', not {text!r}"
        ) from None


def rate(per_second: PerSecond) -> str:
    """Write a throughput in calls a second, without its unit.

    >>> rate(417.3), rate(2_500_000.0), rate(1.34)
    ('417', '2,500,000', '1.3')
    """
    return _two_digits(per_second)


def plural(count: int, noun: str) -> str:
    """Write a count with its noun.

    >>> plural(1, "input"), plural(1512, "input"), plural(2, "process")
    ('1 input', '1,512 inputs', '2 processes')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"
