"""`Event`: a flag to wait for."""

from __future__ import annotations

from _poolwise_worker import descriptors, timeouts
from _poolwise_worker.channels.monitor import Monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FLAG, _TIMES_SET = 0, 1


class Event:
    """A ``threading.Event`` that also works between processes.

    Nobody owns it, so no death damages it.

    Raises:
        NotImplementedError: if this system is not Linux.
    """

    __slots__ = ("__weakref__", "_monitor", "_state")

    def __init__(self) -> None:
        self._attach(Monitor.create())

    def _attach(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._state = monitor.state

    def __reduce__(self) -> tuple[Any, ...]:
        descriptors.require_carrier(self)
        return _arrived, (self._monitor.carry(),)

    def __repr__(self) -> str:
        state = "set" if self.is_set() else "unset"
        return f"<poolwise.Event {state} at {id(self):#x}>"

    def is_set(self) -> bool:
        """Return whether the flag is set."""
        return self._state[_FLAG] != 0  # one word: no guard is needed to read it

    def set(self) -> None:
        """Set the flag and wake all who wait."""
        with self._monitor.guard:
            if not self._state[_FLAG]:
                # First this: then who waits hears of it even if this process dies here.
                self._state[_TIMES_SET] += 1
                self._state[_FLAG] = 1
                self._monitor.announce()

    def clear(self) -> None:
        """Reset the flag."""
        with self._monitor.guard:
            self._state[_FLAG] = 0

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set, or was for a moment; return false if the time-out came first.

        Args:
            timeout: Seconds to wait at most; ``None`` for ever.
        """
        until = timeouts.until(timeout)
        if self.is_set():
            return True
        state = self._state
        # If it is set after this, the flag stays set or the count has changed: neither is missed.
        times = state[_TIMES_SET]
        return self._monitor.wait_until(
            lambda: state[_FLAG] != 0 or state[_TIMES_SET] != times, until
        )


def _arrived(token: descriptors.Token) -> Event:
    event = Event.__new__(Event)
    event._attach(Monitor.claim(token))
    return event
