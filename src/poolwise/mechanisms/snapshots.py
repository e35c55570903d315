"""The caller's snapshots: what its functions read by name, copied once and compared from then on.

A buffer is known by where it lies. When it is to go to workers again, it is compared with its last
snapshot, at the speed of memory (320 MB: 0.07 s; a hash that cannot be fooled takes six times as
long), and only copied anew if it has changed. So a snapshot is made out of date by the next one of
the same buffer, and by the end of the object that has the buffer.

Rejected: to protect the pages and catch the writes. That changes what the user's memory is, and
system calls that write into it would fail.
"""

from __future__ import annotations

import itertools
import os
import pickle
import threading
import weakref
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from mmap import PAGESIZE, mmap
from pickle import PickleBuffer
from typing import TYPE_CHECKING

from _poolwise_worker import forks
from _poolwise_worker.parts import InParts
from _poolwise_worker.parts import pickled as pickled_in_parts
from _poolwise_worker.script import WORD
from _poolwise_worker.snapshots import Read, SharedPickle, Snapshot
from _poolwise_worker.transfer import Pickling
from poolwise.units import Bytes

if TYPE_CHECKING:
    from _poolwise_worker.parts import Part

#: From this size on, in bytes, a part goes into a snapshot. Below, a socket takes it along in less
#: than a millisecond.
LARGE: Bytes = 1 << 20

#: So many parts of one pickle have a snapshot of their own; those that are smaller share one. A
#: message carries 253 descriptors at most, and others may need some.
_ALONE = 16

#: The most snapshots in what is sent at once, for the same reason.
AT_MOST = 128

#: Compared at once: what stays in the cache of a CPU.
_CHUNK = 1 << 20

#: Nobody tells of the end of `bytes`. Their snapshots end when so many functions have been sent
#: without them.
_PATIENCE = 8

#: Kept for the next map are snapshots of so many bytes at most: a quarter of the machine's memory.
_KEPT: Bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4

#: Where each part lies, and how many bytes.
_Where = tuple[tuple[int, Bytes], ...]


class _Known:
    """The last snapshot of some parts."""

    __slots__ = ("owners", "snapshot", "turn")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.turn = 0  # when it was last used
        self.owners: list[weakref.ref[object]] | None = None  # which tell of their end, if they can


#: Least recently used first. Guarded by `_lock`, but for removals of one entry, which are atomic:
#: what has the buffers may end at any moment, in any thread.
_known: OrderedDict[_Where, _Known] = OrderedDict()
_lock = threading.RLock()
_turn = 0
_numbers = itertools.count(1)


def begin() -> None:
    """Say that another function is about to be sent, with all that it reads."""
    global _turn
    if not _known:  # nothing grows old
        return
    with _lock:
        _turn += 1
        for where, known in list(_known.items()):
            if known.owners is None and known.turn < _turn - _PATIENCE:
                _known.pop(where, None)


def clear() -> None:
    """Keep nothing for the next map."""
    with _lock:
        _known.clear()


def size_of(value: object, way: Pickling) -> Bytes:
    """Return how much would be pickled. Raises whatever the object's pickling raises."""
    small = _small(value, way)
    return pickled_in_parts(value, LARGE, way).size if small is None else len(small)


def _small(value: object, way: Pickling) -> bytes | None:
    """Return the pickle of what has no buffers and little else: that is several times as fast."""
    if isinstance(value, bytes | bytearray | str) and len(value) >= LARGE:
        return None
    beside: list[PickleBuffer] = []
    try:
        data = pickle.dumps(value, 5, buffer_callback=beside.append)
    except Exception:  # as in `Pickling.dumps`
        return None
    if beside or len(data) >= LARGE or (not way.shares_main and WORD in data):
        return None
    return data


def pickled(value: object, way: Pickling) -> bytes | SharedPickle:
    """Pickle what workers are to read, its large parts shared; as bytes, if there are none.

    Raises whatever the object's pickling raises.
    """
    small = _small(value, way)
    if small is not None:
        return small
    whole = pickled_in_parts(value, LARGE, way)
    if not any(len(part) >= LARGE for part in [*whole.parts, *whole.buffers]):
        return b"".join(whole.parts)
    try:
        return _shared(whole)
    except OSError:  # no memory, or no descriptor, is left for that
        return way.dumps(value)


def dumps(value: object, way: Pickling) -> bytes:
    """Pickle what workers are to read; to read it gives the value, whose large parts are shared.

    Raises whatever the object's pickling raises.
    """
    data = pickled(value, way)
    return data if isinstance(data, bytes) else way.dumps(Read(data))


def _shared(whole: InParts) -> SharedPickle:
    large = [*whole.buffers, *(part for part in whole.parts if len(part) >= LARGE)]
    by_size = sorted(range(len(large)), key=lambda number: -memoryview(large[number]).nbytes)
    groups = [[number] for number in by_size[:_ALONE]]
    if by_size[_ALONE:]:
        groups.append(by_size[_ALONE:])
    begin_of = {number: (group, place) for group, numbers in enumerate(groups)
                for place, number in enumerate(numbers)}  # fmt: skip
    snapshots = tuple(_snapshot([large[number] for number in numbers]) for numbers in groups)
    beside = tuple(
        (*begin_of[number], buffer.readonly) for number, buffer in enumerate(whole.buffers)
    )
    in_band: list[bytes | tuple[int, int]] = []
    numbers = itertools.count(len(whole.buffers))
    for part in whole.parts:
        if len(part) >= LARGE:
            in_band.append(begin_of[next(numbers)])
        elif in_band and isinstance(in_band[-1], bytes):
            in_band[-1] += bytes(part)
        else:
            in_band.append(bytes(part))
    return SharedPickle(snapshots, tuple(in_band), beside)


def _snapshot(parts: list[Part]) -> Snapshot:
    """Return the last one of these parts, if they have not changed since; else a new one.

    Raises:
        OSError: there is no memory or no descriptor for it.
    """
    views = [memoryview(part).cast("B") for part in parts]
    where = tuple((_address(view), view.nbytes) for view in views)
    with _lock:
        known = _known.get(where)
        if known is None or not _equals(known.snapshot, views):
            # Not kept meanwhile, so that there is memory for one where there is none for two.
            _known.pop(where, None)
            known = None
            known = _known[where] = _Known(_copied(views))
            known.owners = _owners(parts, lambda _: _known.pop(where, None))
        known.turn = _turn
        _known.move_to_end(where)
        _drop_beyond(_KEPT)
        return known.snapshot


def _drop_beyond(most: Bytes) -> None:
    size = sum(known.snapshot.size for known in list(_known.values()))
    while size > most:
        try:
            _, known = _known.popitem(last=False)
        except KeyError:
            return
        size -= known.snapshot.size


def _copied(views: Sequence[memoryview]) -> Snapshot:
    """Copy by `pwrite`: where there is no memory, it says so, and does not kill this process.

    Raises:
        OSError: there is no memory, no descriptor, or no such file on this system.
    """
    if not hasattr(os, "memfd_create"):
        raise OSError("this system has no files without a name")
    from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl

    places, end = [], 0
    for view in views:
        places.append((end, view.nbytes))
        end += -(-view.nbytes // PAGESIZE) * PAGESIZE
    descriptor = os.memfd_create("poolwise-snapshot", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    snapshot = Snapshot(descriptor, os.getpid() << 32 | next(_numbers), places)
    os.ftruncate(descriptor, end)
    for view, (offset, size) in zip(views, places, strict=True):
        done = 0
        while done < size:
            done += os.pwrite(descriptor, view[done:], offset + done)
    fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)
    return snapshot


def _equals(snapshot: Snapshot, views: Sequence[memoryview]) -> bool:
    """Compare by way of a small buffer: two `memoryview` are compared number by number."""
    room = bytearray(_CHUNK)
    for view, (offset, size) in zip(views, snapshot.places, strict=True):
        for begin in range(0, size, _CHUNK):
            piece = view[begin : begin + _CHUNK]
            if len(piece) != len(room):
                room = bytearray(len(piece))
            if os.preadv(snapshot.descriptor, [room], offset + begin) != len(room) or room != piece:
                return False
    return True


def _owners(
    parts: Sequence[Part], end: Callable[[object], object]
) -> list[weakref.ref[object]] | None:
    """Have `end` called when something ends to which the memory belongs; ``None`` if that is not
    known of all.
    """
    owners = []
    for part in parts:
        owner: object = part
        # An array may be a view of another, made for the pickle, which ends now.
        while isinstance(owner, memoryview) or type(owner).__module__ == "numpy":
            under = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
            if under is None:
                break
            owner = under
        if not (type(owner).__module__ == "numpy" or isinstance(owner, array | mmap)):
            return None
        try:
            owners.append(weakref.ref(owner, end))
        except TypeError:
            return None
    return owners


def _address(view: memoryview) -> int:
    """Return where a buffer begins; `ctypes` refuses to tell of those that are read-only."""
    import ctypes

    class Buffer(ctypes.Structure):  # `Py_buffer`
        _fields_ = [
            ("buf", ctypes.c_void_p), ("obj", ctypes.c_void_p), ("len", ctypes.c_ssize_t),
            ("itemsize", ctypes.c_ssize_t), ("readonly", ctypes.c_int), ("ndim", ctypes.c_int),
            ("format", ctypes.c_void_p), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p),
            ("suboffsets", ctypes.c_void_p), ("internal", ctypes.c_void_p),
        ]  # fmt: skip

    buffer = Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
    address = buffer.buf or 0
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    return int(address)


def _after_fork() -> None:
    """In a child: it keeps no memory alive that its parent has given up."""
    global _lock
    _lock = threading.RLock()
    _known.clear()


forks.in_child(_after_fork)
