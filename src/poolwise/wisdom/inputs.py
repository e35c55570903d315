"""What the inputs of a run are like: of which types, and about how large.

One function is often mapped over small inputs here and large ones there. Without this each of these
runs would find what the other one has taught, and be misled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Sized
from typing import cast

#: So many kinds of inputs of one function are remembered, those of the latest runs.
MOST_KINDS = 4

#: So many inputs are looked at, evenly spread over all: a µs each.
_SOME = 32

#: Items of a tuple are inputs of their own, as in `[(seconds, steps), ...]`; so deep, and so many.
_DEEP, _ITEMS = 2, 8

#: Larger numbers say nothing of how long a call takes.
_LARGEST = 1 << 60

#: Names of types are as long as their authors like.
_LONGEST = 120

_SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset, range)


def inputs_like(columns: Sequence[Sequence[object]]) -> str:
    """Return what inputs have in common with others of their kind; "" if there are none.

    `columns` holds one sequence for each argument. Each power of four in size is another kind:
    means over a few inputs differ by less, mostly.

    >>> inputs_like([range(900, 1000)])
    'int 5'
    >>> inputs_like([["a", "bc"], [(1, 0.5), (2, 0.5)]])
    'str 0, tuple[float, int] 0'
    """
    return ", ".join(map(_like, columns))[:_LONGEST] if all(columns) else ""


def _like(column: Sequence[object]) -> str:
    step = max(1, len(column) // _SOME)
    some = [column[place] for place in range(0, len(column), step)]
    kinds = sorted({_kind(each) for each in some})
    # Rounded, because people like 4, 16 and 64 of something: these lie amid their kind.
    size = round(math.log(max(1.0, sum(map(_size, some)) / len(some)), 4))
    return f"{'|'.join(kinds)} {size}"


def _kind(value: object) -> str:
    if type(value) is not tuple:
        return type(value).__qualname__
    inside = sorted({type(each).__qualname__ for each in value[:_ITEMS]})
    return f"tuple[{', '.join(inside)}]"


def _size(value: object, deep: int = _DEEP) -> float:
    """Return a number that is larger where there is likely to be more to do.

    By the type itself, as `isinstance` asks objects what they are, and some load a record for that.
    """
    kind = type(value)
    if kind is bool or value is None:
        return 1.0
    if kind is int or kind is float:
        number = float(min(abs(cast(float, value)), _LARGEST))
        return number if math.isfinite(number) else 1.0
    if kind is tuple and deep:
        return sum(_size(each, deep - 1) for each in cast("tuple[object, ...]", value)[:_ITEMS])
    return float(len(cast(Sized, value))) if kind in _SIZED else _bytes_of(value)


def _bytes_of(value: object) -> float:
    """Return how large a buffer is, such as an array; 1 for what is none."""
    try:
        with memoryview(value) as view:  # type: ignore[arg-type]
            return float(view.nbytes)
    except Exception:  # no buffer, or one that cannot be had now
        return 1.0
