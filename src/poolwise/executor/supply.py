"""What runs next: calls that have come back, then those that the inputs give."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from poolwise.executor.collect import Collector
from poolwise.executor.workload import Workload
from poolwise.task import Columns, Task
from poolwise.timing.clock import Clock
from poolwise.units import Seconds


class Drawn(NamedTuple):
    """Calls of one task that are to run; the first of them has this place in the output."""

    first: int
    task: Task
    columns: Columns

    @property
    def calls(self) -> int:
        """How many there are."""
        return len(self.columns[0])


class Supply:
    """Draws calls, gives each a place in the output, and keeps those that came back, which go
    before all others. Used by the owner only.

    With a `look_ahead` no more than so many calls are drawn ahead of the results that were taken,
    and no more than there is `room` for.
    """

    def __init__(
        self,
        workload: Workload,
        collector: Collector,
        clock: Clock,
        look_ahead: int | None,
        room: Callable[[], int] | None,
    ) -> None:
        self.started_at: Seconds | None = None  # when the first input was asked for
        self.sent = 0  # calls that have a place in the output
        self._workload = workload
        self._collector = collector
        self._clock = clock
        self._look_ahead = look_ahead
        self._room = room
        self._back: deque[Drawn] = deque()

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left, as far as is known now."""
        return self._workload.exhausted and not self._back

    @property
    def left(self) -> int | None:
        """Calls that have not been sent, or have come back, if that is known."""
        left = self._workload.remaining
        return None if left is None else left + sum(each.calls for each in self._back)

    @property
    def at_hand(self) -> Drawn | None:
        """Calls that would be sent next, if they have been drawn."""
        return self._back[0] if self._back else None

    def take(self, size: int, mechanism: str) -> Drawn | None:
        """Return so many calls for a mechanism, or fewer; ``None`` if there are none now."""
        if self._back:
            first, task, columns = self._back.popleft()
            if len(columns[0]) > size:
                rest = tuple(column[size:] for column in columns)
                self._back.appendleft(Drawn(first + size, task, rest))
                columns = tuple(column[:size] for column in columns)
            return Drawn(first, task, columns)
        if self._look_ahead is not None:
            ahead = self._look_ahead if self._room is None else min(self._look_ahead, self._room())
            size = min(size, ahead - (self.sent - self._collector.delivered))
        if size < 1:
            return None
        if self.started_at is None:
            self.started_at = self._clock.now()
        first = self.sent
        drawn = self._workload.draw(size, mechanism)
        if drawn is None:
            return None
        task, columns = drawn
        self.sent += len(columns[0])
        return Drawn(first, task, columns)

    def put_back(self, drawn: Drawn) -> None:
        """Keep calls that did not run, or are to run again, for the next that are taken."""
        self._back.append(drawn)

    def drop(self, number: int) -> bool:
        """Forget the call with this place, if it is here by itself."""
        waiting = [each for each in self._back if each.first == number]
        for each in waiting:
            self._back.remove(each)
        return bool(waiting)

    def clear(self) -> None:
        """Forget what has come back."""
        self._back.clear()
