"""The first call of few, in a thread: so that a long one does not hold up the others.

A pilot in the owner's thread cannot be interrupted: of two calls of half a second, the other one
would begin when half of the time is over. Here the owner waits beside the first call, and when that
lasts long it lets the next ones begin: in threads if the first one waits, or computes and leaves
the GIL alone, else in processes. Only where nothing that calls could change is within their reach,
because what the first call does to the program is not known before it has ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext

from poolwise.executor.choice import Choice
from poolwise.executor.conduct import widen
from poolwise.executor.demand import DemandMeter, Lookout, cpu_of_others
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.first_call import Before, FirstCall, Patience
from poolwise.executor.lane import Lane
from poolwise.executor.lanes import START_WITHIN, CurrentLane
from poolwise.executor.reserve import Reserve
from poolwise.executor.widening import FIRST_WIDTH, MOST_AT_FIRST
from poolwise.machine import Facts
from poolwise.plan import Plan
from poolwise.planner import Limits, evened
from poolwise.probe import Sample
from poolwise.probe.changeable import nothing_can_change
from poolwise.probe.contention import HELPED, Demand
from poolwise.probe.payload import measure_payload
from poolwise.timing.children import cpu_of_programs, programs
from poolwise.timing.turns import QuickTurns
from poolwise.units import Seconds
from poolwise.wisdom import Entry

#: A call that has waited so long is a long one: what threads for others cost, several times.
_WAITED: Seconds = 2e-3

#: So long threads are watched before there are more of them.
_WATCHED: Seconds = 5e-3

#: One that has computed so long is a long one: ten times what a worker costs.
_COMPUTED: Seconds = 20e-3

#: A call that lasted so long in an earlier run is expected to be long, and is taken for a long one
#: when so much of it has shown whether it waits or computes.
_LONG: Seconds = 8e-3
_CONFIRMED: Seconds = 3e-3

#: A call that has lasted for less may have told its duration badly: a pilot tells more. What it may
#: have imported for the others shows when these are listened to.
_BRIEF: Seconds = 2e-3

#: With more inputs than this, one call more or less in the beginning does not matter; and whoever
#: has less of them would not wish to pay for the thread: 0.2 ms.
_FEW = 256

#: With so few inputs for each CPU this process is forked before the first call: there are too few
#: calls to make up for one that ran alone. It cannot be while that one runs, and costs some 4 ms,
#: with the pages that are copied after a fork: too much for more calls, which may be short.
_FEW_FOR_A_CPU = 2

#: Of up to so many, a first call that lasts very long is worth an executed server, which needs no
#: fork: of six calls of half a second on two CPUs it takes a sixth of the time.
_SOME_FOR_A_CPU = 8

#: Where they took less in an earlier run, all of them, they are not worth it: it is what the fork
#: costs, twice. Should they be long this time, workers come from an executed server, later.
_WORTH_A_FORK: Seconds = 10e-3

#: Those beside the first that use more of a CPU than this compute, and are not joined by more.
_COMPUTE = 0.5

#: Where a call had no CPU: for so many times what it computed, and so many seconds, at most. What
#: all threads have queued for is not the call's own.
_QUEUED_TIMES, _QUEUED_FOR = 1.0, 1e-3


class Opening:
    """Runs the first calls of a short workload. Used by the owner only.

    `sample` is what is known of these calls in the end, ``None`` if there were none. It is `brief`
    where a pilot can tell more. `held` is for what share of its time the first one, a long one that
    computes, held the GIL, as far as it was heard. `in_vain`: this process was forked for calls
    that were over before any worker was needed. `programs`: the first call has started some, and
    waited for them. `unsendable`: something of them does not pickle;
    no call that can still be kept here goes to a process, and in the next run none before it is
    known to pickle.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        current: CurrentLane,
        choice: Choice,
        facts: Facts,
        limits: Limits,
    ) -> None:
        self.sample: Sample | None = None
        self.held: float | None = None
        self.brief = False
        self.in_vain = False
        self.unsendable = False
        self._dispatch = dispatch
        self._current = current
        self._choice = choice
        self._limits = limits
        self._cpus = math.floor(facts.usable_cpus)
        self._reserve = Reserve(dispatch, choice, limits, self._cpus)
        self._patience = Patience(_WAITED, _COMPUTED)
        self._most: float = _FEW
        self._known_long = self._known_alone = self._known_short = False
        self._looked = False
        self._few = False  # so few calls that they end where they begin
        self._cautious = False
        self._before = Before(threads=0, programs=frozenset(), cpu=0.0)
        self._width = FIRST_WIDTH
        self.programs = False

    def steps(self, known: Entry | None = None, strangers: int = 0) -> Iterator[None]:
        """Run the first call, and others beside it if it is a long one.

        So many threads are `strangers` to it: they ran before. Calls that are `known` to be long
        have to last only until that seems to be true.
        """
        if known is not None:  # what cannot be sent, or waits, needs no processes at first
            self._cautious = known.profile.waits or not known.profile.payload.carried
            left = self._dispatch.remaining or 0
            self._known_short = left * known.profile.wall < _WORTH_A_FORK
        if known is not None and known.profile.wall >= _LONG:
            self._known_long = True
            # What starts workers meanwhile is not the call's, and within 3 ms much of all.
            self._known_alone = known.profile.beside <= HELPED * known.profile.cpu
            self._patience = Patience(_CONFIRMED, _CONFIRMED)
            self._most = math.inf if known.profile.waits else _FEW
            if known.learned and known.plan.mechanism == "thread":
                self._width = max(FIRST_WIDTH, known.plan.workers)
        if not self._is_for_this():
            return
        dispatch = self._dispatch
        if self._could_be_in_processes:
            self._few = self._left < _FEW_FOR_A_CPU * self._cpus
            few = self._few or (known is not None and self.begins_beside(known))
            self._reserve.prepare(few=few, fork=few and not self._known_short)
        self._before = Before(strangers, programs(), dispatch.clock.children_cpu())
        if self._known_long and self._reserve.at_once:
            self._reserve.start()
        dispatch.keep_specimen = True
        try:
            yield from self._first_call()
        finally:
            dispatch.keep_specimen = False

    def begins_beside(self, known: Entry) -> bool:
        """Whether workers begin beside a first call that is known to be long, and are not only
        started beside it.
        """
        long = known.profile.wall >= _LONG and known.plan.mechanism == "process"
        return long and (self._dispatch.remaining or 0) <= _SOME_FOR_A_CPU * self._cpus

    def beside_workers(self, strangers: int = 0) -> Iterator[None]:
        """Run the first call in a thread, and only that, while workers start for the others."""
        dispatch, clock = self._dispatch, self._dispatch.clock
        first = dispatch.open(Plan("thread", 1))
        others, meter = cpu_of_others(clock), DemandMeter(clock)
        dispatch.keep_specimen = True
        try:
            if dispatch.send_next(first, 1):
                with QuickTurns(), meter:
                    while first.in_flight:
                        dispatch.wait()
        finally:
            dispatch.keep_specimen = False
        queued = meter.demand.wanted - meter.demand.used
        self._note(first, queued, cpu_of_others(clock) - others)
        dispatch.retire(first)
        yield

    def _first_call(self) -> Iterator[None]:
        dispatch, reserve = self._dispatch, self._reserve
        lane = dispatch.open(Plan("thread", 1))
        while lane.active and not lane.ready_workers:
            dispatch.wait()
        if not lane.active:  # no thread is left: a pilot needs none
            reserve.let_go()
            return
        first = FirstCall(dispatch, lane, reserve, self._before, self._cpus)
        first.begin()
        shown = first.shows(self._patience)
        self.programs = first.programs
        computes = shown == "computes" and (self._known_alone or first.is_by_itself())
        long = lane.in_flight and computes
        if long and (beside := reserve.beside(lane)) is not None:
            yield from self._in_processes(lane, beside)
            self.held = first.held
            return
        self.in_vain = reserve.forked and not lane.in_flight
        reserve.let_go()
        if not lane.in_flight:
            self._note(lane, first.queued, first.others)
            self.brief = self.sample is None or self.sample.service < _BRIEF
            self.held = first.held if long else None  # else it may have imported all the time
            dispatch.retire(lane)
            yield
        elif shown == "waits":
            if first.is_light:
                self._width = max(self._width, MOST_AT_FIRST)
            elif first.programs and not self._known_long:  # they may compute most of the time
                self._width = evened(dispatch.remaining or 1, self._cpus)
            self._current.adopt(lane)
            yield from self._in_threads(lane, max(MOST_AT_FIRST, self._width))
        elif shown == "lets go":
            self._width = evened(dispatch.remaining or 1, self._cpus)
            lookout = Lookout(dispatch.clock)
            self._current.adopt(lane)
            yield from self._in_threads(lane, MOST_AT_FIRST)
            demand = lookout.look()
            self._note(lane, self._queued_each(lane, demand), self._others_beside(lane))
            self.held = first.held if demand.at_once else None  # it may have wanted the GIL later
        else:
            queued = first.queued
            while lane.in_flight:
                dispatch.wait()
            self.held = first.held
            self._note(lane, queued, first.others)
            dispatch.retire(lane)

    def _is_for_this(self) -> bool:
        dispatch = self._dispatch
        left = dispatch.remaining
        if left is None or not 2 <= left <= self._most or self._limits.max_concurrency < 2:
            return False
        if self._choice.refusal("thread") is not None:
            return False
        dispatch.prepare(1)
        prepared = dispatch.prepared
        return prepared is not None and nothing_can_change(*prepared)

    @property
    def _left(self) -> int:
        """Calls but for the first, which is drawn already."""
        left = self._dispatch.workload.remaining
        assert left is not None  # or nothing would be done here
        return left

    @property
    def _could_be_in_processes(self) -> bool:
        some = self._cpus > 1 and not self._cautious and self._left < _SOME_FOR_A_CPU * self._cpus
        return some and self._choice.refusal("process") is None

    def _in_threads(self, first: Lane, most: int) -> Iterator[None]:
        """Let others begin until one has ended, then let go on who knows more.

        More and more of them, up to `most`, as long as they only wait: those that compute in turn
        would keep each other, and the first, from an end.
        """
        dispatch, clock = self._dispatch, self._dispatch.clock
        most = min(most, self._limits.most_threads)
        most = max(1, min(most, dispatch.remaining or 1))
        width, period = min(self._width, most), _WATCHED
        while not first.calls:
            widen(dispatch, first, Plan("thread", width), START_WITHIN)
            if first.plan.workers < width:  # no more can be started soon
                most = width = first.plan.workers
            self._current.plan = first.plan
            began, used = clock.now(), clock.process_cpu() + self._cpu_of_programs()
            while not first.calls and (width == most or clock.now() - began < period):
                dispatch.fill()
                dispatch.wait(None if width == most else period)
                yield
            used = clock.process_cpu() + self._cpu_of_programs() - used
            if used > _COMPUTE * (clock.now() - began):
                period *= 2  # perhaps they come to wait
            else:
                width, period = min(2 * width, most), _WATCHED
        self._note(first, others=self._others_beside(first))

    def _cpu_of_programs(self) -> Seconds:
        """Return what programs have used that calls have started: they do what calls wait for."""
        if not self.programs:
            return 0.0
        used = cpu_of_programs(self._dispatch.clock, self._before.programs) - self._before.cpu
        return max(0.0, used)

    def _others_beside(self, lane: Lane) -> Seconds:
        """Return what `cpu_of_others` would be for the calls of a lane that have ended, if they had
        run alone: of what programs have used, as much as these have of the time of all calls.
        """
        reading = lane.observe(self._dispatch.clock.now())
        part = min(1.0, reading.service / max(lane.slot_time, 1e-9))
        return reading.cpu + part * self._cpu_of_programs()

    def _queued_each(self, lane: Lane, demand: Demand) -> float:
        """Return for what share of its time a call had no CPU, if that is known: who starts beside
        another one is on the same CPU for a while.
        """
        queued = (demand.wanted - demand.used) / lane.plan.workers
        return queued if math.isfinite(queued) else 0.0

    def _in_processes(self, first: Lane, beside: Lane) -> Iterator[None]:
        """Run the others in workers: a few to the end, more until the first one has ended. It may
        have been unlike the others.
        """
        dispatch, few = self._dispatch, self._few
        beside.width = beside.plan.concurrency
        while not dispatch.finished and beside.active and (few or not first.calls):
            # What starts workers is many system calls, each of which gives the GIL away.
            with QuickTurns() if beside.all_ready_at is None else nullcontext():
                dispatch.fill()
                dispatch.wait()
            if self._shows_unsendable(first, beside):
                self.unsendable = True
                break
            yield
        while dispatch.in_flight and not dispatch.workload.remaining:
            dispatch.wait()
            yield
        if beside.calls and not dispatch.remaining:
            self._current.plan = beside.plan
        self._note(first, others=self._others_beside(first))
        dispatch.retire(first)
        dispatch.retire(beside)

    def _shows_unsendable(self, first: Lane, beside: Lane) -> bool:
        """Whether a call has come back, or its result from the thread, that no process can send.

        Looked at once: when the first call has ended.
        """
        if beside.unsendable:
            return True
        specimen = self._dispatch.specimen
        if self._looked or not first.calls or specimen is None:
            return False
        self._looked = True
        return not measure_payload(*specimen, self._dispatch.clock).carried

    def _note(self, lane: Lane, queued: float = 0.0, others: Seconds = 0.0) -> None:
        """Keep what the calls were like; `queued` is the share of its time that one had no CPU,
        `others` what `cpu_of_others` grew by while it ran alone.
        """
        reading = lane.observe(self._dispatch.clock.now())
        if reading.calls:
            lost = min(reading.service * queued, _QUEUED_TIMES * reading.cpu + _QUEUED_FOR)
            wall = max(reading.cpu, reading.service - lost)
            helpers = max(0.0, others - reading.cpu)
            self.sample = Sample(reading.calls, 1, wall, wall, reading.cpu, helpers)
