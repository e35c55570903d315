"""Which process holds how much of something, in shared memory, so that the dead can be told."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: A word holds 22 bits of process id (all that Linux has), 24 of its start time and 16 to count
#: with; one store changes it as a whole. The start time tells apart two processes with one id.
_COUNT_BITS = 16
_START_BITS = 24
_MOST = (1 << _COUNT_BITS) - 1

_me = 0

#: The word of this process that holds one of something; 0 until `me` has been asked, and again in
#: a process that is forked.
one_of_mine = 0


def _forget() -> None:
    global _me, one_of_mine
    _me = one_of_mine = 0


os.register_at_fork(after_in_child=_forget)


def me() -> int:
    """Return the identity of this process."""
    global _me, one_of_mine
    if not _me:
        pid = os.getpid()
        _me = pid << _START_BITS | (_started(pid) or 0)
        one_of_mine = _me << _COUNT_BITS | 1
    return _me


def alive(identity: int) -> bool:
    """Whether that process runs; not if it has ended and only waits to be waited for."""
    return _started(identity >> _START_BITS) == identity & ((1 << _START_BITS) - 1)


def pid(identity: int) -> int:
    """Return the process id of an identity."""
    return identity >> _START_BITS


def _started(pid: int) -> int | None:
    """Return when the process began, in ticks cut to 24 bits; ``None`` if it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19]) & ((1 << _START_BITS) - 1)


class Holders:
    """How many of something each process holds: one word each. Guarded by its owner's guard.

    A word is changed by one store, so who dies inside the guard leaves it before or after. The
    first word says how many of the others were ever used, so that only those are looked at.
    """

    __slots__ = ("_mine", "_name", "_words")

    def __init__(self, words: memoryview, name: str) -> None:
        self._words = words
        self._name = name
        self._mine = 1

    def held(self) -> int:
        """How many all processes hold, dead ones too."""
        words = self._words
        if words[0] == 1:
            return words[1] & _MOST
        return sum(word & _MOST for word in self._used())

    def mine(self) -> int:
        """How many this process holds."""
        word = self._words[self._mine]
        return word & _MOST if word >> _COUNT_BITS == me() else self._find() & _MOST

    def take(self) -> None:
        """Note that this process holds one more.

        Raises:
            OverflowError: if the word, or all words, are full.
        """
        word = self._words[self._mine]
        if word >> _COUNT_BITS != me():
            word = self._find() or self._settle()
        if word & _MOST == _MOST:
            raise OverflowError(f"this process holds {_MOST:,} {self._name}; no more can be noted")
        self._words[self._mine] = word + 1

    def give(self) -> None:
        """Note one less: of this process, or if it holds none, of whoever does.

        Raises:
            ValueError: if nobody holds any.
        """
        place = self._mine if self.mine() else self._first()
        word = self._words[place] - 1
        self._words[place] = word if word & _MOST else 0

    def dead(self) -> Iterator[tuple[int, int]]:
        """Give the process ids of the dead and how many they held; one is forgotten at the next."""
        for place, word in enumerate(self._used(), 1):
            if word and not alive(word >> _COUNT_BITS):
                yield pid(word >> _COUNT_BITS), word & _MOST
                self._words[place] = 0

    def clear(self) -> None:
        """Forget everybody."""
        for place in range(1, self._words[0] + 1):
            self._words[place] = 0

    def _used(self) -> list[int]:
        words: list[int] = self._words[1 : self._words[0] + 1].tolist()
        return words

    def _first(self) -> int:
        for place, word in enumerate(self._used(), 1):
            if word:
                return place
        raise ValueError(f"nobody holds {self._name}")

    def _find(self) -> int:
        for place, word in enumerate(self._used(), 1):
            if word >> _COUNT_BITS == me():
                self._mine = place
                return word
        return 0

    def _settle(self) -> int:
        """Choose a free word; return what an empty one of this process would say."""
        used = self._used()
        if 0 in used:
            self._mine = used.index(0) + 1
        elif len(used) + 1 < len(self._words):
            self._mine = self._words[0] = len(used) + 1
        else:
            raise OverflowError(f"more than {len(used)} processes hold {self._name}")
        return me() << _COUNT_BITS
