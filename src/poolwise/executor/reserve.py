"""Workers for the other calls of few, which may be started beside the first one."""

from __future__ import annotations

from pickle import PicklingError

from poolwise.executor.choice import Choice
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.lane import Lane
from poolwise.plan import Plan
from poolwise.planner import Limits, evened
from poolwise.task import Refusal
from poolwise.timing.turns import QuickTurns
from poolwise.units import Seconds

#: A first call that has computed so long is a long one where workers take an executed server,
#: which is some 80 ms while a call holds the GIL.
_COMPUTED_ALONE: Seconds = 100e-3

#: Of more than a few it is one after so long: this process can be forked as soon as it has ended,
#: and for the others less is lost.
_COMPUTED_BEFORE_SOME: Seconds = 150e-3

#: So long quick turns help these to start; on a slow disk it may take seconds.
_STARTS_WITHIN: Seconds = 0.3


class Reserve:
    """Worker processes for what runs beside the first call. Used by the owner only."""

    def __init__(self, dispatch: Dispatch, choice: Choice, limits: Limits, cpus: int) -> None:
        self.at_once = False  # whether they can be had in a few milliseconds
        self.started = False
        self.forked = False  # for these workers
        self._dispatch = dispatch
        self._choice = choice
        self._limits = limits
        self._cpus = cpus
        self._lane: Lane | None = None
        self._patience = _COMPUTED_ALONE

    def prepare(self, *, few: bool, fork: bool) -> None:
        """Fork this process, if that is wanted and safe now, and open a lane for workers. That they
        can be had at once counts for a `few` calls only: of more the first may be unlike the rest.

        Both before the first call: what that one changes for a while is none of theirs.
        """
        self._patience = _COMPUTED_ALONE if few else _COMPUTED_BEFORE_SOME
        dispatch, workers = self._dispatch, self._workers
        if workers > 0:
            plan, process = Plan("process", workers), dispatch.mechanism("process")
            options = dispatch.workers.under(plan)
            before = process.readiness(options).server
            if fork:
                process.prepare(options)
            self.at_once = few and process.readiness(options).server
            self.forked = self.at_once and not before
            self._lane = dispatch.add(plan)
            self._lane.width = 0  # nothing yet

    @property
    def _workers(self) -> int:
        calls = 1 + (self._dispatch.workload.remaining or 0)
        most = min(calls, evened(calls, self._cpus), self._limits.max_concurrency)
        if self._limits.max_workers is not None:
            most = min(most, self._limits.max_workers)
        return most - 1

    def start(self) -> None:
        """Start workers, if there is a lane for any; most likely beside the first call."""
        if self._lane is None:
            return
        self.started = True
        try:
            with QuickTurns():
                self._dispatch.start(self._lane)
        except PicklingError as error:
            self._lane = None
            self._choice.refuse("process", Refusal(str(error), "use threads"))

    def beside(self, first: Lane) -> Lane | None:
        """Return the lane of workers beside a first call that is a long one, if there are any.

        Where another thread kept this process from being forked, they are started only now, and
        while they are the call may end.
        """
        if self._lane is not None and not self.started:
            self._start_late(first)
        lane = self._lane if self.started and first.in_flight else None
        return lane if lane is not None and lane.active else None

    def _start_late(self, first: Lane) -> None:
        """Start workers if the first call lasts longer than that takes, and wait until one of both
        is over.

        In quick turns for as long as that mostly takes: beside a call that asks the system for
        something every 4 ms, this thread had to wait for the GIL for 10 s.
        """
        dispatch, clock = self._dispatch, self._dispatch.clock
        with QuickTurns():
            until = first.opened_at + self._patience
            while first.in_flight and (left := until - clock.now()) > 0.0:
                dispatch.wait(left)
            if first.in_flight:
                self.start()
            until = clock.now() + _STARTS_WITHIN
            while self._is_starting(first) and (left := until - clock.now()) > 0.0:
                dispatch.wait(left)
        while self._is_starting(first):
            dispatch.wait()

    def _is_starting(self, first: Lane) -> bool:
        """Whether the first call and the start of workers are under way."""
        lane = self._lane
        starting = lane is not None and lane.active and not lane.ready_workers
        return starting and bool(first.in_flight)

    def let_go(self) -> None:
        """Do without workers that were sent nothing: whoever is not ready is not waited for."""
        if self._lane is not None:
            self._dispatch.drop(self._lane)
            self._lane = None
