"""What large buffers hold, told by checksums, as long as a budget of bytes lasts."""

from __future__ import annotations

import sys
import zlib
from dataclasses import dataclass
from typing import Any, TypeAlias

from poolwise.units import Bytes

#: Something with bytes that can be sliced.
Data: TypeAlias = bytes | bytearray | memoryview

#: One look reads so much in full: some 0.5 ms with NumPy. So the four looks at two calls that
#: change nothing take about 2 ms, however short calls are: that is not known before the first.
_IN_FULL: Bytes = 12 << 20

#: Without NumPy a byte takes so many times as long.
_DEARER = 4

#: From buffers that are larger than what is left of that, so much is read in addition.
_SAMPLED: Bytes = 1 << 20

#: What is read of one of these: its beginning, which calls fill first, and small pieces in equal
#: distances, one of which is hit by whoever changes all of it, or a long stretch.
_HEAD: Bytes = 16 << 10
_PIECES, _PIECE = 64, 512

#: Summed up at once: what stays in the cache of a CPU.
_CHUNK: Bytes = 1 << 20

#: Numbers of eight bytes in a row of those that are added up. A prime, so that parts of an array
#: that change places are most likely added to other columns than before.
_COLUMNS = 509


@dataclass(slots=True)
class Budget:
    """What a look may still read; `partly` once something was not read in full."""

    full: Bytes = _IN_FULL
    sampled: Bytes = _SAMPLED
    partly: bool = False


def contents(data: Data, budget: Budget) -> tuple[int, ...]:
    """Return what is equal as long as `data` is, as far as it was read."""
    size, dear = len(data), 1 if _numpy() else _DEARER
    full = min(size, budget.full // dear)
    budget.full -= full * dear
    found = [size, _sum(data, 0, full)]
    if full == size:
        return tuple(found)
    budget.partly = True
    if budget.sampled > 0:
        budget.sampled -= _HEAD + _PIECES * _PIECE
        found.append(_sum(data, full, full + _HEAD))
        step = max(_PIECE, (size - full) // _PIECES)
        pieces = [data[begin : begin + _PIECE] for begin in range(full, size, step)]
        found.append(zlib.crc32(b"".join([*pieces, data[-_PIECE:]])))
    return tuple(found)


def _sum(data: Data, begin: int, end: int) -> int:
    """Return a checksum of a part. In chunks, so that what is no view is copied only so far: a view
    of a `bytearray` would keep other threads from making it longer.
    """
    numpy, found = _numpy(), 0
    for start in range(begin, end, _CHUNK):
        chunk = data[start : min(start + _CHUNK, end)]
        found = zlib.crc32(chunk if numpy is None else _columns(chunk, numpy), found)
    return found


def _numpy() -> Any:
    """Return NumPy if the program has it; who has none has hardly any large buffers."""
    numpy = sys.modules.get("numpy")
    return numpy if hasattr(numpy, "frombuffer") else None


def _columns(chunk: Data, numpy: Any) -> bytes | Data:
    """Boil a chunk down to the sums of its columns, in a quarter of the time that a CRC takes.

    One change always shows, for a sum of integers that wrap around then differs. A single sum
    would not tell the order: sorting would not show.
    """
    row = 8 * _COLUMNS
    whole = len(chunk) // row * row
    if not whole:
        return chunk
    rows = numpy.frombuffer(chunk, numpy.uint64, whole // 8).reshape(-1, _COLUMNS)
    return bytes(numpy.add.reduce(rows, axis=0).tobytes()) + bytes(chunk[whole:])
