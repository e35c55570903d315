"""Which calls are where: the one place that knows.

A `Dispatch` belongs to one *owner*, the thread that drives it: the caller's own thread, inside
``next()``, for a map; a thread of its own for an executor. All of its methods run in that thread,
so nothing here is locked. A `Lane` is an open pool with its share of the calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from poolwise.executor import notices
from poolwise.executor.again import Again, Retries, runs
from poolwise.executor.collect import Collector
from poolwise.executor.flights import Flight, Flights
from poolwise.executor.lane import Lane
from poolwise.executor.losses import error_of, how_it_ended, met_a_limit
from poolwise.executor.record import Phase, PlanUse
from poolwise.executor.shortage import explained
from poolwise.executor.supply import Drawn, Supply
from poolwise.executor.suspects import Suspect, Suspects
from poolwise.executor.workload import Workload
from poolwise.ipc import Inbox
from poolwise.mechanisms import ANY_SIZE, Mechanism, WorkerOptions
from poolwise.plan import Plan
from poolwise.planner.batching import batch_size
from poolwise.task import Batch, BatchId, Columns, Exit, Outcomes, Task
from poolwise.timing.clock import Clock
from poolwise.units import Seconds

#: So long a story is enough.
_PHASES = 1000

#: Results that nobody has taken yet may be so many times as large as a batch at most: some 200 MB.
_BATCHES_AHEAD = 24

#: Where inputs come slowly, results are waited for so many times a call's duration: most calls
#: last no longer, and those that do delay the next input by less than a quarter of its own time.
_PATIENCE = 1.5


class Dispatch:
    """Draws calls, sends them down lanes, and settles each exactly once."""

    def __init__(
        self,
        workload: Workload,
        collector: Collector,
        *,
        workers: WorkerOptions = WorkerOptions(),  # noqa: B008 - frozen
        mechanisms: Callable[[str], Mechanism],
        inbox: Inbox,
        clock: Clock,
        look_ahead: int | None = None,
        bound_results: bool = False,
        max_concurrency: int | None = None,
        retries: Retries = Retries(),  # noqa: B008 - frozen
        on_done: Callable[[int, int], None] | None = None,
    ) -> None:
        self.workers = workers  # what those of every lane are like
        self.workload = workload
        self.collector = collector
        self.inbox = inbox
        self.clock = clock
        self.lanes: list[Lane] = []
        self.uses: list[PlanUse] = []
        self.phases: list[Phase] = []
        room = self._room_for_results if bound_results else None
        self.supply = Supply(workload, collector, clock, look_ahead, room)
        self.settled = 0
        self.longest: Seconds = 0.0  # a call has computed, as a mean of its batch; not the first
        self.failed_calls = 0
        self.lost_workers = 0
        self.killed = 0  # workers that were ended on purpose
        self.mechanism = mechanisms
        self.again = Again(retries)
        self._suspects = Suspects(self)
        self._look_ahead = look_ahead
        #: What is sent ahead cannot be cancelled any more: where users may, it is kept short.
        self.looks_ahead = look_ahead is not None
        self.keeps_results = False  # nobody takes them now, as in a survey
        self._max_concurrency = max_concurrency
        self.keep_specimen = False
        self.specimen: tuple[Columns, list[object]] | None = None
        self._on_done = on_done
        self._flights = Flights(self.lanes, clock)

    # ---- what the conductor reads ----------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether every call has its end and no more will come."""
        return self.nothing_left and not self._flights

    @property
    def nothing_left(self) -> bool:
        """Whether there is nothing more to send (as far as is known now)."""
        return self.supply.exhausted and not self._suspects.waiting

    @property
    def in_flight(self) -> int:
        """Batches that were sent and have calls without an end."""
        return len(self._flights)

    @property
    def remaining(self) -> int | None:
        """Calls that have no end yet, if that is known."""
        left = self.workload.remaining
        return None if left is None else left + self.supply.sent - self.settled

    @property
    def elapsed(self) -> Seconds:
        """Seconds since the first input was drawn."""
        began = self.supply.started_at
        return 0.0 if began is None else self.clock.now() - began

    @property
    def cpu_per_call(self) -> Seconds:
        """CPU time of a call, as a mean over all that have ended, wherever they ran."""
        uses = list(self.all_uses())
        calls = sum(use.calls for use in uses)
        return sum(use.cpu for use in uses) / calls if calls else 0.0

    def note(self, text: str) -> None:
        """Add a line to the story of the run."""
        if len(self.phases) < _PHASES:  # an executor may live for months
            self.phases.append(Phase(self.elapsed, text))

    # ---- lanes -----------------------------------------------------------------------------

    def open(self, plan: Plan) -> Lane:
        """Open a lane for `plan`; its workers start in the background.

        Raises:
            TransferError: the task cannot be sent to such workers.
        """
        lane = self.add(plan)
        self.start(lane)
        return lane

    def add(self, plan: Plan) -> Lane:
        """Open a lane for `plan`, without workers. These may `start` beside calls, which change for
        a while what workers should look like.
        """
        lane = Lane(self, plan, self.mechanism(plan.mechanism))
        self.lanes.append(lane)
        return lane

    def start(self, lane: Lane) -> None:
        """Start the workers of a lane, in the background; without a lane if that fails.

        Raises:
            TransferError: the task cannot be sent to such workers.
        """
        try:
            lane.pool.grow(lane.plan.workers)
        except BaseException:
            self._close_lane(lane, grace=0.0)
            raise

    def drop(self, lane: Lane) -> None:
        """Close a lane to which nothing was sent. Workers that are not ready are not waited for."""
        if lane in self.lanes:  # else its pool has failed
            lane.active = False
            self._close_lane(lane, grace=0.0)

    def retire(self, lane: Lane) -> None:
        """Send nothing more down `lane`; take back what has not started; close it when empty."""
        lane.active = False
        self.take_back(lane)
        self._close_if_empty(lane)

    def take_back(self, lane: Lane) -> None:
        """Have what has not started in `lane` run elsewhere, or there later."""
        self._flights.take_back(lane)

    def close(self, until: Seconds = 0.0) -> None:
        """End all lanes, whatever runs, and draw nothing more. Workers that have not ended by the
        time `until` are killed.
        """
        try:
            for lane in list(self.lanes):
                left = max(0.0, until - self.clock.now())
                self._close_lane(lane, grace=None if left == math.inf else left)
            self._suspects.give_up()
        finally:  # an exception of a signal handler must not leave its descriptors open
            self._flights.clear()
            self.supply.clear()
            self.inbox.close()

    def _close_if_empty(self, lane: Lane) -> None:
        if not lane.active and not lane.in_flight and lane in self.lanes:
            self._close_lane(lane, grace=None)

    def _close_lane(self, lane: Lane, *, grace: Seconds | None) -> None:
        self.lanes.remove(lane)
        self.end_lane(lane, grace)

    def end_lane(self, lane: Lane, grace: Seconds | None) -> None:
        """Close a lane, and keep what it has done."""
        reading = lane.observe(self.clock.now())
        if reading.calls:
            self.uses.append(
                PlanUse(lane.plan, reading.calls, reading.busy, reading.service, reading.cpu)
            )
        lane.pool.close(grace=grace)

    # ---- sending ---------------------------------------------------------------------------

    def send_next(self, lane: Lane, limit: int | None = None) -> int:
        """Send one batch down `lane`; returns how many calls it has, 0 if there are none now."""
        size = limit if limit is not None else self._size_for(lane)
        drawn = self.supply.take(size, lane.plan.mechanism)
        if drawn is None:
            return 0
        self.launch(lane, drawn.first, Batch(drawn.task, drawn.columns))
        return drawn.calls

    def launch(self, lane: Lane, first: int, batch: Batch, suspect: Exit | None = None) -> None:
        """Send a batch; with `suspect` it is one call, whose last worker ended like this."""
        self._note(Flight(lane, first, batch, batch.calls, self.clock.now(), suspect=suspect))
        lane.pool.send(batch)

    def _note(self, flight: Flight) -> None:
        lane = flight.lane
        if lane.busy_since is None:
            lane.busy_since = flight.sent_at
        self._flights[flight.batch.id] = flight
        lane.in_flight += 1

    def was_sent(self, lane: Lane, batch: Batch, at: Seconds) -> None:
        """Note a batch of one call that somebody else has sent down a lane, at this time."""
        self._note(Flight(lane, self.supply.sent, batch, 1, at))
        self.supply.sent += 1

    def prepare(self, calls: int) -> None:
        """Draw the next batch now, so that sending it waits for no input.

        Not while a result is ready and inputs come slowly: it would wait for them.
        """
        ready = self.workload.pace and self.collector.ready
        if self.supply.at_hand is None and not ready:
            drawn = self.supply.take(calls, "inline")
            if drawn is not None:
                self.supply.put_back(drawn)

    @property
    def prepared(self) -> tuple[Task, Columns] | None:
        """The calls that would be sent next, if they have been drawn."""
        drawn = self.supply.at_hand
        return None if drawn is None else (drawn.task, drawn.columns)

    def fill(self) -> None:
        """Send as much as the lanes have room for; a look-ahead that is used up stops it."""
        if self._suspects.waiting or self._suspects.ward is not None:
            self._suspects.send()
        if self._flights:
            self._flights.take_back_late()
        if self.nothing_left:
            if self._flights:
                self._flights.take_back_for_idle()
            # What no worker had begun is back at once, and nobody may be left to wake the owner.
            if self.supply.at_hand is None:
                for lane in self.lanes:
                    lane.pool.nothing_more()
                return
        for lane in self.lanes:
            while not lane.inline and self._can_send(lane) and self.send_next(lane):
                if self.workload.pace and self._let_results_out(lane):
                    return

    def _can_send(self, lane: Lane) -> bool:
        if self.workload.pace and self._result_may_go_out:  # it would wait for the next input
            return False
        return not self.supply.exhausted and self.room(lane) > 0

    def pump(self) -> None:
        """Take in what has come and send what there is room for, without waiting.

        Nothing is drawn from inputs that keep one waiting: a result is about to go out.
        """
        self.inbox.wait(0)
        # With a look-ahead of one, an input may come of the result that is about to go out.
        if not self.workload.pace and self._look_ahead != 1:
            self.fill()

    def _let_results_out(self, lane: Lane) -> bool:
        """Between two inputs that come slowly, see whether a result may go out.

        Where calls are much shorter than the time between inputs, it is worth waiting for theirs:
        drawing the next input would hold them back for longer than that delays the input.
        """
        pace, service = self.workload.pace, lane.mean_service
        if service is None:
            patience = pace / 4
        else:
            patience = _PATIENCE * service if service < pace / 4 else 0.0
        until = self.clock.now() + patience
        while not self.collector.ready and self._flights:
            if not self.inbox.wait(max(0.0, until - self.clock.now())):
                break
        return self.collector.ready

    def wait(self, timeout: Seconds | None = None) -> None:
        """Wait until something has happened, at most `timeout` seconds."""
        timeout = self._flights.patience(timeout, nothing_left=self.nothing_left)
        if not self._flights and self._result_may_go_out:
            timeout = 0.0  # nothing has to come before that; and nothing else may
        self.inbox.wait(timeout)

    @property
    def _result_may_go_out(self) -> bool:
        return self.collector.ready and not self.keeps_results

    def _size_for(self, lane: Lane) -> int:
        left = self.supply.left
        if left == 1 or self.workers.one_call:
            return 1
        most = min(self.workers.calls_per_worker or ANY_SIZE, lane.pool.largest_batch)
        if lane.plan.batch_size is not None:
            return min(most, lane.plan.batch_size)
        return min(most, batch_size(lane.plan, lane.mean_service, left))

    def room(self, lane: Lane) -> int:
        """Return how many batches may be sent down a lane now."""
        if self._max_concurrency is None:
            return lane.room
        # A batch that is sent ahead may run at once: here nothing is.
        return min(lane.room, self._max_concurrency - len(self._flights))

    def _room_for_results(self) -> int:
        """Return how many calls may be ahead of the results taken, so that large ones fit."""
        return min(
            (
                lane.pool.largest_batch * _BATCHES_AHEAD + 2 * lane.width
                for lane in self.lanes
                if lane.active
            ),
            default=ANY_SIZE,
        )

    # ---- what lanes ask and report -----------------------------------------------------------

    def has_only(self, lane: Lane) -> bool:
        """Whether no other lane could run what is sent down this one."""
        return not any(each.active and each.width for each in self.lanes if each is not lane)

    def done(self, batch: BatchId, first: int, outcomes: Outcomes) -> None:
        """Settle calls that ran, but for those that are to run again."""
        flight = self._flights[batch]
        count = len(outcomes.values)
        if self.settled:
            self.longest = max(self.longest, outcomes.cpu / count)
        if self.keep_specimen:
            self.specimen = flight.batch.columns, outcomes.values
        wanted = self.again.wanted(flight.first + first, outcomes.errors) if outcomes.errors else []
        for start, stop, again in runs(wanted, count) if wanted else ():
            if again:
                self._queue_again(flight, first + start, stop - start)
        self._end(flight, count)
        if wanted:
            self._settle_but(wanted, flight.first + first, outcomes)
        else:
            self._settle(flight.first + first, outcomes)

    def _settle_but(self, wanted: list[int], first: int, outcomes: Outcomes) -> None:
        """Settle all but those, by position in `outcomes`, that run again."""
        for start, stop, again in runs(wanted, len(outcomes.values)):
            if not again:
                self._settle(first + start, outcomes.part(start, stop))

    def _settle(self, first: int, outcomes: Outcomes) -> None:
        """Give calls, from place `first` of the output on, their end."""
        count = len(outcomes.values)
        self.settled += count
        self.failed_calls += len(outcomes.errors)
        self.again.forget(first, count)
        self.collector.add(first, outcomes)
        if self._on_done is not None:
            self._on_done(count, len(outcomes.errors))

    def returned(self, batch: BatchId, first: int, count: int) -> None:
        """Queue calls that did not start, before all others."""
        flight = self._flights[batch]
        if flight.cancelled:
            pass
        elif flight.suspect is None:
            self._queue_again(flight, first, count)
        else:
            self._suspect(flight, 0, flight.suspect)
        self._end(flight, count)
        if flight.cancelled:
            self._settle_cancelled(flight.first)

    def _queue_again(self, flight: Flight, first: int, count: int) -> None:
        columns = tuple(column[first : first + count] for column in flight.batch.columns)
        self.supply.put_back(Drawn(flight.first + first, flight.batch.task, columns))

    def lost(self, batch: BatchId, first: int, count: int, exit: Exit) -> None:
        """Fail calls whose worker died under them, or have them run again, each by itself."""
        flight = self._flights[batch]
        if flight.cancelled:
            self._end(flight, count)
            self._settle_cancelled(flight.first)
            return
        errors: dict[int, BaseException] = {}
        wanted = []
        for position in range(count):
            number = flight.first + first + position
            error = self._error_of(number, flight.batch.task, exit)
            retry = not met_a_limit(exit) or self.again.retries.matches_limit(error)
            if retry and self.again.takes(number):
                wanted.append(position)
                self._suspect(flight, first + position, exit)
            else:
                errors[position] = error
        self._end(flight, count)
        self._settle_but(wanted, flight.first + first, Outcomes([None] * count, errors))

    def _suspect(self, flight: Flight, position: int, exit: Exit) -> None:
        columns = tuple([column[position]] for column in flight.batch.columns)
        number = flight.first + position
        self._suspects.add(Suspect(number, flight.batch.task, columns, exit))

    def _error_of(self, number: int, task: Task, exit: Exit) -> BaseException:
        return error_of(number, task, exit, self.workers, self.again.tries(number))

    # ---- cancelling ------------------------------------------------------------------------

    def kill(self, number: int) -> None:
        """End the call with this place in the output, and the worker that runs it. Where it waits
        to run again, it does so no more. For workers with one call each.
        """
        for flight in self._flights.values():
            if flight.first == number:
                flight.cancelled = True
                flight.lane.pool.kill(flight.batch.id)
                return
        if self.supply.drop(number) or self._suspects.drop(number):
            self._settle_cancelled(number)

    def _settle_cancelled(self, number: int) -> None:
        from concurrent.futures import CancelledError

        self._settle(number, Outcomes([None], {0: CancelledError()}))

    def gone(self, lane: Lane, exit: Exit) -> None:
        """Note the death of a worker."""
        if exit.reason is None or exit.reason == "unguarded":
            self.lost_workers += 1
        else:
            self.killed += 1
        how = how_it_ended(exit)
        self.note(f"worker {exit.pid} {how}; another takes its place")
        notices.worker_died(exit, lane.plan, how, self.lost_workers + self.killed)

    def fewer(self, lane: Lane, error: BaseException) -> None:
        """Note that a lane has to do with fewer workers."""
        self.note(f"{lane.plan}: fewer, because one could not be started: {explained(error)}")
        notices.fewer_workers(lane.plan, error, lane.pool.workers)

    def lane_failed(self, lane: Lane, error: BaseException) -> None:
        """Retire a lane that has no workers and can get none; without another, say why.

        Raises:
            InitializerFailed: the initializer did not make workers of them.
            PoolFailed: there is no other lane.
        """
        from poolwise.errors import InitializerFailed

        self.note(f"{lane.plan} could not be opened: {explained(error)}")
        notices.no_workers(lane.plan, error)
        if isinstance(error, InitializerFailed):
            raise error  # in every other worker it may have done half of its work
        if lane is self._suspects.ward:
            for number, task, _, exit in self._suspects.give_up():  # as without another try
                self._settle(number, Outcomes([None], {0: self._error_of(number, task, exit)}))
            return
        if not any(other.active for other in self.lanes if other is not lane):
            from poolwise.errors import PoolFailed

            raise PoolFailed(f"no worker can be started: {explained(error)}") from error
        self._close_if_empty(lane)

    def _end(self, flight: Flight, count: int) -> None:
        flight.open_calls -= count
        if flight.open_calls:
            return
        del self._flights[flight.batch.id]
        lane = flight.lane
        lane.in_flight -= 1
        lane.recalled -= flight.recalled
        if not lane.in_flight and lane.busy_since is not None:
            lane.busy_for += self.clock.now() - lane.busy_since
            lane.busy_since = None
        if not lane.active:
            self._close_if_empty(lane)

    def all_uses(self) -> Iterator[PlanUse]:
        """What ran under each plan, lanes that are still open included."""
        yield from self.uses
        ward = self._suspects.ward
        for lane in [*self.lanes, *([ward] if ward is not None else [])]:
            reading = lane.observe(self.clock.now())
            if reading.calls:
                yield PlanUse(lane.plan, reading.calls, reading.busy, reading.service, reading.cpu)
