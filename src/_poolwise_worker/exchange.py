"""What one end of a worker's sockets packs and unpacks: objects as messages, large ones in arenas.

Each end has an arena that it writes and one that it reads. They are made when the first large
object goes that way, and the other end gets the descriptor in a frame of its own, before the frame
that speaks of it.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

from _poolwise_worker import buffers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from _poolwise_worker.arena import Reader, Writer
    from _poolwise_worker.transfer import Pickling

    Part = bytes | bytearray | memoryview


class LazyWriter:
    """Stands for an arena's `Writer` and makes one when something is to be placed."""

    def __init__(self, limit: Callable[[], int], announce: Callable[[int], None]) -> None:
        """Make an arena of `limit()` bytes; `announce` takes over a descriptor of it."""
        self.large = False  # as in `Writer`
        self._limit = limit
        self._announce = announce
        self._writer: Writer | None = None
        self._refused = False  # there is none, and there will be none
        self._lock = allocate_lock()  # guards the making

    def place(self, parts: Sequence[Part], size: int) -> int | None:
        """Place them as `Writer.place` does."""
        if self._writer is None and not self._refused:
            with self._lock:
                if self._writer is None and not self._refused:
                    self._make()
        return None if self._writer is None else self._writer.place(parts, size)

    def _make(self) -> None:
        from _poolwise_worker.arena import Writer, create

        self._refused = True
        try:
            descriptor = create(self._limit())
        except (OSError, ValueError):
            return  # everything goes through the socket
        try:
            writer = Writer(descriptor)
            copy = os.dup(descriptor)
        except OSError:
            os.close(descriptor)
            return
        self._announce(copy)
        self._writer = writer

    def free(self, released: Part) -> None:
        """Take back what the reader has released."""
        if self._writer is not None:
            self._writer.free(released)

    def take_back(self, offsets: Iterable[int]) -> None:
        """Take back what the reader has never heard of."""
        if self._writer is not None:
            self._writer.take_back(offsets)

    def trim(self, keep: int) -> None:
        """Give back memory that is not in use, but for so many bytes."""
        if self._writer is not None:
            self._writer.trim(keep)

    def close(self) -> None:
        """Let go of the arena."""
        self._refused = True
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class Exchange:
    """Both arenas as one end sees them. Any thread may call anything but `close`."""

    def __init__(
        self, way: Pickling, limit: Callable[[], int], announce: Callable[[int], None]
    ) -> None:
        self._way = way
        self._writer = LazyWriter(limit, announce)
        self._reader: Reader | None = None

    def dumps(self, value: object, way: Pickling | None = None) -> bytes:
        """Return the message of an object; raises whatever pickling it raises."""
        return buffers.dumps(value, self._writer, way or self._way)

    def loads(self, message: bytes | bytearray) -> Any:
        """Return the object of a message; raises whatever unpickling raises."""
        return buffers.loads(message, self._reader)

    def accept(self, descriptor: int) -> None:
        """Read from the arena that the other end has made."""
        from _poolwise_worker.arena import Reader

        self._reader = Reader(descriptor)

    def released(self) -> bytes:
        """Return what the other end is to `free`; it has to reach it. Cheap if there is nothing."""
        return b"" if self._reader is None else self._reader.released()

    def free(self, released: Part) -> None:
        """Use again what the other end has `released`."""
        self._writer.free(released)

    def drop_unsent(self, message: Part) -> None:
        """Take back what a message of this end speaks of, which will not be sent."""
        self._writer.take_back(buffers.slots(message))

    def drop_received(self, message: Part) -> None:
        """Release what a message of the other end speaks of, which will not be read."""
        if self._reader is not None:
            self._reader.discard(buffers.slots(message))

    def trim(self, keep: int = 0) -> None:
        """Give back memory that nobody uses, but for `keep` bytes to write to."""
        self._writer.trim(keep)
        if self._reader is not None:
            self._reader.trim()

    def close(self) -> None:
        """Let go of both arenas; what was read from them stays. The other end must have ended."""
        self._writer.close()
        if self._reader is not None:
            self._reader.close()
