"""`Barrier`: a number of threads wait until all of them have come."""

from __future__ import annotations

from _poolwise_worker import descriptors, timeouts
from _poolwise_worker.channels.identity import Holders
from _poolwise_worker.channels.monitor import Monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

#: Words of the state: the generation counts how often the barrier has opened or was broken.
_GENERATION, _BROKEN, _DEAD, _DEATHS_SEEN, _HISTORY, _HOLDERS = 0, 1, 2, 3, 8, 128

#: How the last generations ended, each in a word of its own: a waiter may be late to look.
_REMEMBERED = 64
_OPENED, _FAILED = 0, 1
_MOST_PROCESSES = 256


class Barrier:
    """A ``threading.Barrier`` that also works between processes.

    If a process is killed that waits here, or is just passing, the barrier is broken, and all who
    wait get ``threading.BrokenBarrierError``. That somebody will never come cannot be known: give
    a time-out.

    Args:
        parties: How many threads, of all processes, open it.
        action: Called by the last that comes, before the others go on; travels with the barrier.
        timeout: Seconds that `wait` waits at most unless told otherwise; ``None`` for ever.

    Raises:
        NotImplementedError: if this system is not Linux.
    """

    __slots__ = ("__weakref__", "_action", "_holders", "_monitor", "_parties", "_state", "_timeout")

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        parties = timeouts.count("parties", parties, 1)
        if action is not None and not callable(action):
            raise TypeError(f"action={action!r}: a callable without arguments, or None")
        if timeout is not None:
            timeouts.check(timeout)
        self._attach(Monitor.create(), parties, action, timeout)

    def _attach(
        self,
        monitor: Monitor,
        parties: int,
        action: Callable[[], object] | None,
        timeout: float | None,
    ) -> None:
        self._monitor = monitor
        self._state = monitor.state
        self._holders = Holders(self._state[_HOLDERS : _HOLDERS + _MOST_PROCESSES], "places")
        self._parties = parties
        self._action = action
        self._timeout = timeout

    def __reduce__(self) -> tuple[Any, ...]:
        descriptors.require_carrier(self)
        return _arrived, (self._monitor.carry(), self._parties, self._action, self._timeout)

    def __repr__(self) -> str:
        state = "broken" if self.broken else f"waiters={self.n_waiting}/{self._parties}"
        return f"<poolwise.Barrier {state} at {id(self):#x}>"

    @property
    def parties(self) -> int:
        """How many threads open it."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many wait now."""
        with self._monitor.guard:
            return self._holders.held()

    @property
    def broken(self) -> bool:
        """Whether it is broken: `wait` refuses until `reset`."""
        return self._state[_BROKEN] != 0  # one word: no guard is needed to read it

    def wait(self, timeout: float | None = None) -> int:
        """Wait until as many threads as `parties` wait here.

        Args:
            timeout: Seconds to wait at most, else the barrier breaks; ``None`` for what the
                barrier was made with.

        Returns:
            The place in which this thread came, from 0 to ``parties - 1``.

        Raises:
            threading.BrokenBarrierError: if the barrier is broken, breaks or is reset meanwhile.
        """
        until = timeouts.until(self._timeout if timeout is None else timeout)
        generation = place = 0

        def enter() -> bool:
            nonlocal generation, place
            self._note_death_inside()
            if self._state[_BROKEN]:
                self._refuse()
            generation = self._state[_GENERATION]
            place = self._holders.held()
            if place == self._parties:  # all are here, and the last has not opened it yet
                return False
            self._holders.take()
            return True

        if not self._monitor.wait_until(enter, until, look=self._look_for_dead):
            self.abort()
            with self._monitor.guard:
                self._refuse()
        if place == self._parties - 1:
            self._open(generation)
        else:
            self._wait_for_others(generation, until)
        return place

    def abort(self) -> None:
        """Break the barrier: all who wait, and will, get ``threading.BrokenBarrierError``."""
        with self._monitor.guard:
            self._break()

    def reset(self) -> None:
        """Make it whole and empty; who waits gets ``threading.BrokenBarrierError``."""
        with self._monitor.guard:
            if self._holders.held():
                self._end(_FAILED)
            self._state[_BROKEN] = self._state[_DEAD] = 0
            self._state[_DEATHS_SEEN] = self._monitor.guard.deaths

    def _open(self, generation: int) -> None:
        try:
            if self._action is not None:
                self._action()
        except BaseException:
            with self._monitor.guard:
                if self._state[_GENERATION] == generation:
                    self._break()
            raise
        with self._monitor.guard:
            if self._state[_GENERATION] != generation:
                self._refuse()
            self._end(_OPENED)

    def _wait_for_others(self, generation: int, until: float | None) -> None:
        over = False
        try:
            over = self._monitor.wait_until(
                lambda: self._state[_GENERATION] != generation, until, look=self._look_for_dead
            )
        finally:
            with self._monitor.guard:
                if self._state[_GENERATION] == generation:
                    self._holders.give()
        with self._monitor.guard:
            if not over and self._state[_GENERATION] == generation:
                self._break()
            if self._ending(generation) == _FAILED:
                self._refuse()

    # ---- all inside the guard ----

    def _end(self, how: int) -> None:
        generation = self._state[_GENERATION]
        self._state[_HISTORY + generation % _REMEMBERED] = generation << 1 | how
        self._state[_GENERATION] = generation + 1
        self._holders.clear()
        self._monitor.announce()

    def _ending(self, generation: int) -> int:
        word = self._state[_HISTORY + generation % _REMEMBERED]
        return word & 1 if word >> 1 == generation else _OPENED

    def _break(self) -> None:
        self._state[_BROKEN] = 1
        self._end(_FAILED)

    def _look_for_dead(self) -> None:
        self._note_death_inside()
        for pid, _ in self._holders.dead():
            self._state[_DEAD] = pid
        if self._state[_DEAD] and not self._state[_BROKEN]:
            self._break()

    def _note_death_inside(self) -> None:
        """Break the barrier if somebody was killed while changing more than one word of it."""
        deaths = self._monitor.guard.deaths
        if self._state[_DEATHS_SEEN] != deaths:
            self._state[_DEATHS_SEEN] = deaths
            if not self._state[_BROKEN]:
                self._break()

    def _refuse(self) -> NoReturn:
        from threading import BrokenBarrierError

        dead = self._state[_DEAD]
        why = f": process {dead} was killed while it waited" if dead else ""
        raise BrokenBarrierError(f"the barrier is broken, or was reset{why}")


def _arrived(
    token: descriptors.Token,
    parties: int,
    action: Callable[[], object] | None,
    timeout: float | None,
) -> Barrier:
    barrier = Barrier.__new__(Barrier)
    barrier._attach(Monitor.claim(token), parties, action, timeout)
    return barrier
