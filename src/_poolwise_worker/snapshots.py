"""Values whose large parts lie in memory that all workers share: what functions read by name.

The caller copies a large buffer once into a sealed file without a name, a *snapshot*, and sends its
descriptor to each worker. A worker maps it so that what it writes is seen by nobody else: only the
pages that it writes become its own.

Arguments travel in another way (`buffers`): each goes to one worker, and its memory is used again.
"""

from __future__ import annotations

import os
from _pickle import load, loads

from _poolwise_worker import descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeAlias

    #: A part of a pickle: itself, or which snapshot and which of its places has it.
    InBand: TypeAlias = bytes | tuple[int, int]

    #: Snapshot, place in it, whether it is read-only.
    Beside: TypeAlias = tuple[int, int, bool]


class Snapshot:
    """Buffers as they were at one moment. Owns a descriptor of the memory that has them.

    Two with the same key have the same content: the number is never given again.
    """

    __slots__ = ("__weakref__", "descriptor", "key", "places")

    def __init__(self, descriptor: int, key: int, places: list[tuple[int, int]]) -> None:
        self.descriptor = descriptor
        self.key = key
        self.places = places  # of each buffer, where it begins and how many bytes it has

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (descriptors.carry(self.descriptor), self.key, self.places)

    def __del__(self, close=os.close) -> None:  # type: ignore[no-untyped-def]  # at exit os is gone
        close(self.descriptor)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(size for _, size in self.places)

    def view(self, number: int, *, readonly: bool) -> memoryview:
        """Return a view of one buffer; what is written to it nobody else sees.

        Raises:
            MemoryError: if it cannot be mapped.
        """
        from _poolwise_worker.channels.memory import private_view  # and with it ctypes: 4 ms

        view = private_view(self.descriptor, *self.places[number])
        return view.toreadonly() if readonly else view


def _arrived(token: descriptors.Token, key: int, places: list[tuple[int, int]]) -> Snapshot:
    return Snapshot(descriptors.claim(token), key, places)


class SharedPickle:
    """A pickled value of which the large parts lie in snapshots; equal if it reads the same."""

    __slots__ = ("_beside", "_in_band", "_snapshots", "_value")

    def __init__(
        self,
        snapshots: tuple[Snapshot, ...],
        in_band: tuple[InBand, ...],
        beside: tuple[Beside, ...],
    ) -> None:
        self._snapshots = snapshots
        self._in_band = in_band
        self._beside = beside
        self._value: object = _NOT_READ

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedPickle, (self._snapshots, self._in_band, self._beside)

    @property
    def snapshots(self) -> int:
        """How many there are, each with a descriptor."""
        return len(self._snapshots)

    @property
    def sign(self) -> object:
        """What tells it from another, without its memory."""
        return tuple(each.key for each in self._snapshots), self._in_band, self._beside

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SharedPickle) and self.sign == other.sign

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        here = sum(len(part) for part in self._in_band if isinstance(part, bytes))
        return here + sum(each.size for each in self._snapshots)

    def load(self) -> Any:
        """Return the value; the same each time, so that what was one object stays one.

        Raises whatever unpickling raises.
        """
        if self._value is _NOT_READ:
            if all(isinstance(part, bytes) for part in self._in_band):
                self._value = loads(b"".join(self._in_band), buffers=self._views())  # type: ignore[arg-type]
            else:
                self._value = load(_Stream(self._snapshots, self._in_band), buffers=self._views())
        return self._value

    def _views(self) -> Iterator[memoryview]:
        for snapshot, number, readonly in self._beside:
            yield self._snapshots[snapshot].view(number, readonly=readonly)


_NOT_READ = object()


class Read:
    """Travels in the place of a value; reading it gives the value."""

    __slots__ = ("_pickle",)

    def __init__(self, pickle: SharedPickle) -> None:
        self._pickle = pickle

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedPickle.load, (self._pickle,)


class _Stream:
    """What an unpickler reads: parts one after the other, those in snapshots without a copy."""

    def __init__(self, snapshots: tuple[Snapshot, ...], parts: tuple[InBand, ...]) -> None:
        self._snapshots = snapshots
        self._parts = iter(parts)
        self._begin_next()

    def _begin_next(self) -> None:
        part = next(self._parts, b"")
        self._done = 0
        self._part: bytes | tuple[int, int]  # descriptor, where it begins
        if isinstance(part, bytes):
            self._part, self._size = part, len(part)
        else:
            snapshot = self._snapshots[part[0]]
            offset, self._size = snapshot.places[part[1]]
            self._part = snapshot.descriptor, offset

    def read(self, count: int) -> bytes:
        """Return so many bytes, fewer at the end."""
        room = bytearray(count)
        return bytes(memoryview(room)[: self.readinto(room)])

    def readinto(self, room: bytearray | memoryview) -> int:
        """Fill `room`; return how many bytes there were."""
        view = memoryview(room)
        filled = 0
        while filled < len(view) and self._size:
            got = self._read_some(view[filled:])
            filled += got
            self._done += got
            if self._done == self._size:
                self._begin_next()
        return filled

    def _read_some(self, room: memoryview) -> int:
        count = min(len(room), self._size - self._done)
        if isinstance(self._part, bytes):
            room[:count] = self._part[self._done : self._done + count]
            return count
        descriptor, offset = self._part
        got = os.preadv(descriptor, [room[:count]], offset + self._done)
        if not got:
            raise EOFError("a snapshot is shorter than it should be")
        return got

    def readline(self) -> bytes:
        """Return a line; protocol 5 has none, but an unpickler asks for the method."""
        line = bytearray()
        while not line.endswith(b"\n") and (byte := self.read(1)):
            line += byte
        return bytes(line)
