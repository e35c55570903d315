"""Pickles in parts: what is large comes as it lies in memory, in a part of its own, not copied."""

from __future__ import annotations

from _pickle import PickleBuffer, Pickler
from itertools import pairwise

from _poolwise_worker.script import WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from _poolwise_worker.transfer import Pickling

    Part: TypeAlias = bytes | bytearray | memoryview

#: An opcode of pickle: what follows is a frame of other opcodes.
_FRAME = b"\x95"


class Parts(list["Part"]):
    """What a pickler writes: from 64 KiB on, a large object comes as it is, and of a buffer that is
    to go in band, an array's, the `PickleBuffer`.
    """

    __slots__ = ()

    def write(self, part: Part | PickleBuffer) -> None:
        """Keep a part, as a view of its memory where it is a buffer's."""
        self.append(part.raw() if type(part) is PickleBuffer else part)


class InParts:
    """A pickle, and the buffers that go beside it."""

    __slots__ = ("buffers", "parts", "worthwhile")

    def __init__(self, parts: list[Part], buffers: list[memoryview], worthwhile: bool) -> None:
        self.parts = parts
        self.buffers = buffers
        self.worthwhile = worthwhile  # there was something large, or buffers of any size

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(map(len, self.parts)) + sum(buffer.nbytes for buffer in self.buffers)


def pickled(value: object, threshold: int, way: Pickling, *, plain: bool = True) -> InParts:
    """Pickle as `Pickling.dumps` does, in parts; buffers of at least `threshold` bytes beside them.

    Unless it is `plain`, a plain pickle is known not to do.

    Raises whatever the object's pickling raises.
    """
    large: list[memoryview] = []
    small = False

    def keep_in_band(buffer: PickleBuffer) -> bool:
        nonlocal small
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous
            return True
        if raw.nbytes < threshold:
            small = True
            return True
        large.append(raw)
        return False

    parts = Parts()
    if plain:
        try:
            Pickler(parts, 5, buffer_callback=keep_in_band).dump(value)
            if _is_whole(parts) and (way.shares_main or not _mentions_main(parts)):
                return InParts(parts, large, len(parts) > 1 or small or bool(large))
        except Exception:  # as in `Pickling.dumps`
            pass
        large.clear()
        parts.clear()
    way.write_by_value(value, parts, keep_in_band)
    if not _is_whole(parts):
        large.clear()
        parts[:] = [way.by_value(value, keep_in_band)]
    return InParts(parts, large, False)


def _is_whole(parts: Parts) -> bool:
    """Tell whether each `bytearray` is still as long as when it was pickled.

    It is not copied before the pickle is complete, and meanwhile someone may have changed it.
    """
    return all(
        len(part) == int.from_bytes(bytes(before[-8:]), "little")
        for before, part in pairwise(parts)
        if type(part) is bytearray
    )


def _mentions_main(parts: Parts) -> bool:
    """Look for the word where opcodes are: in the first part, and in those that are frames.

    Between frames lie large objects, and opcodes only where they are too few for the word.
    """
    return any(
        WORD in part
        for number, part in enumerate(parts)
        if type(part) is not memoryview and (not number or part[:1] == _FRAME)
    )
