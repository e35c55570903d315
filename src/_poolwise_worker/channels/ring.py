"""Messages in shared memory: one line of entries, behind which producers write, and consumers read.

Two guards, so that a producer and a consumer do not meet: who puts holds one, who takes the other.
All else follows from two words, and each operation is over with one store to one of them:

- ``TAIL``, the position behind the last entry. An entry is written first, then the tail is moved.
- ``TAKEN``, how many messages have been taken.

So a producer that is killed has put its message or has not, and a consumer has taken it or has
not. Where the oldest entry begins (``HEAD``) is only noted: entries whose messages are all taken
are skipped. Positions are bytes, counted from the beginning of the queue and never reset; an entry
lies where its position says, modulo the capacity.

An entry is a header of two words (the number of its first message; its size and what it is) and
its payload. The number of the *next* entry's first message is written
before the tail is moved, so how many were put needs no word of its own.

When the ring is full it grows: entries keep their positions, so only those whose place is another
now are copied, into memory that was not there before. The old ones stay valid until the capacity
changes, by one store too.
"""

from __future__ import annotations

import os
import sys
from _pickle import dumps, loads
from functools import partial
from time import monotonic

from _poolwise_worker import descriptors
from _poolwise_worker.channels import identity
from _poolwise_worker.channels.identity import me
from _poolwise_worker.channels.memory import LINE, Memory, create, mapped
from _poolwise_worker.channels.mutex import LOOK_UP, OWN, Futex, Guard, trylock, unlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap
    from typing import Any, TypeAlias

    #: Messages, whether they are values already, the hand that they are in.
    Taken: TypeAlias = tuple[list[Any], bool, int]

#: The second word of a header: the size, and in so many bits below, what the entry is: 0 for one
#: message; for several together, how many, with a pickled list of plain values (those load without
#: running code of anybody, so in the guard too); or that it has none.
_BITS = 16
_TOGETHER = (1 << _BITS) - 1
_NO_MESSAGES = _TOGETHER

#: In the word of the shape: its capacity, a power of two, and whether the queue is closed.
_CLOSED = 1

#: Bytes of a header; entries begin at multiples of it, so none is torn at the end of the ring.
HEADER = 16

#: Bytes at first: some hundred small messages, and little enough to stay in the cache of a CPU.
SMALLEST = 1 << 16

#: When the last message is taken, a ring larger than this gives its memory back.
SHRINK_ABOVE = 1 << 20

#: The control page: the guards, what producers write, what consumers write, the hands.
_TAIL, _SHAPE, _PUTTERS, _MAXSIZE = (2 * LINE // 8 + word for word in range(4))
_TAKEN, _HEAD, _GETTERS, _LOST = (3 * LINE // 8 + word for word in range(4))
#: A hand is two words: whose it is and how many messages are in it, and the number of the first.
_HANDS = 4 * LINE // 8
_MOST_HANDS = 200
_HANDS_END = _HANDS + 2 * _MOST_HANDS

#: How often who has to wait lets others run before it sleeps: falling asleep and being woken takes
#: some 50 µs, in which others put or take as many messages. Found with
#: ``benchmarks/bench_channels.py``: without, a small message takes twice as long. But when others
#: want the CPU, who yields comes last and who is woken first: so `NO_YIELD` for large messages.
YIELDS = 3
NO_YIELD = 0

#: What `Ring.take_first` returns where there is no message for it.
NOTHING = object()

_NOTHING_OPENED: tuple[int, list[Any]] = (-1, [])

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
        "_control",
        "_data",
        "_entries",
        "_get_at",
        "_get_guard",
        "_hand",
        "_left",
        "_map",
        "_mask",
        "_opened",
        "_put_at",
        "_put_guard",
        "_shape",
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
        self._put_at, self._get_at = self._put_guard.at, self._get_guard.at
        self._get_guard.on_death = partial(_empty_hand, self._words)
        low = 0 if sys.byteorder == "little" else 4
        self._arrived = Futex(control, _TAIL * 8 + low)
        self._left = Futex(control, _TAKEN * 8 + low)
        self._mask = self._shape = 0
        self._hand = _HANDS  # the word that was free last time
        #: The entry of several messages that was looked into last: its position, its values.
        self._opened = _NOTHING_OPENED
        self.maxsize: int = self._words[_MAXSIZE]

    @classmethod
    def create(cls, maxsize: int) -> Ring:
        """Create an empty one; at most `maxsize` messages at a time, 0 for any number."""
        control = Memory.of_size(4096)
        Guard(control, 0).create()
        Guard(control, LINE).create()
        control.words[_SHAPE] = SMALLEST
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
        return self._words[_SHAPE] & _CLOSED != 0

    def lost(self) -> int:
        """Return how many messages were in the hands of processes that were killed in `take`."""
        with self._get_guard:
            self._look_at_hands()
            return self._words[_LOST]

    # ---- putting ----

    def append(self, payload: bytes, until: float | None, yields: int = YIELDS) -> bool | None:
        """Put one message, waiting for room until `until`.

        Returns true; false if there was no room in time; ``None`` if the ring is closed.
        """
        while not self.append_now(payload):
            room = self._wait_for_room(until, yields)
            if not room:
                return room
        return True

    def append_now(self, payload: bytes) -> bool:
        """Put one message if there is room and the ring is not closed.

        `_room` and `_write` for the usual case in one: the former would cost as much as all this.
        """
        words, at_guard = self._words, self._put_at
        code = 0
        try:  # as in Guard.__enter__
            code = trylock(at_guard)
            if code and (code := self._put_guard.settle(code)):
                raise self._put_guard.reentered()
            shape = words[_SHAPE]
            if shape != self._shape:
                self._follow()
            tail, entries, mask = words[_TAIL], self._entries, self._mask
            at = (tail & mask) >> 3
            number = entries[at]
            if shape & _CLOSED or (self.maxsize and number - words[_TAKEN] >= self.maxsize):
                return False
            size = len(payload)
            after = tail + (size + 2 * HEADER - 1 & -HEADER)
            start = tail + HEADER & mask
            if start + size > mask or after + HEADER - words[_HEAD] > mask:
                self._write(payload, 0, 1)
            else:
                entries[at + 1] = size << _BITS
                self._map[start : start + size] = payload
                entries[(after & mask) >> 3] = number + 1
                words[_TAIL] = after
        finally:
            if code != OWN:
                unlock(at_guard)
        if words[_GETTERS]:
            self._arrived.wake(1)
        return True

    def extend(self, values: list[Any], until: float | None) -> tuple[int, int] | None:
        """Put the first of several plain values, as many as there is room for but at least one.

        Returns how many, and in how many bytes; no value if there was no room until `until`;
        ``None`` if the ring is closed.
        """
        count = len(values)
        payload = dumps(values, 5)
        while True:
            with self._put_guard:
                if room := self._room():
                    if room < count:
                        count = room
                        payload = dumps(values[:count], 5)
                    self._write(payload, count, count)
                    break
            found = self._wait_for_room(until, YIELDS)
            if not found:
                return None if found is None else (0, 0)
        if self._words[_GETTERS]:
            self._arrived.wake(count)
        return count, len(payload)

    def close(self) -> None:
        """Put the end behind the last message; a second time it does nothing."""
        with self._put_guard:
            if not self._words[_SHAPE] & _CLOSED:
                self._words[_SHAPE] |= _CLOSED
                self._follow()
                # An entry without messages moves the tail, so that nobody falls asleep who has
                # seen the queue open.
                self._write(b"", _NO_MESSAGES, 0)
        self._arrived.wake()
        self._left.wake()

    # ---- with the put guard ----

    def _room(self) -> int:
        """Return how many messages may be put now; 0 also if the ring is closed."""
        words = self._words
        if self._shape != words[_SHAPE]:
            self._follow()
        if self._shape & _CLOSED:
            return 0
        if not self.maxsize:
            return _UNLIMITED
        return self.maxsize - self._number() + words[_TAKEN]

    def _number(self) -> int:
        """Return the number of the message that is put next: how many were put before."""
        return self._entries[(self._words[_TAIL] & self._mask) >> 3]

    def _write(self, payload: bytes, together: int, count: int) -> None:
        """Write an entry behind the last; `together` says what it is."""
        words = self._words
        size = len(payload)
        tail = words[_TAIL]
        after = tail + (size + 2 * HEADER - 1 & -HEADER)
        # One more header: the number of the next entry's first message is written already.
        if after + HEADER - words[_HEAD] > self._mask:
            self._grow(after + HEADER - words[_HEAD])
        entries, mask = self._entries, self._mask
        at = (tail & mask) >> 3
        entries[at + 1] = size << _BITS | together
        start = tail + HEADER & mask
        split = min(size, mask + 1 - start)
        self._map[start : start + split] = payload[:split]
        self._map[: size - split] = payload[split:]
        entries[(after & mask) >> 3] = entries[at] + count
        words[_TAIL] = after

    def _wait_for_room(self, until: float | None, patience: int) -> bool | None:
        """Wait, without the guard; ``None`` if the ring is closed, false if time is over."""
        words = self._words
        asleep = 0
        while True:
            with self._put_guard:
                if asleep:
                    words[_PUTTERS] -= 1
                    asleep = 0
                seen = words[_TAKEN]
                if self._room():
                    return True
                if self._shape & _CLOSED:
                    return None
                left = LOOK_UP if until is None else until - monotonic()
                if left <= 0:
                    return False
                if not patience:
                    words[_PUTTERS] += 1
                    asleep = 1
            if patience:
                patience = self._let_others_run(_TAKEN, seen, patience)
                continue
            try:
                self._left.wait(seen & 0xFFFFFFFF, min(left, LOOK_UP))
            except BaseException:
                with self._put_guard:
                    words[_PUTTERS] -= 1
                raise

    def _let_others_run(self, word: int, seen: int, patience: int) -> int:
        """Yield the CPU until `word` is not as `seen`; return the patience that is left."""
        words, give_way = self._words, os.sched_yield
        while patience:
            give_way()
            patience -= 1
            if words[word] != seen:
                return max(patience, 1)
        return 0

    # ---- the memory; with a guard ----

    def _follow(self) -> None:
        """Take note of the shape that the ring has by now, and map it again if it must be."""
        shape = self._words[_SHAPE]
        if shape & ~_CLOSED != self._mask + 1:
            self._use(mapped(self._data, shape & ~_CLOSED))
        self._shape = shape

    def _use(self, room: mmap) -> None:
        self._map = room
        self._entries = memoryview(room).cast("q")
        self._mask = len(room) - 1

    def _grow(self, needed: int) -> None:
        """Double the capacity until `needed` bytes fit; with the put guard."""
        if self._get_guard is self._put_guard:
            self._grow_alone(needed)
        else:
            with self._get_guard:
                self._grow_alone(needed)

    def _grow_alone(self, needed: int) -> None:
        words = self._words
        while self._mask < needed:
            old = self._mask + 1
            os.ftruncate(self._data, 2 * old)
            wider = mapped(self._data, 2 * old)
            # What has an odd quotient of position and old capacity belongs to the upper half.
            position, end = words[_HEAD], words[_TAIL] + HEADER
            while position < end:
                stop = min(end, (position // old + 1) * old)
                if position // old % 2:
                    at = position % old
                    wider[old + at : old + at + stop - position] = wider[at : at + stop - position]
                position = stop
            self._use(wider)
            self._shape = words[_SHAPE] = 2 * old | words[_SHAPE] & _CLOSED

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
                words[_SHAPE] = SMALLEST | words[_SHAPE] & _CLOSED
                os.ftruncate(self._data, SMALLEST)
                self._follow()
        finally:
            unlock(self._put_guard.at)

    # ---- taking ----

    def take_first(self, decode: Callable[[bytes], Any]) -> Any:
        """Take the first message and decode it, if it is there and was put by `append`.

        `take` for the usual case; `NOTHING` if it is another case.
        """
        words, at_guard = self._words, self._get_at
        code = 0
        try:  # as in Guard.__enter__
            code = trylock(at_guard)
            if code and (code := self._get_guard.settle(code)):
                raise self._get_guard.reentered()
            head, tail = words[_HEAD], words[_TAIL]
            if head == tail or self._shape != words[_SHAPE]:
                return NOTHING
            entries, mask, hand = self._entries, self._mask, self._hand
            at = (head & mask) >> 3
            number, meta, start = entries[at], entries[at + 1], head + HEADER & mask
            size = meta >> _BITS
            stop = start + size
            if meta & _TOGETHER or number != words[_TAKEN] or stop > mask or words[hand]:
                return NOTHING
            message = self._map[start:stop]
            words[hand + 1] = number
            words[hand] = identity.one_of_mine or me() << 16 | 1
            words[_TAKEN] = number + 1
            words[_HEAD] = head = head + (size + 2 * HEADER - 1 & -HEADER)
            if head == tail and mask > SHRINK_ABOVE:
                self._shrink()
        finally:
            if code != OWN:
                unlock(at_guard)
        if words[_PUTTERS]:
            self._left.wake(1)
        try:
            return decode(message)
        finally:
            words[hand] = 0

    def take(self, most: int, until: float | None, patience: int = YIELDS) -> Taken | None:
        """Take from 1 to `most` messages, waiting for the first until `until`.

        Returns the payloads of `append` or the values of `extend`, which of the two, and what to
        give to `handed_out` when the caller has them; none if none came in time; ``None`` at the
        end of a closed ring.
        """
        words, guard = self._words, self._get_guard
        asleep = 0
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
                if words[_SHAPE] & _CLOSED and tail == words[_TAIL]:
                    return None
                left = LOOK_UP if until is None else until - monotonic()
                if left <= 0:
                    return [], False, 0
                if not patience:
                    words[_GETTERS] += 1
                    asleep = 1
            finally:
                if code != OWN:
                    unlock(guard.at)
            if patience:
                patience = self._let_others_run(_TAIL, tail, patience)
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

    # ---- with the get guard ----

    def _take(self, most: int, tail: int) -> Taken | None:
        """Take the next messages of one kind, at most so many; ``None`` if there are none."""
        words = self._words
        if self._shape != words[_SHAPE]:
            self._follow()
        entries, mask = self._entries, self._mask
        position, taken = words[_HEAD], words[_TAKEN]
        found: list[Any] = []
        plain = False
        while position != tail:
            at = (position & mask) >> 3
            size, together = entries[at + 1] >> _BITS, entries[at + 1] & _TOGETHER
            if not together:
                if entries[at] == taken:
                    if plain or len(found) == most:
                        break
                    found.append(self._read(position + HEADER & mask, size))
                    taken += 1
            elif together != _NO_MESSAGES:
                end = entries[at] + together
                if taken < end:
                    if found and not plain:
                        break
                    plain = True
                    wanted = min(end - taken, most - len(found))
                    first = taken - entries[at]
                    found += self._open(position, size)[first : first + wanted]
                    taken += wanted
                    if taken < end:
                        break
                    self._opened = _NOTHING_OPENED
            position += size + 2 * HEADER - 1 & -HEADER
        if not found:
            return None
        hand = self._take_in_hand(taken - len(found), len(found))
        words[_TAKEN] = taken
        words[_HEAD] = position
        if position == tail and mask > SHRINK_ABOVE:
            self._shrink()
        return found, plain, hand

    def _read(self, start: int, size: int) -> bytes:
        stop = start + size
        if stop <= self._mask + 1:
            return self._map[start:stop]
        return self._map[start:] + self._map[: stop - self._mask - 1]

    def _open(self, position: int, size: int) -> list[Any]:
        """Return the values in an entry of several; who takes one at a time reads it once."""
        if self._opened[0] != position:
            read = self._read(position + HEADER & self._mask, size)
            self._opened = position, loads(read)
        return self._opened[1]

    # ---- hands ----

    def _take_in_hand(self, number: int, count: int) -> int:
        """Note that messages are in the hands of this process.

        Returns the word that says so, or 0 if all are taken: then they go uncounted if they are
        lost.
        """
        words, hand = self._words, self._hand
        for _ in range(2):
            if not words[hand]:
                words[hand + 1] = number
                words[hand] = me() << 16 | min(count, 0xFFFF)
                return hand
            hands = words[_HANDS:_HANDS_END].tolist()[::2]
            if 0 in hands:
                self._hand = hand = _HANDS + 2 * hands.index(0)
            else:
                self._look_at_hands()
        return 0

    def _look_at_hands(self) -> None:
        """Count what the dead held, and free their hands."""
        words = self._words
        for hand in range(_HANDS, _HANDS_END, 2):
            word = words[hand]
            if word and not identity.alive(word >> 16):
                words[_LOST] += word & 0xFFFF
                words[hand] = 0


def _empty_hand(words: memoryview) -> None:
    """Empty the hand of who died before it took what it had noted; nobody has taken since.

    With the get guard, by who enters it next. Not a method: a ring and its guard would be a cycle,
    and its descriptors would wait for the garbage collector.
    """
    for hand in range(_HANDS, _HANDS_END, 2):
        if words[hand] and words[hand + 1] >= words[_TAKEN]:
            words[hand] = 0
