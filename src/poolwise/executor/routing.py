"""Which functions of an executor go to processes: learnt from what their calls used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from poolwise.executor.dispatch import Dispatch
from poolwise.executor.lane import Lane, LaneReading
from poolwise.machine import MachineProfile
from poolwise.plan import Plan
from poolwise.probe import read_traits
from poolwise.task import Outcomes, Task
from poolwise.units import Seconds

#: CPU time that a function's calls must have used before anything is said of it: some slices of
#: the GIL (5 ms), so that taking turns shows.
_ENOUGH: Seconds = 30e-3

#: Calls shorter than this stay with threads: sending one costs about as much.
_WORTH_SENDING: Seconds = 3e-4

#: CPUs kept busy by calls that take turns with the GIL.
_IN_TURN = (0.7, 1.3)

#: Functions remembered; the least recently used are forgotten first.
_MOST = 256


class _Seen:
    """What the calls of one function have used so far, and where they go."""

    __slots__ = ("calls", "cpu", "mechanism", "service", "settled")

    def __init__(self) -> None:
        self.calls = 0
        self.service: Seconds = 0.0
        self.cpu: Seconds = 0.0
        self.mechanism = "thread"
        self.settled = False


class LearningRouter:
    """Begins with threads, which are never wrong by much, and moves to processes the functions
    that compute while they hold the GIL. Belongs to the dispatcher thread.
    """

    def __init__(self, machine: MachineProfile, threads: Plan, processes: Plan) -> None:
        self._cpus = machine.facts.usable_cpus
        self._gil = machine.facts.gil
        self._threads = threads
        self._processes = processes
        self._seen: OrderedDict[Callable[..., Any], _Seen] = OrderedDict()
        self._dispatch: Dispatch | None = None
        self._thread_lane: Lane | None = None
        self._process_lane: Lane | None = None
        self._reading: LaneReading | None = None
        self.plan = threads

    def begin(self, dispatch: Dispatch) -> None:
        """Open the threads."""
        self._dispatch = dispatch
        self._thread_lane = dispatch.open(self._threads)

    def route(self, function: Callable[..., Any]) -> str | None:
        """Return ``"thread"`` until a function is known to need processes and they are ready."""
        seen = self._seen.get(_key(function))
        lane = self._process_lane
        if seen is None or seen.mechanism == "thread" or lane is None or not lane.active:
            return "thread"
        return "process" if lane.ready_workers else "thread"

    def learn(self, function: Callable[..., Any], outcomes: Outcomes) -> None:
        """Note what calls used; decide once enough is known."""
        key = _key(function)
        seen = self._seen.setdefault(key, _Seen())
        self._seen.move_to_end(key)
        if len(self._seen) > _MOST:
            self._seen.popitem(last=False)
        if seen.settled:
            return
        seen.calls += len(outcomes.values)
        seen.service += outcomes.service
        seen.cpu += outcomes.cpu
        if seen.cpu >= _ENOUGH:
            self._decide(function, seen)

    def _decide(self, function: Callable[..., Any], seen: _Seen) -> None:
        assert self._dispatch is not None
        assert self._thread_lane is not None
        lane, now = self._thread_lane, self._dispatch.clock.now()
        reading = lane.observe(now)
        since = self._reading or LaneReading(lane.opened_at, 0, 0.0, 0.0, 0.0)
        self._reading = reading
        wall = reading.busy - since.busy
        if wall <= 0.0:
            return
        calls_at_once = (reading.service - since.service) / wall
        busy = (reading.cpu - since.cpu) / wall
        if calls_at_once < 1.5:
            seen.calls, seen.service, seen.cpu = 0, 0.0, 0.0
            return  # one call at a time: no plan is better than another
        seen.settled = True
        in_turn = _IN_TURN[0] <= busy <= min(_IN_TURN[1], 0.9 * self._cpus)
        long_enough = seen.cpu / seen.calls >= _WORTH_SENDING
        if self._gil and in_turn and long_enough and self._cpus > 1.0:
            if read_traits(Task(function)).elsewhere is None:
                seen.mechanism = "process"
                self._open_processes()

    def _open_processes(self) -> None:
        assert self._dispatch is not None
        if self._process_lane is None or not self._process_lane.active:
            self._process_lane = self._dispatch.open(self._processes)
            self.plan = self._processes


def _key(function: Callable[..., Any]) -> Any:
    try:
        hash(function)
    except TypeError:
        return id(function)
    return function
