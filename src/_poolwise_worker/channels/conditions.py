"""`Condition`: wait for what is guarded by a lock to change."""

from __future__ import annotations

from time import monotonic

from _poolwise_worker import descriptors, timeouts
from _poolwise_worker.channels import identity
from _poolwise_worker.channels.locks import Lock, RLock
from _poolwise_worker.channels.monitor import Monitor
from _poolwise_worker.channels.mutex import LOOK_UP
from _poolwise_worker.errors import OwnerDied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

#: Words of the state: the next ticket, then a ticket for each place, then who waits there.
_NEXT, _TICKETS = 0, 8
_PLACES = 224
_WAITERS = _TICKETS + _PLACES

#: What a waiter's word says below its identity.
_WAITING, _TOLD, _STATE_BITS = 1, 2, 2
_STATE = (1 << _STATE_BITS) - 1


class Condition:
    """A ``threading.Condition`` that also works between processes.

    Who was told and is killed before it wakes passes that on to the next, within 0.05 s. If a
    process dies while it holds the lock, all who wait get `OwnerDied`, and hold the lock then, as
    after every `wait`.

    Args:
        lock: A `Lock` or `RLock` of poolwise; a new `RLock` if it is ``None``.

    Raises:
        NotImplementedError: if this system is not Linux.
        TypeError: if `lock` is something else.
    """

    __slots__ = ("__weakref__", "_lock", "_monitor", "_state", "acquire", "release")

    def __init__(self, lock: Lock | RLock | None = None) -> None:
        if lock is not None and not isinstance(lock, Lock | RLock):
            raise TypeError(
                f"lock={lock!r}: a poolwise.Lock or poolwise.RLock, which work between processes, "
                f"or None for a new RLock"
            )
        self._attach(Monitor.create(), lock or RLock())

    def _attach(self, monitor: Monitor, lock: Lock | RLock) -> None:
        self._monitor = monitor
        self._state = monitor.state
        self._lock = lock
        self.acquire = lock.acquire
        self.release = lock.release

    def __reduce__(self) -> tuple[Any, ...]:
        descriptors.require_carrier(self)
        return _arrived, (self._monitor.carry(), self._lock)

    def __repr__(self) -> str:
        waiting = len(self._waiting())
        return f"<poolwise.Condition({self._lock!r}, {waiting}) at {id(self):#x}>"

    def __enter__(self) -> bool:
        return self._lock.__enter__()

    def __exit__(self, *raised: object) -> None:
        # Who is interrupted in `wait` while another has the lock does not hold it; that it was
        # interrupted is what is to be heard of.
        if raised[0] is None or self._lock._is_owned():
            self._lock.__exit__(*raised)

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait to be notified, acquire it again.

        Args:
            timeout: Seconds to wait at most; ``None`` for ever.

        Returns:
            False if the time-out came first.

        Raises:
            OwnerDied: if somebody died holding the lock meanwhile. This thread holds it then.
            RuntimeError: if this thread does not hold the lock.

        Ctrl-C is answered also while another thread has the lock. If this one cannot have it again
        soon, it does not hold it then; the end of a ``with`` block takes that into account.
        """
        until = timeouts.until(timeout)
        self._require_lock("wait on")
        deaths = self._lock._mutex.deaths[0]
        place = self._enter()
        try:
            depth = self._lock._release_save()
            try:
                self._monitor.wait_until(
                    lambda: self._is_over(place, deaths), until, look=self._bury
                )
            except BaseException:
                self._retake(depth, LOOK_UP)
                raise
            self._retake(depth)
        except BaseException:
            self._leave(place, pass_on=True)
            raise
        told = self._leave(place)
        if self._lock._mutex.deaths[0] != deaths:
            raise OwnerDied(
                "the thread or process that held the lock of this Condition ended without "
                "releasing it; what it guards may be half changed. This thread holds the lock now"
            )
        return told

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until `predicate` is true; return its last value.

        Args:
            predicate: Called with the lock held.
            timeout: Seconds to wait at most; ``None`` for ever.

        Raises:
            As `wait` does, and what `predicate` raises.
        """
        until = timeouts.until(timeout)
        result = predicate()
        while not result:
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake those `n` who have waited longest.

        Raises:
            RuntimeError: if this thread does not hold the lock.
        """
        n = timeouts.count("n", n, 0)
        self._require_lock("notify")
        with self._monitor.guard:
            self._tell(n)

    def notify_all(self) -> None:
        """Wake all who wait; raises as `notify` does."""
        self.notify(_PLACES)

    def _require_lock(self, action: str) -> None:
        if not self._lock._is_owned():
            raise RuntimeError(f"cannot {action} a Condition whose lock this thread does not hold")

    def _retake(self, depth: int, timeout: float = -1) -> None:
        """Acquire the lock as often as it was held, whoever died holding it, if it can be had."""
        while depth:
            try:
                if not self._lock.acquire(timeout=timeout):
                    return
                depth -= 1
            except OwnerDied:
                pass  # `wait` sees that from the count of deaths

    # ---- the places; all inside the guard ----

    def _enter(self) -> int:
        with self._monitor.guard:
            words = self._state[_WAITERS : _WAITERS + _PLACES].tolist()
            if 0 not in words:
                raise OverflowError(f"more than {_PLACES} threads wait on one Condition")
            place = words.index(0)
            self._state[_TICKETS + place] = self._state[_NEXT]
            self._state[_NEXT] += 1
            self._state[_WAITERS + place] = identity.me() << _STATE_BITS | _WAITING
            return place

    def _leave(self, place: int, *, pass_on: bool = False) -> bool:
        """Give up a place; return whether its waiter was told, be it after its time-out.

        Where an exception ends the wait, nobody acts on that here: it is passed on.
        """
        with self._monitor.guard:
            told = self._state[_WAITERS + place] & _STATE == _TOLD
            self._state[_WAITERS + place] = 0
            if told and pass_on:
                self._tell(1)
            return told

    def _is_over(self, place: int, deaths: int) -> bool:
        mutex = self._lock._mutex
        return (
            self._state[_WAITERS + place] & _STATE == _TOLD
            or mutex.abandoned
            or mutex.deaths[0] != deaths
        )

    def _waiting(self) -> list[int]:
        """Return the places where somebody waits, who came first coming first."""
        words = self._state[_WAITERS : _WAITERS + _PLACES].tolist()
        places = [place for place, word in enumerate(words) if word & _STATE == _WAITING]
        return sorted(places, key=lambda place: self._state[_TICKETS + place])

    def _tell(self, n: int) -> None:
        places = self._waiting()[:n]
        for place in places:
            self._state[_WAITERS + place] += _TOLD - _WAITING
        if places:
            self._monitor.announce()

    def _bury(self) -> None:
        """Free the places of the dead; what they were told is told to others."""
        known = {identity.me(): True}
        for place, word in enumerate(self._state[_WAITERS : _WAITERS + _PLACES].tolist()):
            if not word:
                continue
            who = word >> _STATE_BITS
            if who not in known:
                known[who] = identity.alive(who)
            if not known[who]:
                self._state[_WAITERS + place] = 0
                if word & _STATE == _TOLD:
                    self._tell(1)


def _arrived(token: descriptors.Token, lock: Lock | RLock) -> Condition:
    condition = Condition.__new__(Condition)
    condition._attach(Monitor.claim(token), lock)
    return condition
