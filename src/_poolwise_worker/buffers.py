"""How objects with large buffers become a message and come back, the buffers through an arena.

A message without anything large is its pickle, nothing more. Otherwise it is a table that says
where things lie, and what did not find room in the arena:

    LARGE · buffers · place of the pickle · place of each buffer · what lies here, in that order

Out of band, in pickle's words, go buffers that know how (NumPy, pandas, Arrow). The pickle itself,
if it is large, lies in a slot too: so `bytes`, `bytearray`, `str` and deep structures pass the
socket by, are what they were, and are the same object where they were the same.

Rejected: wrapping large `bytes` before pickling, which finds them only where one looks, and makes
two objects of one that is also elsewhere.
"""

from __future__ import annotations

from _pickle import dumps as _dumps
from _pickle import loads as _loads
from _struct import Struct
from collections import deque

from _poolwise_worker import transfer
from _poolwise_worker.parts import pickled
from _poolwise_worker.script import WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pickle import PickleBuffer
    from typing import TypeAlias

    from _poolwise_worker.arena import Reader, Writer
    from _poolwise_worker.exchange import LazyWriter
    from _poolwise_worker.parts import Part
    from _poolwise_worker.transfer import Pickling

    Placing: TypeAlias = Writer | LazyWriter

#: Buffers and pickles from this size on, in bytes, travel through the arena: there a call takes as
#: long as through the socket (`benchmarks/bench_data.py --only "by size"`). Not to be more than
#: 64 KiB, from which on pickle hands large objects out as they are.
THRESHOLD = 1 << 16

#: The first byte of a message that is a table. A pickle begins with another: PROTO, 0x80.
LARGE = 1

_HEAD = Struct("<BxxxI")

#: Where something lies: offset in the arena or `_HERE`, bytes, whether it is read-only.
_PLACE = Struct("<QQ?")
_HERE = (1 << 64) - 1


def dumps(
    value: object, writer: Placing | None = None, way: Pickling = transfer.TO_WORKER
) -> bytes:
    """Return a message that `loads` turns into `value` again at the other end of the arena.

    It has to be loaded there, once, or dropped by `Reader.discard` of its `slots`; if it is never
    sent, by `Writer.take_back` of them. What finds no room in the arena goes into the message.

    Raises whatever the object's pickling raises.
    """
    if writer is None:
        return way.dumps(value)
    plain = True
    if not writer.large:
        noticed: list[PickleBuffer] = []
        try:
            data = _dumps(value, 5, buffer_callback=noticed.append)
        except Exception:  # whatever it was, cloudpickle may do better
            plain = False
        else:
            if len(data) < THRESHOLD:
                plain = way.shares_main or WORD not in data
                if plain and not noticed:
                    return data
    # In parts, `bytes` of a megabyte are not copied here; that takes a microsecond more.
    whole = pickled(value, THRESHOLD, way, plain=plain)
    parts, buffers, writer.large = whole.parts, whole.buffers, whole.worthwhile
    size = sum(map(len, parts))
    if not buffers and size < THRESHOLD:
        return b"".join(parts)
    return _table(parts, size, buffers, writer)


def _table(parts: list[Part], size: int, buffers: list[memoryview], writer: Placing) -> bytes:
    places: list[bytes] = []
    here: list[Part] = []
    taken: list[int] = []

    def put(parts: list[Part], size: int, readonly: bool) -> None:
        offset = writer.place(parts, size) if size >= THRESHOLD else None
        if offset is None:
            offset = _HERE
            here.extend(parts)
        else:
            taken.append(offset)
        places.append(_PLACE.pack(offset, size, readonly))

    try:
        put(parts, size, True)
        for buffer in buffers:
            put([buffer], buffer.nbytes, buffer.readonly)
        if not buffers and not taken:
            return b"".join(parts)
        return b"".join([_HEAD.pack(LARGE, len(buffers)), *places, *here])
    except BaseException:
        writer.take_back(taken)
        raise


def _places(message: Part, begin: int = 0) -> Iterator[tuple[int, int, bool]]:
    _, count = _HEAD.unpack_from(message, begin)
    begin += _HEAD.size
    return _PLACE.iter_unpack(memoryview(message)[begin : begin + (count + 1) * _PLACE.size])


def placed(message: Part, begin: int = 0) -> int:
    """Return how many bytes lie in the arena of the message that begins there."""
    if message[begin] != LARGE:
        return 0
    return sum(size for offset, size, _ in _places(message, begin) if offset != _HERE)


def slots(message: Part) -> list[int]:
    """Return the offsets of the slots that a message speaks of."""
    if message[0] != LARGE:
        return []
    return [offset for offset, _, _ in _places(message) if offset != _HERE]


def loads(message: bytes | bytearray, reader: Reader | None = None) -> object:
    """Return what `dumps` was given at the other end; buffers are views of the arena.

    What was writable can be written, which the other end does not see.

    Raises whatever unpickling raises; the slots are released then too.
    """
    if message[0] != LARGE:
        return _loads(message)
    if reader is None and slots(message):
        raise OSError("its shared memory could not be opened here: no descriptor was left")
    places = deque(_places(message))
    here = memoryview(message)[_HEAD.size + len(places) * _PLACE.size :]
    offset, size, _ = places.popleft()
    pickled: memoryview | None = None
    try:
        if offset == _HERE:
            pickled, here = here[:size], here[size:]
        else:
            assert reader is not None
            pickled = reader.borrow(offset, size)
        return _loads(pickled, buffers=_views(places, here, reader))
    finally:
        if pickled is not None:
            pickled.release()
        if reader is not None:
            reader.discard([each[0] for each in [(offset, size), *places] if each[0] != _HERE])


def _views(
    places: deque[tuple[int, int, bool]], here: memoryview, reader: Reader | None
) -> Iterator[memoryview]:
    """Make each view when it is asked for, so that nobody else has it; take its place out."""
    while places:
        offset, size, readonly = places[0]
        if offset == _HERE:
            # On its own, so that one buffer that is kept does not keep the whole message.
            own = memoryview(bytearray(here[:size]))
            here = here[size:]
            places.popleft()
            yield own.toreadonly() if readonly else own
            del own
        else:
            assert reader is not None
            view = reader.view(offset, size, readonly=readonly)
            places.popleft()
            yield view
            del view
