"""Memory that processes share: an anonymous file, known by its descriptor and by nothing else.

It has no name, so nothing is left in ``/dev/shm`` however its users end: the kernel frees it with
the last descriptor and the last mapping.
"""

from __future__ import annotations

import os
import sys
from ctypes import CDLL, c_char, c_int, c_long, c_size_t, c_void_p, py_object, pythonapi
from mmap import mmap
from weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Bytes of a cache line: what different processes write at the same time stands this far apart.
LINE = 64


class Memory:
    """A piece of shared memory, mapped here as a whole. Owns its descriptor and its mapping.

    Neither is closed by hand: views keep the mapping, and the last of them lets it go.
    """

    __slots__ = ("__weakref__", "descriptor", "map", "words")

    def __init__(self, descriptor: int) -> None:
        """Map what `descriptor` stands for, and own it from now on."""
        self.descriptor = descriptor
        self.map = mapped(descriptor)
        #: The first page as signed words of 64 bit. A store of one of them cannot tear.
        self.words = memoryview(self.map)[:4096].cast("q")

    @classmethod
    def of_size(cls, size: int) -> Memory:
        """Create `size` bytes of zeros.

        Raises:
            NotImplementedError: if this system is not Linux.
        """
        return cls(create(size))

    def __del__(self, close=os.close) -> None:  # type: ignore[no-untyped-def]  # at exit os is gone
        if hasattr(self, "descriptor"):
            close(self.descriptor)


def create(size: int) -> int:
    """Return the descriptor of `size` bytes of zeros; not inherited by programs that are run."""
    if sys.platform != "linux":
        raise NotImplementedError(
            "objects that work between processes need Linux (memfd_create, robust mutexes); "
            "those of threading and queue work between threads everywhere"
        )
    descriptor = os.memfd_create("poolwise", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def mapped(descriptor: int, size: int = 0, **how: int) -> mmap:
    """Map a descriptor; `size` 0 is all of it. `how` as for `mmap.mmap`."""
    if sys.version_info >= (3, 13):
        # Before, each mapping held a duplicate of the descriptor.
        return mmap(descriptor, size, trackfd=False, **how)
    return mmap(descriptor, size, **how)


def give_back(descriptor: int, offset: int, size: int) -> None:
    """Let go of the pages of a part; it reads as zeros from then on. To be refused is no harm."""
    _fallocate(descriptor, _KEEP_SIZE | _PUNCH_HOLE, offset, size)


# ---- views that outlive what they were made by ---------------------------------------------------

_libc = CDLL(None)
_mmap, _munmap, _fallocate = _libc["mmap"], _libc["munmap"], _libc["fallocate"]
_mmap.restype = c_void_p
_mmap.argtypes = (c_void_p, c_size_t, c_int, c_int, c_int, c_long)
_munmap.argtypes = (c_void_p, c_size_t)
_fallocate.argtypes = (c_int, c_int, c_long, c_long)
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_READ, _WRITE, _SHARED, _PRIVATE = 1, 2, 1, 2
_FAILED = c_void_p(-1).value

_hide_from_collector = pythonapi["PyObject_GC_UnTrack"]
_hide_from_collector.argtypes = (py_object,)
_hide_from_collector.restype = None

#: Views that there are, each with what is to be done when it is gone.
_views: set[_View] = set()


def private_view(
    descriptor: int, offset: int, size: int, gone: Callable[[], object] | None = None
) -> memoryview:
    """Return a view that may be written to, unseen by others; `gone` is called after its end.

    Not `mmap.mmap`: until Python 3.13 each holds a descriptor, and views are many.

    Raises:
        MemoryError: if it cannot be mapped.
    """
    return _View(descriptor, offset, size, _READ | _WRITE, _PRIVATE, gone).memory


def shared_view(descriptor: int, offset: int, size: int, *, writable: bool) -> memoryview:
    """Return a view of what all see; read-only unless `writable`.

    Raises:
        MemoryError: if it cannot be mapped.
    """
    how = _READ | _WRITE if writable else _READ
    view = _View(descriptor, offset, size, how, _SHARED, None).memory
    return view if writable else view.toreadonly()


class _View:
    """A mapping that ends with the last object that looks into it."""

    def __init__(
        self,
        descriptor: int,
        offset: int,
        size: int,
        protection: int,
        kind: int,
        gone: Callable[[], object] | None,
    ) -> None:
        before = offset % 4096  # what is mapped begins with a page
        address = _mmap(None, before + size, protection, kind, descriptor, offset - before)
        if address == _FAILED:
            raise MemoryError(f"cannot map {size:,} bytes of shared memory")
        self._address, self._size, self._gone = address, before + size, gone
        room = (c_char * size).from_address(address + before)
        # In a cycle of garbage, weak references are told before the finalisers run, and those may
        # look into the view still. What the collector does not know of dies with its last user.
        _hide_from_collector(room)
        self._room = ref(room, self._end)
        _views.add(self)
        self._memory: memoryview | None = memoryview(room).cast("B")

    @property
    def memory(self) -> memoryview:
        """The view; to be asked for once, because it is not kept here."""
        memory, self._memory = self._memory, None
        assert memory is not None
        return memory

    def _end(self, _: Any) -> None:
        _views.discard(self)
        _munmap(self._address, self._size)
        if self._gone is not None:
            self._gone()
