"""Which parts of an arena are free: numbers only, no memory is touched here.

Two things make an allocator of large slots fast. Pages that exist are written at several times the
speed of pages that the kernel has to find first, and pages that lie in a cache still faster; so
what was freed last is given out first. And a slot that comes back is most often wanted again in
the same size; so free blocks wait in a bin of their size, and neighbours are merged only when
nothing fits.
"""

from __future__ import annotations

from mmap import PAGESIZE

from _poolwise_worker.arena.memory import pages

_Block = tuple[int, int, int]  # offset, capacity, warm


def _capacity(size: int) -> int:
    """Return the capacity of a slot for `size` bytes: rounded up by less than an eighth.

    Sizes that differ a little then share a bin. It costs address space, not memory: pages that
    nobody writes do not exist.
    """
    step = max(PAGESIZE, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step


class Slots:
    """Slots within `limit` bytes. Not safe for use by several threads at once.

    The first `warm` bytes of a block have been written before, so their pages exist; further on,
    some may.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit // PAGESIZE * PAGESIZE
        self._top = 0  # no block lies above
        self._taken: dict[int, tuple[int, int]] = {}  # offset: capacity, warm
        self._bins: dict[int, list[tuple[int, int]]] = {}  # capacity: (offset, warm), latest last
        self._free = 0  # blocks in bins
        self._loose = 0  # blocks that came since the last merge

    def take(self, size: int) -> tuple[int, int] | None:
        """Return the offset of a slot for `size` bytes and how many of them are warm.

        Whoever takes a slot writes all `size` bytes of it, or says that it did not when it is
        given back. ``None``: there is no room.
        """
        capacity = _capacity(size)
        block = self._reuse(capacity)
        # A merge costs a sort of the free blocks. It is worth that after a quarter of them came
        # since the last one: so each pays for a few merges at most.
        if block is None and 4 * self._loose > self._free:
            self._merge()
            block = self._reuse(capacity)
        if block is None:
            block = self._grow(capacity)
        if block is None and self._loose:
            self._merge()
            block = self._reuse(capacity) or self._grow(capacity)
        if block is None:
            return None
        offset, capacity, warm = block
        self._taken[offset] = capacity, max(warm, min(pages(size), capacity))
        return offset, min(warm, size)

    def give(self, offset: int, *, written: bool = True) -> None:
        """Take a slot back; the next that fits gets it.

        Raises:
            KeyError: it was not taken.
        """
        capacity, warm = self._taken.pop(offset)
        self._put(offset, capacity, warm if written else 0)
        self._loose += 1

    def trim(self, keep: int = 0) -> list[tuple[int, int]]:
        """Return offset and length of what is free and may have pages; now it is cold.

        Blocks of `keep` bytes at most stay as they are, of each size those that came last.
        """
        kept, others = [], []
        for size, bin in self._bins.items():
            for offset, warm in reversed(bin):
                if warm and size <= keep:
                    keep -= size
                    kept.append((offset, size, warm))
                else:
                    others.append((offset, size, warm))
        self._rebuild(others)
        self._merge()
        free = sorted((offset, capacity) for offset, capacity, _ in self._blocks())
        cold = free
        if free and sum(free[-1]) == self._top:
            self._top = free[-1][0]
            cold = free[:-1]
        self._rebuild([(offset, capacity, 0) for offset, capacity in cold] + kept[::-1])
        self._loose = len(kept)  # which may have free neighbours
        return free

    def _reuse(self, capacity: int) -> _Block | None:
        fitting = capacity
        if capacity not in self._bins:
            fitting = min((each for each in self._bins if each >= capacity), default=0)
        if not fitting:
            return None
        bin = self._bins[fitting]
        offset, warm = bin.pop()
        if not bin:
            del self._bins[fitting]
        self._free -= 1
        rest = fitting - capacity
        if 8 * rest < capacity:  # a splinter would fit nobody
            return offset, fitting, warm
        self._put(offset + capacity, rest, max(0, warm - capacity))
        return offset, capacity, min(warm, capacity)

    def _grow(self, capacity: int) -> _Block | None:
        if self._top + capacity <= self._limit:
            self._top += capacity
            return self._top - capacity, capacity, 0
        highest = max(self._blocks(), default=(0, 0, 0))
        offset, length, warm = highest
        if offset + length < self._top or offset + capacity > self._limit:
            return None
        self._top = offset + capacity
        self._rebuild([block for block in self._blocks() if block != highest])
        return offset, capacity, warm

    def _put(self, offset: int, capacity: int, warm: int) -> None:
        self._bins.setdefault(capacity, []).append((offset, min(warm, capacity)))
        self._free += 1

    def _blocks(self) -> list[_Block]:
        return [(offset, size, warm) for size, bin in self._bins.items() for offset, warm in bin]

    def _rebuild(self, blocks: list[_Block]) -> None:
        self._bins.clear()
        self._free = self._loose = 0
        for block in blocks:
            self._put(*block)

    def _merge(self) -> None:
        """Join free neighbours. What stays alone stays in its place in its bin."""
        merged: dict[int, _Block] = {}
        before: _Block | None = None
        gone = set()
        for block in sorted(self._blocks()):
            if before is not None and before[0] + before[1] == block[0]:
                offset, capacity, warm = before
                # Warm is the beginning of a block: a cold part in between hides what is behind.
                warm = capacity + block[2] if warm == capacity else warm
                merged.pop(offset, None)
                gone |= {offset, block[0]}
                before = merged[offset] = offset, capacity + block[1], warm
            else:
                before = block
        if merged:
            alone = [block for block in self._blocks() if block[0] not in gone]
            self._rebuild(alone + list(merged.values()))
        self._loose = 0
