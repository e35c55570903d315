"""The end of an arena that writes."""

from __future__ import annotations

import mmap
import os
from _struct import Struct
from _thread import allocate_lock

from _poolwise_worker.arena import forks
from _poolwise_worker.arena.memory import CAN_DROP_PAGES
from _poolwise_worker.arena.slots import Slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Part = bytes | bytearray | memoryview

#: How released slots travel: each offset as so many bytes.
OFFSET = Struct("<Q")


class Writer:
    """The end that writes. Any thread may call anything but `close`; `_lock` guards the slots.

    Copying happens outside of the lock: a slot that is taken is nobody else's.
    """

    def __init__(self, descriptor: int) -> None:
        """Map the arena and take over the descriptor.

        Raises:
            OSError: there is no room for it in this process; the descriptor stays open.
        """
        size = os.fstat(descriptor).st_size
        self._mapping = mmap.mmap(descriptor, size)
        self._descriptor = descriptor
        self._slots = Slots(size)
        self._lock = allocate_lock()
        self._closed = False
        #: In a forked child, or at the end of the interpreter: nothing is placed any more.
        self.foreign = False
        #: Whether the last message had something large, so that the next is expected to have. Any
        #: thread may change it: a wrong guess costs time, nothing else.
        self.large = False
        forks.ends.add(self)

    def place(self, parts: Sequence[Part], size: int) -> int | None:
        """Copy `parts`, `size` bytes in all, one after the other into a slot; return its offset.

        ``None``: there is no room, in the arena or in memory; send them in another way.
        """
        if self._closed or self.foreign:
            return None
        with self._lock:
            taken = self._slots.take(size)
        if taken is None:
            return None
        offset, warm = taken
        try:
            self._fill(parts, offset, offset + warm)
        except BaseException as error:
            with self._lock:
                self._slots.give(offset, written=False)
            if isinstance(error, OSError):  # there is no memory for new pages
                return None
            raise
        return offset

    def _fill(self, parts: Sequence[Part], position: int, warm: int) -> None:
        """Write to pages that exist through the mapping, and have `pwrite` make the others.

        `pwrite` neither clears a page before it fills it nor faults, so it is twice as fast there
        as `posix_fallocate` and a copy; and where there is no memory, it says so instead of having
        this process killed by SIGBUS.
        """
        for part in parts:
            size = len(part)
            done = min(size, max(0, warm - position))
            if done:
                self._mapping[position : position + done] = (
                    part if done == size else memoryview(part)[:done]
                )
            while done < size:
                done += os.pwrite(self._descriptor, memoryview(part)[done:], position + done)
            position += size

    def free(self, released: Part) -> None:
        """Take back what `Reader.released` returned at the other end.

        Raises:
            KeyError: something in it was not taken.
        """
        self.take_back(offset for (offset,) in OFFSET.iter_unpack(released))

    def take_back(self, offsets: Iterable[int]) -> None:
        """Take back slots that the reader has never heard of.

        Raises:
            KeyError: one of them was not taken.
        """
        if self._closed or self.foreign:
            return  # and in a forked child, the lock may be held by nobody who is there
        with self._lock:
            for offset in offsets:
                self._slots.give(offset)

    def trim(self, keep: int = 0) -> None:
        """Give the pages of everything that is free back to the system, but for `keep` bytes.

        For when nothing was sent for a while: pages that have to be made again cost several times
        what it takes to write them.
        """
        if not CAN_DROP_PAGES or self._closed or self.foreign:
            return
        with self._lock:  # the removal included: who takes such a slot next makes new pages
            for offset, length in self._slots.trim(keep):
                self._mapping.madvise(mmap.MADV_REMOVE, offset, length)

    def close(self) -> None:
        """Let go of the arena; a second call does nothing. What the reader has stays."""
        if not self._closed:
            self._closed = True
            forks.ends.discard(self)
            self._mapping.close()
            os.close(self._descriptor)

    def settle(self) -> None:
        """Do nothing: a writer has no views."""
