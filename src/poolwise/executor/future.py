"""The future of a submitted call: the standard one, with less around it."""

from __future__ import annotations

from _thread import LockType, RLock, allocate_lock
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import _base as standard
from threading import Condition
from typing import Any, TypeVar

from poolwise.ipc.slices import slices

T = TypeVar("T")

_ENDED = frozenset({standard.CANCELLED, standard.CANCELLED_AND_NOTIFIED, standard.FINISHED})


def _wake(sleepers: list[LockType]) -> None:
    while sleepers:
        sleepers.pop().release()


class _Condition(Condition):
    """What is inherited notifies those who sleep, too."""

    def __init__(self, guard: RLock, sleepers: list[LockType]) -> None:
        super().__init__(guard)
        self._sleepers = sleepers

    def notify_all(self) -> None:
        """Wake everybody."""
        _wake(self._sleepers)
        super().notify_all()


class CallFuture(Future[T]):
    """A `concurrent.futures.Future` that makes its condition when somebody first needs it.

    A condition is eight objects for the garbage collector. Most futures of short calls end before
    anybody waits for them, and then making it was most of what they cost; one object more in each
    is a tenth. To wait for a condition takes ten calls: so whoever waits sleeps on a lock of its
    own, in a list that the first of them makes.

    `_guard` guards the state, from the first moment on, and who sleeps. The condition is one around
    the same lock, so whoever takes the condition (what is inherited here, `wait`, `as_completed`)
    excludes whoever takes the lock. Under it `set_result` sees all who sleep, whoever comes later
    finds the result; and either that there is no condition, and then nobody waits for that, or the
    condition, and notifies it. Reentrant as the standard one is: a signal handler may ask a future
    that it has interrupted.
    """

    #: Ends the worker that runs the call, if `cancel` is to do that. Called without the lock.
    kill: Callable[[Future[Any]], object] | None = None

    #: A lock for each thread that waits for the end.
    _sleepers: list[LockType] | None = None

    def __init__(self) -> None:
        # Everything that the standard constructor sets, but for the condition; a test compares.
        self._guard = RLock()
        self._made: _Condition | None = None
        self._state = standard.PENDING
        self._result: T | None = None
        self._exception: BaseException | None = None
        self._waiters: list[standard._Waiter] = []
        self._done_callbacks: list[Callable[[Future[T]], object]] = []

    @property
    def _condition(self) -> Condition:  # type: ignore[override]
        with self._guard:
            if self._made is None:
                self._made = _Condition(self._guard, self._who_sleeps())
            return self._made

    def cancel(self) -> bool:
        """Cancel the call if it has not started, or if its worker may be killed; say whether."""
        if self.kill is None:
            return super().cancel()
        with self._condition:
            running = self._state == standard.RUNNING
            if running:
                self._state = standard.CANCELLED_AND_NOTIFIED
                for waiter in self._waiters:
                    waiter.add_cancelled(self)
                self._condition.notify_all()
        if not running:
            return super().cancel()
        self.kill(self)
        self._invoke_callbacks()  # type: ignore[attr-defined]
        return True

    def cancelled(self) -> bool:
        """Whether the call was cancelled."""
        with self._guard:
            return self._state in (standard.CANCELLED, standard.CANCELLED_AND_NOTIFIED)

    def running(self) -> bool:
        """Whether the call has started and has no end yet."""
        with self._guard:
            return self._state == standard.RUNNING

    def done(self) -> bool:
        """Whether the call has its end, or was cancelled."""
        with self._guard:
            return self._state in _ENDED

    def set_running_or_notify_cancel(self) -> bool:
        """Note that the call starts; false if it was cancelled, and then those who wait are told.

        Raises:
            RuntimeError: it has started before.
        """
        with self._guard:
            if self._state == standard.PENDING:
                self._state = standard.RUNNING
                return True
        return super().set_running_or_notify_cancel()

    def set_result(self, result: T) -> None:
        """Give the call its result.

        Raises:
            InvalidStateError: it has an end already.
        """
        with self._guard:
            if self._state in _ENDED:
                raise InvalidStateError(f"{self._state}: {self!r}")
            self._result = result
            self._state = standard.FINISHED
            for waiter in self._waiters:
                waiter.add_result(self)
            if self._sleepers:
                _wake(self._sleepers)
            if self._made is not None:
                self._made.notify_all()
        if self._done_callbacks:
            self._invoke_callbacks()  # type: ignore[attr-defined]

    def result(self, timeout: float | None = None) -> T:
        """Return the result; wait for it, at most `timeout` seconds.

        Raises:
            CancelledError: the call was cancelled.
            TimeoutError: it has no end yet.
            BaseException: what the call raised.
        """
        with self._guard:
            ended = self._state in _ENDED
        if not ended:
            self._wait(timeout)
        with self._guard:
            if self._state == standard.FINISHED and self._exception is None:
                return self._result  # type: ignore[return-value]
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, ``None`` if nothing; wait for it as `result` does.

        Raises:
            CancelledError: the call was cancelled.
            TimeoutError: it has no end yet.
        """
        self._wait(timeout)
        return super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        """Wait until the call has its end, at most `timeout` seconds.

        Who wakes: whoever gives the future its end, which the dispatcher does for every call
        before it ends itself.
        """
        sleeper = allocate_lock()
        sleeper.acquire()
        sleepers = self._who_sleeps()
        try:
            with self._guard:
                sleepers.append(sleeper)
            # Looked at only now: a signal handler of this thread, which the guard does not keep
            # out, may give the call its end at any moment.
            if self._state in _ENDED:
                return
            for left in slices(timeout):
                if sleeper.acquire(timeout=-1 if left is None else max(0.0, left)):
                    return
        finally:
            if sleeper in sleepers:  # as far as can be seen from here, nobody has woken it
                with self._guard:
                    if sleeper in sleepers:
                        sleepers.remove(sleeper)

    def _who_sleeps(self) -> list[LockType]:
        # In one step, which no signal handler can come between: there is one list.
        sleepers: list[LockType] = self.__dict__.setdefault("_sleepers", [])
        return sleepers
