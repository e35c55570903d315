"""Large buffers in shared memory: copied in once, read in place by whoever takes the message.

A reader sees a block through a private mapping: it reads without a copy, and what it writes is
seen by nobody else. A block is used again only when the last view of it is gone. One that a
process held when it was killed is found to be free when room is looked for.

The pages of free blocks are kept for what is put next, because touching memory for the first time
takes as long as filling it; but not more than `KEPT` bytes.
"""

from __future__ import annotations

import os

from _poolwise_worker import descriptors
from _poolwise_worker.channels import identity
from _poolwise_worker.channels.memory import Memory, give_back, private_view, shared_view
from _poolwise_worker.channels.mutex import Guard

#: The first pages are a table: the guard, where the blocks end, how many there are; then for each
#: block its place and size class, and who has it.
_TABLE = 1 << 16
_END, _BLOCKS = 8, 9
_FIRST = 16
_MOST = (_TABLE // 8 - _FIRST) // 2

#: Who has a block, unless it is the identity of a process that writes it or reads it; an empty one
#: is free and has no pages.
_FREE, _SENT, _RETIRED, _EMPTY = 0, 1, 2, 3

#: Bytes of free blocks that keep their pages, of one heap.
KEPT = 1 << 27


class Heap:
    """Blocks of shared memory. A block's size is a power of two; only touched pages take memory."""

    __slots__ = ("__weakref__", "_guard", "_memory", "_rooms", "_words")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._guard = Guard(memory, 0)
        self._words = memoryview(memory.map)[:_TABLE].cast("q")
        self._rooms: dict[int, memoryview] = {}

    @classmethod
    def create(cls) -> Heap:
        """Create one without blocks."""
        heap = cls(Memory.of_size(_TABLE))
        heap._guard.create()
        heap._words[_END] = _TABLE
        return heap

    @classmethod
    def claim(cls, token: descriptors.Token) -> Heap:
        """Return the one that `carry` sent."""
        return cls(Memory(descriptors.claim(token)))

    def carry(self) -> descriptors.Token:
        """Send it along with what is being pickled."""
        return descriptors.carry(self._memory.descriptor)

    def store(self, data: memoryview) -> int | None:
        """Copy `data` into a block of this process; return its number; ``None`` if all are taken.

        It belongs to this process until `send`.
        """
        size = 1 << max(12, (data.nbytes - 1).bit_length())
        with self._guard:
            block = self._find(size)
            if block is None:
                return None
            self._words[block + 1] = identity.me() << 2
            place = self._words[block] & ~63
        room = self._rooms.get(block)
        if room is None:
            # Block by block, and kept: touching memory for the first time is what takes time.
            room = shared_view(self._memory.descriptor, place, size, writable=True)
            self._rooms[block] = room
        room[: data.nbytes] = data.cast("B")
        return block

    def send(self, block: int) -> None:
        """Let go of a block that another process is about to be told of."""
        self._words[block + 1] = _SENT

    def free(self, block: int) -> None:
        """Let go of a block that nobody is told of, or whose last view is gone.

        Without the guard, because views end anywhere, also in a thread that is inside. So two who
        free at once may keep a little more than `KEPT`.
        """
        words = self._words
        table = words[_FIRST : _FIRST + 2 * words[_BLOCKS]].tolist()
        kept = sum(
            1 << (what & 63) - 1
            for what, who in zip(table[::2], table[1::2], strict=True)
            if who == _FREE
        )
        place, size = words[block] & ~63, 1 << (words[block] & 63) - 1
        state = _FREE
        if kept + size > KEPT:
            give_back(self._memory.descriptor, place, size)
            state = _EMPTY
        words[block + 1] = state

    def view(self, block: int, size: int) -> memoryview:
        """Return a view of a block that was sent here; the block is free when the view is gone."""
        self._words[block + 1] = identity.me() << 2
        lease = _Lease(self, block)
        _leases.add(lease)
        try:
            return private_view(self._memory.descriptor, self._words[block] & ~63, size, lease.end)
        except BaseException:
            lease.end()
            raise

    # ---- with the guard ----

    def _find(self, size: int) -> int | None:
        """Return a block of `size` that is free, be it by a death, or a new one."""
        words = self._words
        kind = size.bit_length()
        blocks = range(_FIRST, _FIRST + 2 * words[_BLOCKS], 2)
        fitting = [block for block in blocks if words[block] & 63 == kind]
        for state in _FREE, _EMPTY:
            for block in fitting:
                if words[block + 1] == state:
                    return block
        for block in fitting:
            holder = words[block + 1]
            if holder > _EMPTY and not identity.alive(holder >> 2):
                return block
        if words[_BLOCKS] == _MOST:
            return None
        block = _FIRST + 2 * words[_BLOCKS]
        end = words[_END]
        os.ftruncate(self._memory.descriptor, end + size)
        words[block] = end | kind
        words[block + 1] = _FREE
        words[_END] = end + size
        words[_BLOCKS] += 1
        return block


class _Lease:
    """One view of a block, which is free when the view is gone.

    A process forked meanwhile has the view too, and nobody would know when it is done: then the
    block is never used again.
    """

    __slots__ = ("_block", "_heap", "_pid")

    def __init__(self, heap: Heap, block: int) -> None:
        self._heap = heap
        self._block = block
        self._pid = os.getpid()

    def end(self) -> None:
        _leases.discard(self)
        if self._pid == os.getpid() and self._heap._words[self._block + 1] != _RETIRED:
            self._heap.free(self._block)

    def retire(self) -> None:
        self._heap._words[self._block + 1] = _RETIRED


_leases: set[_Lease] = set()


def _retire() -> None:
    for lease in list(_leases):
        lease.retire()


os.register_at_fork(before=_retire)
