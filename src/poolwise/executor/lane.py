"""A lane: an open pool with its share of the calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pickle import PicklingError
from typing import Protocol

from poolwise.ipc import Inbox
from poolwise.mechanisms import Mechanism, Pool, WorkerOptions
from poolwise.plan import Plan
from poolwise.planner.batching import (
    AHEAD_FOR_ALL,
    AHEAD_MEANWHILE,
    PLENTY,
    in_flight_batches,
)
from poolwise.probe import Sample
from poolwise.task import BatchId, Exit, Outcomes, WorkerId
from poolwise.timing.clock import Clock
from poolwise.units import PerSecond, Seconds

#: Batches at one worker: one that runs and one ahead, or as many as lie in a queue for all.
_DEPTH, _DEPTH_OF_ALL = 2, 1 + AHEAD_FOR_ALL

#: What a `TransferError` is, too; importing that one takes 10 ms.
_UNSENT = PicklingError


class Settler(Protocol):
    """What a lane needs of the dispatch that it belongs to."""

    inbox: Inbox
    clock: Clock
    workers: WorkerOptions

    looks_ahead: bool

    @property
    def remaining(self) -> int | None:
        """Calls that have no end yet, if that is known."""
        ...

    def has_only(self, lane: Lane) -> bool:
        """Whether no other lane could run what is sent down this one."""
        ...

    def done(self, batch: BatchId, first: int, outcomes: Outcomes) -> None:
        """Settle calls that ran."""
        ...

    def returned(self, batch: BatchId, first: int, count: int) -> None:
        """Queue calls that did not start."""
        ...

    def lost(self, batch: BatchId, first: int, count: int, exit: Exit) -> None:
        """Fail calls whose worker died under them."""
        ...

    def gone(self, lane: Lane, exit: Exit) -> None:
        """Note the death of a worker."""
        ...

    def fewer(self, lane: Lane, error: BaseException) -> None:
        """Note that a lane has to do with fewer workers."""
        ...

    def lane_failed(self, lane: Lane, error: BaseException) -> None:
        """Do without a lane that has no workers and can get none."""
        ...


class Lane:
    """An open pool, what it has in flight and what it has done. Is the sink of its pool."""

    def __init__(
        self, dispatch: Settler, plan: Plan, mechanism: Mechanism, siblings: int | None = None
    ) -> None:
        self.plan = plan
        self.inline = plan.mechanism == "inline"  # sending runs the calls
        self.ready_workers = 0
        self.opened_at = dispatch.clock.now()
        self.first_ready_at: Seconds | None = None
        self.all_ready_at: Seconds | None = None
        self.active = True  # takes new calls
        self.short = False  # has had to do with fewer workers
        self.unsendable = False  # a call failed because something could not be sent
        self.settled = False  # was decided for, not only passed through while learning
        self.width = plan.concurrency  # calls at once; never above the plan's
        self.in_flight = 0  # batches
        self.recalled = 0  # of these, those of which what had not started was asked for
        self.calls = 0
        self.service = 0.0
        self.cpu = 0.0
        self._widened_at = self.opened_at
        self._slot_time: Seconds = 0.0  # of all slots, up to then
        self.busy_since: Seconds | None = None
        self.busy_for: Seconds = 0.0
        self.mean_service: Seconds | None = None  # of recent calls
        self._dispatch = dispatch
        self._one_call = dispatch.workers.one_call and not self.inline
        options = dispatch.workers.under(plan)
        if siblings is not None:
            options = replace(options, siblings=siblings)
        self.pool: Pool = mechanism.open(options, self, dispatch.inbox)

    @property
    def room(self) -> int:
        """Batches that may be sent now."""
        if not self.active or not self.ready_workers:
            return 0
        slots = self.width
        if self._one_call:  # and none that waits behind it
            return min(slots, self.ready_workers) - self.in_flight
        if self.ready_workers < self.plan.workers:
            slots = min(slots, self.ready_workers * self.plan.threads_per_worker)
        most = in_flight_batches(
            self.plan,
            slots,
            self.mean_service,
            for_each_call=self._dispatch.looks_ahead,
            ahead_for_all=self._ahead_for_all,
        )
        room = most - self.in_flight
        if room <= 0 and self.recalled and self.width == self.plan.concurrency:
            # Several may be at one worker that does not answer, stopped or in C code with the GIL.
            return self.pool.idle
        return room

    @property
    def _ahead_for_all(self) -> int:
        """Batches for each call at once that may lie in a queue for the first that is free.

        0, which leaves it to their duration, where there are more threads than the plan has, or
        another lane: who is free first may be there. Few while something is learnt: calls are kept
        for those who run them then.
        """
        pool = self.pool
        alone = pool.first_free and pool.workers <= self.width and self._dispatch.has_only(self)
        if not alone:
            return 0
        if self.settled:
            return AHEAD_FOR_ALL
        left = self._dispatch.remaining
        return AHEAD_MEANWHILE if left is None or left >= PLENTY * self.width else 0

    @property
    def depth(self) -> int:
        """How many batches, with itself, one may have to wait for at its worker."""
        return _DEPTH_OF_ALL if self.pool.first_free else _DEPTH

    @property
    def slot_time(self) -> Seconds:
        """How long there has been room for calls, summed over it, as far as `widen` has made it."""
        return self._slot_time + self.width * (self._dispatch.clock.now() - self._widened_at)

    @property
    def mean_rate(self) -> PerSecond:
        """Calls a second over the life of the lane."""
        reading = self.observe(self._dispatch.clock.now())
        return reading.calls / reading.busy if reading.busy > 0.0 else 0.0

    def widen(self, plan: Plan) -> None:
        """Become a plan of more (or fewer) threads."""
        self._slot_time = self.slot_time
        self._widened_at = self._dispatch.clock.now()
        if plan.workers > self.pool.workers:
            self.pool.grow(plan.workers - self.pool.workers)
        self.plan, self.width = plan, plan.concurrency

    def observe(self, now: Seconds) -> LaneReading:
        """Read the counters, to compare with a later reading."""
        busy = self.busy_for + (now - self.busy_since if self.busy_since is not None else 0.0)
        return LaneReading(now, self.calls, self.service, self.cpu, busy)

    # ---- Sink -----------------------------------------------------------------------------

    def ready(self, worker: WorkerId) -> None:
        """Count the worker."""
        now = self._dispatch.clock.now()
        self.ready_workers += 1
        if self.first_ready_at is None:
            self.first_ready_at = now
        self._note_all_ready()

    def _note_all_ready(self) -> None:
        wanted = self.pool.workers if self.short else self.plan.workers
        if self.all_ready_at is None and 0 < wanted <= self.ready_workers:
            self.all_ready_at = self._dispatch.clock.now()

    def done(self, batch: BatchId, first: int, outcomes: Outcomes) -> None:
        """Count, and hand the outcomes on."""
        count = len(outcomes.values)
        if outcomes.errors and not self.unsendable:
            self.unsendable = any(isinstance(each, _UNSENT) for each in outcomes.errors.values())
        self.calls += count
        self.service += outcomes.service
        self.cpu += outcomes.cpu
        mean = outcomes.service / count
        # Recent calls count more, so that batches follow a drift; one odd call does little.
        weight = min(0.5, 0.05 * count)
        old = self.mean_service
        self.mean_service = mean if old is None else old + weight * (mean - old)
        self._dispatch.done(batch, first, outcomes)

    def returned(self, batch: BatchId, first: int, count: int) -> None:
        """Have the calls run elsewhere."""
        self._dispatch.returned(batch, first, count)

    def lost(self, batch: BatchId, first: int, count: int, exit: Exit) -> None:
        """Have the calls fail."""
        self._dispatch.lost(batch, first, count, exit)

    def gone(self, worker: WorkerId, exit: Exit) -> None:
        """Count one worker less; the pool starts another."""
        self.ready_workers = max(0, self.ready_workers - 1)
        self._dispatch.gone(self, exit)

    def fewer(self, error: BaseException) -> None:
        """Do with the others."""
        if not self.short:  # else it has been said
            self.short = True
            self._dispatch.fewer(self, error)
        self._note_all_ready()

    def failed(self, error: BaseException) -> None:
        """Stop using the lane."""
        self.active = False
        self._dispatch.lane_failed(self, error)


@dataclass(frozen=True, slots=True)
class LaneReading:
    """Counters of a lane at one moment."""

    at: Seconds
    calls: int
    service: Seconds
    cpu: Seconds
    busy: Seconds

    def until(self, later: LaneReading, concurrency: int) -> Sample:
        """Return what happened from here to `later`."""
        return Sample(
            calls=later.calls - self.calls,
            concurrency=concurrency,
            wall=later.busy - self.busy,
            service=later.service - self.service,
            cpu=later.cpu - self.cpu,
        )
