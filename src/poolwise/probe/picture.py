"""Pictures of objects: equal as long as the objects are, small, and never of a large one."""

from __future__ import annotations

import io
import pickle
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from _poolwise_worker import transfer
from poolwise.units import Bytes


class TooLarge(Exception):
    """The picture would have taken more bytes than it may."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A pickle, with a checksum in the place of each large buffer; `size` is that of both."""

    data: bytes
    checksums: tuple[int, ...]
    size: Bytes


def picture(
    thing: object,
    at_most: Bytes,
    buffers_at_most: Bytes | None = None,
    pickler: Callable[..., pickle.Pickler] = pickle.Pickler,
) -> Picture:
    """Return a picture of `thing`.

    Args:
        thing: What it is of.
        at_most: Bytes that its pickle may have.
        buffers_at_most: Bytes that may lie beside it in buffers, which are not copied; ``None``:
            any number. Their checksums take about a millisecond for a megabyte.
        pickler: The class that pickles.

    Raises:
        TooLarge: it has more.
        Exception: whatever its pickling raises.
    """
    film = _Film(at_most)
    buffers: list[pickle.PickleBuffer] = []
    with transfer.looking():
        pickler(film, 5, buffer_callback=buffers.append).dump(thing)
    views = [buffer.raw() for buffer in buffers]
    beside = sum(view.nbytes for view in views)
    if buffers_at_most is not None and beside > buffers_at_most:
        raise TooLarge
    return Picture(bytes(film.data), tuple(map(zlib.crc32, views)), len(film.data) + beside)


class _Film(io.RawIOBase):
    """A file that refuses to grow too large, and so ends the pickling."""

    def __init__(self, at_most: Bytes) -> None:
        self.data = bytearray()
        self._at_most = at_most

    def write(self, data: Any, /) -> int:
        if len(self.data) + len(data) > self._at_most:
            raise TooLarge
        self.data += data
        return len(data)
