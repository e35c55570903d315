"""Memory that processes share: an anonymous file, known by its descriptor and by nothing else.

It has no name, so nothing is left in ``/dev/shm`` however its users end: the kernel frees it with
the last descriptor and the last mapping.
"""

from __future__ import annotations

import os
import sys
from mmap import mmap

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
