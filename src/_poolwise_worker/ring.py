"""Messages in shared memory: one line of entries, behind which producers write, and consumers read.

Two guards, so that a producer and a consumer do not meet: who puts holds one, who takes the other.
All else follows from two words, and each operation is over with one store to one of them:

- ``TAIL``, the position behind the last entry. An entry is written first, then the tail is moved.
- ``TAKEN``, how many messages have been taken.

So a producer that is killed has put its message or has not, and a consumer has taken it or has
not. Where the oldest entry begins (``HEAD``) is only noted: entries whose messages are all taken
are skipped. Positions are bytes, counted from the beginning of the queue and never reset; an entry
lies where its position says, modulo the capacity.

An entry is a header of three words (the number of its first message, its size, and how many
messages it has) and its payload. The number of the *next* entry's first message is written
before the tail is moved, so how many were put needs no word of its own.

When the ring is full it grows: entries keep their positions, so only those whose place is another
now are copied, into memory that was not there before. The old ones stay valid until the capacity
changes, by one store too.
"""

from __future__ import annotations

import os
import sys
from time import monotonic

from _poolwise_worker import descriptors, identity
from _poolwise_worker.memory import LINE, Memory, create, mapped
from _poolwise_worker.mutex import LOOK_UP, OWN, Futex, Guard, trylock, unlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from mmap import mmap

#: What the third word of a header says: one message; or how many, shifted by one, and `_MANY`, with
#: a pickled list of pickles.
_ONE, _MANY = 0, 1

#: Bytes of a header; entries begin at multiples of it, so none is torn at the end of the ring.
HEADER = 32

#: Bytes at first: some hundred small messages, and little enough to stay in the cache of a CPU.
SMALLEST = 1 << 16

#: When the last message is taken, a ring larger than this gives its memory back.
SHRINK_ABOVE = 1 << 20

#: The control page: the guards, what producers write, what consumers write, the hands.
_TAIL, _CLOSED, _PUTTERS, _CAPACITY, _MAXSIZE = (2 * LINE // 8 + word for word in range(5))
_TAKEN, _HEAD, _GETTERS, _LOST = (3 * LINE // 8 + word for word in range(4))
_HANDS = 4 * LINE // 8
_MOST_HANDS = 256

#: How often a consumer that finds nothing lets others run before it sleeps: falling asleep and
#: being woken takes some 50 µs, in which a producer puts as many messages.
_YIELDS = 20

_UNLIMITED = sys.maxsize

#: Where stores become visible in the order in which they were made, producers and consumers need
#: no common guard.
_ORDERED_STORES = os.uname().machine in ("x86_64", "i386", "i686")


class Ring:
    """One process's side of the line of messages.

    `lost` counts messages that were taken by a `take` that never returned, because its process
    was killed: from before they leave the line until they are handed out, they are noted in a
    word that tells whose hands they are in.
    """

    __slots__ = (
        "__weakref__",
        "_arrived",
        "_capacity",
        "_control",
        "_data",
        "_entries",
        "_get_guard",
        "_hand",
        "_left",
        "_map",
        "_opened",
        "_put_guard",
        "_words",
        "maxsize",
    )

    def __init__(self, control: Memory, data: int) -> None:
        """Attach to what the descriptors of control page and ring stand for, and own them."""
        self._control = control
        self._data = data
        self._words = control.words
        self._put_guard = Guard(control, 0)
        self._get_guard = Guard(control, LINE) if _ORDERED_STORES else self._put_guard
        low = 0 if sys.byteorder == "little" else 4
        self._arrived = Futex(control, _TAIL * 8 + low)
        self._left = Futex(control, _TAKEN * 8 + low)
        self._capacity = 0
        self._hand = _HANDS  # the word that was free last time
        #: The entry of several messages that was looked into last: its position, its pickles.
        self._opened: tuple[int, list[bytes]] = (-1, [])
        self.maxsize: int = self._words[_MAXSIZE]

    @classmethod
    def create(cls, maxsize: int) -> Ring:
        """Create an empty one; at most `maxsize` messages at a time, 0 for any number."""
        control = Memory.of_size(4096)
        Guard(control, 0).create()
        Guard(control, LINE).create()
        control.words[_CAPACITY] = SMALLEST
        control.words[_MAXSIZE] = maxsize
        return cls(control, create(SMALLEST))

    @classmethod
    def claim(cls, control: descriptors.Token, data: descriptors.Token) -> Ring:
        """Return the one that `carry` sent."""
        return cls(Memory(descriptors.claim(control)), descriptors.claim(data))

    def carry(self) -> tuple[descriptors.Token, descriptors.Token]:
        """Send it along with what is being pickled."""
        return descriptors.carry(self._control.descriptor), descriptors.carry(self._data)

    def __del__(self, close=os.close) -> None:  # type: ignore[no-untyped-def]  # at exit os is gone
        close(self._data)

    # ---- looking ----

    def __len__(self) -> int:
        """How many messages are there; by the time that one reads it, it may be another number."""
        with self._put_guard:
            self._follow()
            return self._number() - self._words[_TAKEN]

    @property
    def closed(self) -> bool:
        """Whether nothing can be put any more."""
        return self._words[_CLOSED] != 0

    def lost(self) -> int:
        """Return how many messages were in the hands of processes that were killed in `take`."""
        with self._get_guard:
            self._look_at_hands()
            return self._words[_LOST]

    # ---- putting ----

    def append(self, payload: bytes, until: float | None) -> bool | None:
        """Put one message.

        Returns true; false if there was no room until `until`; ``None`` if the ring is closed.
        """
        words, guard = self._words, self._put_guard
        while True:
            done = False
            code = 0
            try:  # as in Guard.__enter__
                code = trylock(guard.at)
                if code and (code := guard.settle(code)):
                    raise guard.reentered()
                if self._room():
                    self._write(payload, _ONE, 1)
                    done = True
            finally:
                if code != OWN:
                    unlock(guard.at)
            if done:
                break
            room = self._wait_for_room(until)
            if not room:
                return room
        if words[_GETTERS]:
            self._arrived.wake(1)
        return True

    def extend(self, payloads: Sequence[bytes], until: float | None) -> int | None:
        """Put the first of several messages, as many as there is room for but at least one.

        Returns how many; 0 if there was no room until `until`; ``None`` if the ring is closed.
        """
        from _pickle import dumps

        while True:
            with self._put_guard:
                count = min(self._room(), len(payloads))
                if count:
                    some = payloads if count == len(payloads) else payloads[:count]
                    self._write(dumps(some, 5), count << 1 | _MANY, count)
                    break
            room = self._wait_for_room(until)
            if not room:
                return None if room is None else 0
        if self._words[_GETTERS]:
            self._arrived.wake(count)
        return count

    def close(self) -> None:
        """Put the end behind the last message; a second time it does nothing."""
        with self._put_guard:
            if not self._words[_CLOSED]:
                self._words[_CLOSED] = 1
                self._follow()
                # An entry without messages moves the tail, so that nobody falls asleep who has
                # seen the queue open.
                self._write(b"", _MANY, 0)
        self._arrived.wake()
        self._left.wake()

    # ---- with the put guard ----

    def _room(self) -> int:
        """Return how many messages may be put now; 0 also if the ring is closed."""
        words = self._words
        if self._capacity != words[_CAPACITY]:
            self._follow()
        if words[_CLOSED]:
            return 0
        if not self.maxsize:
            return _UNLIMITED
        return self.maxsize - self._number() + words[_TAKEN]

    def _number(self) -> int:
        """Return the number of the message that is put next: how many were put before."""
        return self._entries[(self._words[_TAIL] & self._capacity - 1) >> 3]

    def _write(self, payload: bytes, meta: int, count: int) -> None:
        """Write an entry behind the last."""
        words = self._words
        size = len(payload)
        tail = words[_TAIL]
        after = tail + (size + 2 * HEADER - 1 & -HEADER)
        # One more header: the number of the next entry's first message is written already.
        if after + HEADER - words[_HEAD] > self._capacity:
            self._grow(after + HEADER - words[_HEAD])
        entries, mask = self._entries, self._capacity - 1
        at = (tail & mask) >> 3
        entries[at + 1] = size
        entries[at + 2] = meta
        start = tail + HEADER & mask
        stop = start + size
        if stop <= self._capacity:
            self._map[start:stop] = payload
        else:
            split = self._capacity - start
            self._map[start:] = payload[:split]
            self._map[: size - split] = payload[split:]
        entries[(after & mask) >> 3] = entries[at] + count
        words[_TAIL] = after

    def _wait_for_room(self, until: float | None) -> bool | None:
        """Wait, without the guard; ``None`` if the ring is closed, false if time is over."""
        words = self._words
        asleep = False
        while True:
            with self._put_guard:
                words[_PUTTERS] -= asleep
                seen = words[_TAKEN]
                if self._room():
                    return True
                if words[_CLOSED]:
                    return None
                left = LOOK_UP if until is None else until - monotonic()
                if left <= 0:
                    return False
                words[_PUTTERS] += 1
                asleep = True
            try:
                self._left.wait(seen & 0xFFFFFFFF, min(left, LOOK_UP))
            except BaseException:
                with self._put_guard:
                    words[_PUTTERS] -= 1
                raise

    # ---- the memory; with a guard ----

    def _follow(self) -> None:
        """Map the ring again if it has another capacity by now."""
        capacity = self._words[_CAPACITY]
        if self._capacity != capacity:
            self._use(mapped(self._data, capacity), capacity)

    def _use(self, room: mmap, capacity: int) -> None:
        self._map = room
        self._entries = memoryview(room).cast("q")
        self._capacity = capacity

    def _grow(self, needed: int) -> None:
        """Double the capacity until `needed` bytes fit; with the put guard."""
        if self._get_guard is self._put_guard:
            self._grow_alone(needed)
        else:
            with self._get_guard:
                self._grow_alone(needed)

    def _grow_alone(self, needed: int) -> None:
        while self._capacity < needed:
            old = self._capacity
            os.ftruncate(self._data, 2 * old)
            wider = mapped(self._data, 2 * old)
            # What has an odd quotient of position and old capacity belongs to the upper half.
            position, end = self._words[_HEAD], self._words[_TAIL] + HEADER
            while position < end:
                stop = min(end, (position // old + 1) * old)
                if position // old % 2:
                    at = position % old
                    wider[old + at : old + at + stop - position] = wider[at : at + stop - position]
                position = stop
            self._use(wider, 2 * old)
            self._words[_CAPACITY] = 2 * old

    def _shrink(self) -> None:
        """Give memory back, if no producer is at work; with the get guard, when empty.

        Who grows takes the guards the other way round, so the put guard is not waited for.
        """
        words = self._words
        if self._get_guard is self._put_guard or not self._put_guard.try_enter():
            return
        try:
            if words[_HEAD] == words[_TAIL]:
                self._entries[(words[_TAIL] & SMALLEST - 1) >> 3] = self._number()
                words[_CAPACITY] = SMALLEST
                os.ftruncate(self._data, SMALLEST)
                self._follow()
        finally:
            unlock(self._put_guard.at)

    # ---- taking ----

    def take(self, most: int, until: float | None) -> tuple[list[bytes], int] | None:
        """Take from 1 to `most` messages, waiting for the first until `until`.

        Returns their pickles, in order, and what to give to `handed_out` when the caller has them;
        no pickles if none came in time; ``None`` at the end of a closed ring.
        """
        words, guard = self._words, self._get_guard
        asleep = 0
        patience = _YIELDS
        while True:
            code = 0
            try:  # as in Guard.__enter__
                code = trylock(guard.at)
                if code and (code := guard.settle(code)):
                    raise guard.reentered()
                if asleep:
                    words[_GETTERS] -= 1
                    asleep = 0
                tail = words[_TAIL]
                if words[_HEAD] != tail and (taken := self._take(most, tail)):
                    break
                # The tail once more: nothing is put after the end, so what is there now is all.
                if words[_CLOSED] and tail == words[_TAIL]:
                    return None
                left = LOOK_UP if until is None else until - monotonic()
                if left <= 0:
                    return [], 0
                if not patience:
                    words[_GETTERS] += 1
                    asleep = 1
            finally:
                if code != OWN:
                    unlock(guard.at)
            if patience:
                patience = self._let_others_run(tail, patience)
                continue
            try:
                self._arrived.wait(tail & 0xFFFFFFFF, min(left, LOOK_UP))
            except BaseException:
                with guard:
                    words[_GETTERS] -= 1
                raise
        if words[_PUTTERS]:
            self._left.wake(len(taken[0]))
        return taken

    def handed_out(self, hand: int) -> None:
        """Note that what `take` returned is with its caller now."""
        if hand:
            self._words[hand] = 0

    def _let_others_run(self, tail: int, patience: int) -> int:
        """Yield the CPU until something may have come; return the patience that is left."""
        words, give_way = self._words, os.sched_yield
        while patience:
            give_way()
            patience -= 1
            if words[_TAIL] != tail:
                return max(patience, 1)
        return 0

    # ---- with the get guard ----

    def _take(self, most: int, tail: int) -> tuple[list[bytes], int] | None:
        """Take the next messages, at most so many; ``None`` if there are none before `tail`."""
        words = self._words
        if self._capacity != words[_CAPACITY]:
            self._follow()
        entries, mask = self._entries, self._capacity - 1
        position, taken = words[_HEAD], words[_TAKEN]
        pickles: list[bytes] = []
        while position != tail:
            at = (position & mask) >> 3
            size, meta = entries[at + 1], entries[at + 2]
            if meta == _ONE:
                if entries[at] == taken:
                    if len(pickles) == most:
                        break
                    pickles.append(self._read(position + HEADER & mask, size))
                    taken += 1
            else:
                end = entries[at] + (meta >> 1)
                if taken < end:
                    wanted = min(end - taken, most - len(pickles))
                    inside = self._open(position, size)
                    first = taken - entries[at]
                    pickles += inside[first : first + wanted]
                    taken += wanted
                if taken < end:
                    break
            position += size + 2 * HEADER - 1 & -HEADER
        if not pickles:
            return None
        hand = self._take_in_hand(len(pickles))
        words[_TAKEN] = taken
        words[_HEAD] = position
        if position == tail and self._capacity > SHRINK_ABOVE:
            self._shrink()
        return pickles, hand

    def _read(self, start: int, size: int) -> bytes:
        stop = start + size
        if stop <= self._capacity:
            return self._map[start:stop]
        return self._map[start:] + self._map[: stop - self._capacity]

    def _open(self, position: int, size: int) -> list[bytes]:
        """Return the pickles in an entry of several; who takes one at a time reads it once."""
        from _pickle import loads

        if self._opened[0] != position:
            read = self._read(position + HEADER & self._capacity - 1, size)
            self._opened = position, loads(read)
        return self._opened[1]

    # ---- hands ----

    def _take_in_hand(self, count: int) -> int:
        """Note that messages are in the hands of this process; with the get guard.

        Returns the word that says so, or 0 if all are taken: then they go uncounted if they are
        lost.
        """
        words, hand = self._words, self._hand
        word = identity.me() << 16 | min(count, 0xFFFF)
        for _ in range(2):
            if not words[hand]:
                words[hand] = word
                return hand
            hands = words[_HANDS : _HANDS + _MOST_HANDS].tolist()
            if 0 in hands:
                self._hand = hand = _HANDS + hands.index(0)
            else:
                self._look_at_hands()
        return 0

    def _look_at_hands(self) -> None:
        """Count what the dead held, and free their words; with the get guard."""
        words = self._words
        for hand in range(_HANDS, _HANDS + _MOST_HANDS):
            word = words[hand]
            if word and not identity.alive(word >> 16):
                words[_LOST] += word & 0xFFFF
                words[hand] = 0
