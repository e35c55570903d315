"""`Semaphore` and `BoundedSemaphore`: permits, and who holds them."""

from __future__ import annotations

from _poolwise_worker import descriptors, timeouts
from _poolwise_worker.channels.identity import Holders
from _poolwise_worker.channels.monitor import Monitor
from _poolwise_worker.errors import OwnerDied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

#: Words of the state. Free permits are the permits there are, less those that are held by name;
#: so taking and giving is one store, and who is killed inside the guard does not damage the count.
_PERMITS, _DEATHS, _HOLDERS = 0, 1, 8
_MOST_HOLDERS = 256


class Semaphore:
    """A ``threading.Semaphore`` that also works between processes.

    A permit taken by ``with`` is held by this process. If it dies, those who wait get `OwnerDied`
    and the permit is there again; if nobody waits, the next who finds no permit does. A permit
    taken by `acquire` belongs to nobody, since anybody may release it: `BoundedSemaphore` looks
    after those too.

    Args:
        value: How many permits there are at first.

    Raises:
        NotImplementedError: if this system is not Linux.
    """

    __slots__ = ("__weakref__", "_holders", "_monitor", "_state")

    _bounded: ClassVar[bool] = False

    def __init__(self, value: int = 1) -> None:
        value = timeouts.count("value", value, 0)
        self._attach(Monitor.create())
        self._state[_PERMITS] = value

    def _attach(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._state = monitor.state
        self._holders = Holders(self._state[_HOLDERS : _HOLDERS + _MOST_HOLDERS], "permits")

    def __reduce__(self) -> tuple[Any, ...]:
        descriptors.require_carrier(self)
        return _arrived, (type(self), self._monitor.carry())

    def __repr__(self) -> str:
        with self._monitor.guard:
            free = self._free()
        return f"<poolwise.{type(self).__name__} value={free} at {id(self):#x}>"

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit; return whether there was one.

        Args:
            blocking: Whether to wait for one.
            timeout: Seconds to wait at most; ``None`` for ever.

        Raises:
            OwnerDied: if a process died that held one; then its permits are free.
        """
        until = 0.0
        if blocking:
            until = timeouts.until(timeout)  # type: ignore[assignment]
        elif timeout is not None:
            raise ValueError(f"timeout={timeout!r} with blocking=False: a wait that does not wait")
        return self._take(until, by_name=self._bounded)

    def release(self, n: int = 1) -> None:
        """Give back `n` permits, wherever they were taken.

        Raises:
            ValueError: if `n` is less than 1.
        """
        n = timeouts.count("n", n, 1)
        with self._monitor.guard:
            self._state[_PERMITS] += n
            self._monitor.announce()

    def __enter__(self) -> bool:
        return self._take(None, by_name=True)

    def __exit__(self, *_: object) -> None:
        with self._monitor.guard:
            if self._bounded or self._holders.mine():
                self._holders.give()
            else:  # entered before this process was forked from the one that holds it
                self._state[_PERMITS] += 1
            self._monitor.announce()

    def _take(self, until: float | None, *, by_name: bool) -> bool:
        with self._monitor.guard:
            if self._try(by_name=by_name):
                return True
            deaths = self._state[_DEATHS]
        return self._monitor.wait_until(lambda: self._try_again(deaths, by_name=by_name), until)

    # ---- inside the guard ----

    def _free(self) -> int:
        return self._state[_PERMITS] - self._holders.held()

    def _try(self, *, by_name: bool) -> bool:
        if self._free() <= 0:
            return False
        if by_name:
            self._holders.take()
        else:
            self._state[_PERMITS] -= 1
        return True

    def _try_again(self, deaths: int, *, by_name: bool) -> bool:
        if self._state[_DEATHS] != deaths:
            raise OwnerDied(self._told())
        if self._try(by_name=by_name):
            return True
        self._look_for_dead()
        return False

    def _look_for_dead(self) -> None:
        if sum(count for _, count in self._holders.dead()):
            self._state[_DEATHS] += 1
            self._monitor.announce()
            raise OwnerDied(self._told())

    def _told(self) -> str:
        name = type(self).__name__
        return (
            f"a process that held a permit of this {name} ended without releasing it; what it "
            f"worked on may be half changed. The permit is free again"
        )


class BoundedSemaphore(Semaphore):
    """A `Semaphore` whose permits are never more than at first.

    Each is taken before it is given back, so it is held by the process that took it, by `acquire`
    too, until that process releases it, or another does in its place.

    Args:
        value: How many permits there are.

    Raises:
        NotImplementedError: if this system is not Linux.
    """

    __slots__ = ()
    _bounded = True

    def release(self, n: int = 1) -> None:
        """Give back `n` permits.

        Raises:
            ValueError: if `n` is less than 1, or more than are taken.
        """
        n = timeouts.count("n", n, 1)
        with self._monitor.guard:
            taken = self._holders.held()
            if n > taken:
                raise ValueError(
                    f"release of {n} where {taken} of {self._state[_PERMITS]} permits are taken"
                )
            for _ in range(n):
                self._holders.give()
            self._monitor.announce()


def _arrived(cls: type[Semaphore], token: descriptors.Token) -> Semaphore:
    semaphore = cls.__new__(cls)
    semaphore._attach(Monitor.claim(token))
    return semaphore
