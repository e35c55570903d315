"""No two live slots share a byte, what comes back is used again, and what is called warm exists."""

from __future__ import annotations

import random
from itertools import pairwise
from mmap import PAGESIZE

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from _poolwise_worker.arena.memory import pages
from _poolwise_worker.arena.slots import Slots, _capacity

LIMIT = 64 * PAGESIZE


class AgainstAModel(RuleBasedStateMachine):
    """The model is one byte for each page: whose it is, and whether it exists."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(LIMIT)
        self.live: dict[int, int] = {}  # offset: size
        self.existing: set[int] = set()  # pages

    def pages_of(self, offset: int, size: int) -> range:
        return range(offset // PAGESIZE, pages(offset + size) // PAGESIZE)

    def longest_gap(self) -> int:
        edges = [(0, 0), *sorted(self.live.items()), (LIMIT, 0)]
        return max(after - pages(begin + size) for (begin, size), (after, _) in pairwise(edges))

    @rule(size=st.integers(1, LIMIT + 1))
    def take(self, size: int) -> None:
        taken = self.slots.take(size)
        if taken is None:
            # A slot may be larger than it has to be, and that room is nobody's.
            room = sum(map(pages, self.live.values()))
            assert not self.live or self.longest_gap() < _capacity(size) + room / 8 + PAGESIZE
            assert self.live or _capacity(size) > LIMIT
            return
        offset, warm = taken
        assert offset % PAGESIZE == 0
        assert offset + size <= LIMIT
        assert 0 <= warm <= size
        assert self.existing.issuperset(self.pages_of(offset, warm))
        self.live[offset] = size
        self.existing.update(self.pages_of(offset, size))

    @rule(data=st.data(), written=st.booleans())
    def give(self, data: st.DataObject, written: bool) -> None:
        if not self.live:
            with pytest.raises(KeyError):
                self.slots.give(0)
            return
        offset = data.draw(st.sampled_from(sorted(self.live)))
        size = self.live.pop(offset)
        self.slots.give(offset, written=written)
        if not written:
            self.existing.difference_update(self.pages_of(offset, size))

    @rule(keep=st.sampled_from([0, 0, 5, 20]))
    def trim(self, keep: int) -> None:
        for offset, length in self.slots.trim(keep * PAGESIZE):
            self.existing.difference_update(self.pages_of(offset, length))
        taken = {page for offset, size in self.live.items() for page in self.pages_of(offset, size)}
        # A slot may be larger than it has to be, by two eighths and a page.
        assert len(self.existing - taken) <= keep + 0.27 * len(taken) + len(self.live)

    @invariant()
    def nothing_is_shared(self) -> None:
        owners = [
            page for offset, size in self.live.items() for page in self.pages_of(offset, size)
        ]
        assert len(owners) == len(set(owners))
        assert self.existing.issuperset(owners)

    def teardown(self) -> None:
        for offset in self.live:
            self.slots.give(offset)
        assert self.slots.take(LIMIT) is not None, "not all that came back can be used"


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)


def test_what_was_freed_last_is_taken_first() -> None:
    slots = Slots(100 * PAGESIZE)
    taken = [slots.take(PAGESIZE * 3) for _ in range(3)]
    offsets = [each[0] for each in taken if each is not None]
    for offset in (offsets[1], offsets[2], offsets[0]):
        slots.give(offset)
    again = [slots.take(PAGESIZE * 3) for _ in range(3)]
    assert again == [(offset, PAGESIZE * 3) for offset in (offsets[0], offsets[2], offsets[1])]


def test_a_slot_that_was_not_written_is_cold() -> None:
    slots = Slots(100 * PAGESIZE)
    assert slots.take(PAGESIZE) == (0, 0)
    slots.give(0, written=False)
    assert slots.take(PAGESIZE) == (0, 0)
    slots.give(0)
    assert slots.take(PAGESIZE) == (0, PAGESIZE)


def test_a_trim_may_leave_some_slots_warm() -> None:
    slots = Slots(LIMIT)
    for taken in [slots.take(4 * PAGESIZE) for _ in range(4)]:
        assert taken is not None
        slots.give(taken[0])
    assert slots.trim(9 * PAGESIZE) == [(0, 8 * PAGESIZE)]
    assert slots.take(4 * PAGESIZE) == (12 * PAGESIZE, 4 * PAGESIZE)
    assert slots.take(4 * PAGESIZE) == (8 * PAGESIZE, 4 * PAGESIZE)
    assert slots.take(4 * PAGESIZE) == (0, 0)


def test_after_a_trim_everything_is_as_in_the_beginning() -> None:
    slots = Slots(100 * PAGESIZE)
    for _ in range(10):
        slots.take(PAGESIZE)
    for number in range(10):
        slots.give(number * PAGESIZE)
    assert slots.trim() == [(0, 10 * PAGESIZE)]
    assert slots.trim() == []
    assert slots.take(10 * PAGESIZE) == (0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_an_arena_does_not_grow_beyond_what_is_live(seed: int) -> None:
    # Sizes from 64 KiB to 16 MiB, evenly by magnitude, each living for a while.
    draw = random.Random(seed)
    slots = Slots(1 << 40)
    live: list[tuple[int, int]] = []
    most = 0
    for _ in range(20_000):
        if len(live) > 40 or (live and draw.random() < 0.5):
            slots.give(live.pop(draw.randrange(len(live)))[0])
        else:
            size = int(2 ** draw.uniform(16, 24))
            taken = slots.take(size)
            assert taken is not None
            live.append((taken[0], size))
        most = max(most, sum(size for _, size in live))
    assert slots._top < 2.5 * most
