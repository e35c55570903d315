"""State in shared memory, a guard around it, and one place to wait for it to change."""

from __future__ import annotations

from time import monotonic

from _poolwise_worker import descriptors
from _poolwise_worker.channels.memory import LINE, Memory
from _poolwise_worker.channels.mutex import LOOK_UP, Futex, Guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: The page: the guard, the futex and how many sleep on it, then the state of whoever uses it.
_FUTEX_AT = LINE
_SLEEPERS = LINE // 8 + 1
_STATE = 2 * LINE // 8


class Monitor:
    """A guard, words of state, and the sleep until somebody announces that they have changed.

    The state is read and written only inside the guard, unless its owner says why not. Who sleeps
    is woken by `announce`; if the process that should have called it was killed before, by itself
    after `LOOK_UP` seconds.
    """

    __slots__ = ("_futex", "_words", "guard", "memory", "state")

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.guard = Guard(memory, 0)
        self._futex = Futex(memory, _FUTEX_AT)
        self._words = memory.words
        self.state = memory.words[_STATE:]

    @classmethod
    def create(cls) -> Monitor:
        """Create one with a state of zeros."""
        monitor = cls(Memory.of_size(4096))
        monitor.guard.create()
        return monitor

    @classmethod
    def claim(cls, token: descriptors.Token) -> Monitor:
        """Return the one that `carry` sent."""
        return cls(Memory(descriptors.claim(token)))

    def carry(self) -> descriptors.Token:
        """Send it along with what is being pickled."""
        return descriptors.carry(self.memory.descriptor)

    def announce(self) -> None:
        """Have everybody who sleeps look at the state again; inside the guard."""
        if self._words[_SLEEPERS] > 0:
            word = self._futex.word
            word[0] = (word[0] + 1) & 0xFFFFFFFF
            self._futex.wake()

    def wait_until(
        self,
        attempt: Callable[[], bool],
        until: float | None,
        look: Callable[[], None] | None = None,
    ) -> bool:
        """Call `attempt` in the guard until it is true, at each change and at least once.

        Where nothing has changed for `LOOK_UP` seconds, `look` is called in the guard first: it
        looks for the dead. Returns false when `until` on the monotonic clock has come first. What
        either raises ends the wait.
        """
        with self.guard:
            if attempt():
                return True
            if until is not None and until <= monotonic():
                return False
            self._words[_SLEEPERS] += 1
            seen = self._futex.word[0]
        try:
            while True:
                left = LOOK_UP if until is None else until - monotonic()
                if left > 0:
                    self._futex.wait(seen, min(left, LOOK_UP))
                with self.guard:
                    if look is not None and seen == self._futex.word[0]:
                        look()
                    if attempt():
                        return True
                    seen = self._futex.word[0]
                if left <= 0:
                    return False
        finally:
            # Who is killed in here leaves it too high: then changes are announced to nobody, at
            # the price of a system call each.
            with self.guard:
                self._words[_SLEEPERS] -= 1
