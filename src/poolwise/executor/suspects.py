"""Calls that were lost with their worker, and run again: each by itself, in a worker with one
thread. Should that one die, too, no other call dies with it.

The lanes of the plan serve if their workers have one thread; else there is a *ward*, one process
with one thread, for as long as there are suspects.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from poolwise.executor.lane import Lane, Settler
from poolwise.mechanisms import Mechanism
from poolwise.plan import Plan
from poolwise.task import Batch, Columns, Exit, Task
from poolwise.units import Seconds

#: What the worker of the ward may take to end when it runs nothing, in seconds; then it is killed.
_WARD_ENDS: Seconds = 1.0


class Suspect(NamedTuple):
    """A call that was lost with its worker: its place in the output, and how that one ended."""

    number: int
    task: Task
    columns: Columns
    exit: Exit


class Sender(Settler, Protocol):
    """What suspects need of the dispatch that they belong to."""

    lanes: list[Lane]
    mechanism: Callable[[str], Mechanism]

    def room(self, lane: Lane) -> int:
        """Batches that may be sent down a lane now."""
        ...

    def launch(self, lane: Lane, first: int, batch: Batch, suspect: Exit | None = None) -> None:
        """Send a batch; with `suspect` it is one call, whose last worker ended like this."""
        ...

    def end_lane(self, lane: Lane, grace: Seconds | None) -> None:
        """Close a lane, and keep what it has done."""
        ...


class Suspects:
    """Those that wait to run again, and the ward if there is one. Used by the owner only."""

    def __init__(self, dispatch: Sender) -> None:
        self.ward: Lane | None = None
        self._dispatch = dispatch
        self.waiting: deque[Suspect] = deque()

    def add(self, suspect: Suspect) -> None:
        """Have a call run again."""
        self.waiting.append(suspect)

    def send(self) -> None:
        """Send those for which there is room; close the ward when it has nothing left to do."""
        if not self.waiting:
            if self.ward is not None and not self.ward.in_flight:
                self.close_ward(_WARD_ENDS)
            return
        while self.waiting and (lane := self._lane_with_room()) is not None:
            number, task, columns, exit = self.waiting.popleft()
            self._dispatch.launch(lane, number, Batch(task, columns), exit)

    def drop(self, number: int) -> bool:
        """Forget the call with this place in the output; whether it was here."""
        found = [each for each in self.waiting if each.number == number]
        for each in found:
            self.waiting.remove(each)
        return bool(found)

    def give_up(self) -> list[Suspect]:
        """Close the ward, and return those that wait: they will not run."""
        self.close_ward(0.0)
        given_up, self.waiting = list(self.waiting), deque()
        return given_up

    def close_ward(self, grace: Seconds | None) -> None:
        """End it, if there is one."""
        ward, self.ward = self.ward, None
        if ward is not None:
            self._dispatch.end_lane(ward, grace)

    def _lane_with_room(self) -> Lane | None:
        """Return one, and open the ward if no lane will ever have any."""
        single = [
            lane
            for lane in self._dispatch.lanes
            if lane.active
            and lane.plan.mechanism == "process"
            and lane.plan.threads_per_worker == 1
        ]
        if not single:
            if self.ward is None:
                process = self._dispatch.mechanism("process")
                self.ward = Lane(self._dispatch, Plan("process", 1), process, self._siblings())
                self.ward.pool.grow(1)
            single = [self.ward]
        return next((lane for lane in single if self._dispatch.room(lane) > 0), None)

    def _siblings(self) -> int:
        """How many processes share the CPUs with one more."""
        return 1 + max(
            (
                lane.plan.workers
                for lane in self._dispatch.lanes
                if lane.plan.mechanism == "process"
            ),
            default=0,
        )
