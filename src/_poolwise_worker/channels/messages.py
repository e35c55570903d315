"""How one message becomes bytes: a pickle, and large buffers beside it in shared memory.

A message of a plain type is marshalled instead, which takes half the time and less.
"""

from __future__ import annotations

from _pickle import dumps as _dumps
from _pickle import loads as _loads
from marshal import dumps as marshal
from marshal import loads as unmarshal

from _poolwise_worker import culprit
from _poolwise_worker.channels import definitions
from _poolwise_worker.errors import TransferError
from _poolwise_worker.script import WORD
from _poolwise_worker.transfer import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from _poolwise_worker.channels.heap import Heap

#: Buffers of this many bytes and more go beside the pickle. Found with
#: ``benchmarks/bench_channels.py``: mapping a block costs some 30 µs, as does copying as much.
LARGE = 1 << 18

#: The first byte of a pickle, and of a message that has buffers beside it; no marshalled one begins
#: with either.
_PICKLE, _BESIDE = 0x80, b"B"

#: Types whose objects cannot change, are the same everywhere, and hold no buffers.
PLAIN = frozenset((bytes, str, int, float, bool, type(None)))

#: The version of the format; later ones look for objects that occur twice.
VERSION = 2


def is_beside(message: bytes) -> bool:
    """Whether a message has buffers, or most of itself, in shared memory."""
    return message[0] == _BESIDE[0]


class Codec:
    """Turns messages into bytes and back, for the processes that share a heap."""

    __slots__ = ("_heap", "_most", "large")

    def __init__(self, heap: Heap, most: int | None = None) -> None:
        """Make one whose messages have at most `most` bytes, if there is a limit."""
        self._heap = heap
        self._most = most
        #: Whether a large message has been decoded since somebody looked and reset it.
        self.large = False

    def encode(self, item: Any) -> bytes:
        """Turn `item` into bytes, its large buffers into blocks of the heap.

        Raises:
            TransferError: with the path to what cannot be pickled.
        """
        if item.__class__ in PLAIN:
            try:
                message = marshal(item, VERSION)
                if self._most is None or len(message) <= self._most:
                    return message
            except ValueError:  # more than 2 GB
                pass
            return self._checked(_dumps(item, 5))
        buffers: list[memoryview] = []

        def keep_inside(buffer: Any) -> bool:
            try:
                raw: memoryview = buffer.raw()
            except BufferError:  # not contiguous
                return True
            if raw.nbytes < LARGE:
                return True
            buffers.append(raw)
            return False

        try:
            data = _pickled(item, keep_inside, buffers)
        except Exception as error:
            raise TransferError(culprit.explain(item, "the item", error)) from error
        return self._checked(self._beside(data, buffers) if buffers else data)

    def decode(self, message: bytes) -> Any:
        """Turn what `encode` returned into an equal object.

        Raises:
            TransferError: if it cannot be read here; the message is gone then.
        """
        try:
            kind = message[0]
            if kind == _PICKLE:
                return _loads(message)
            if kind != _BESIDE[0]:
                return unmarshal(message)
            return self._with_blocks(message)
        except Exception as error:
            raise TransferError(f"a message cannot be read here: {describe(error)}") from error

    def discard(self, message: bytes) -> None:
        """Free what `encode` took for a message that is not sent after all."""
        if is_beside(message):
            inside, blocks = _loads(memoryview(message)[1:])
            for each in (inside, *blocks):
                if isinstance(each, tuple):
                    self._heap.free(each[0])

    def _beside(self, data: bytes, buffers: list[memoryview]) -> bytes:
        inside = data if self._most is None or len(data) < self._most // 2 else self._stored(data)
        blocks = [self._stored(buffer) for buffer in buffers]
        message = _BESIDE + _dumps((inside, blocks), 5)
        for each in (inside, *blocks):
            if isinstance(each, tuple):
                self._heap.send(each[0])
        return message

    def _stored(self, data: bytes | memoryview) -> tuple[int, int] | bytes:
        """Copy `data` into a block; return its number and size, or `data` if all are taken."""
        block = self._heap.store(memoryview(data))
        return bytes(data) if block is None else (block, len(data))

    def _checked(self, message: bytes) -> bytes:
        if self._most is None or len(message) <= self._most:
            return message
        if message[0] == _PICKLE:
            message = self._beside(message, [])
        if len(message) <= self._most:
            return message
        self.discard(message)
        raise TransferError(
            "too many large messages are on their way or in use; let go of some that were received"
        )

    def _with_blocks(self, message: bytes) -> Any:
        self.large = True
        inside, blocks = _loads(memoryview(message)[1:])
        views = [
            bytearray(each) if isinstance(each, bytes) else self._heap.view(*each)
            for each in blocks
        ]
        data = inside if isinstance(inside, bytes) else self._heap.view(*inside)
        return _loads(data, buffers=views)


def _pickled(item: object, keep_inside: Any, buffers: list[memoryview]) -> bytes:
    """Pickle plainly, or by value what another process might not find by reference."""
    try:
        data = _dumps(item, 5, buffer_callback=keep_inside)
        if WORD not in data:
            return data
    except Exception:  # whatever it was, cloudpickle may do better
        pass
    buffers.clear()
    return definitions.dumps(item, keep_inside)
