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
from pickle import PicklingError
from typing import Literal, TypeAlias

from poolwise.executor.beats import BEAT, Heartbeat
from poolwise.executor.choice import Choice
from poolwise.executor.conduct import widen
from poolwise.executor.demand import DemandMeter, ForeignMeter, Lookout, cpu_of_others
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.lane import Lane
from poolwise.executor.lanes import START_WITHIN, CurrentLane
from poolwise.executor.widening import FIRST_WIDTH, MOST_AT_FIRST
from poolwise.machine import Facts
from poolwise.plan import Plan
from poolwise.planner import Limits
from poolwise.probe import Sample
from poolwise.probe.changeable import nothing_can_change
from poolwise.probe.contention import HARDLY, HELPED, Demand
from poolwise.probe.payload import measure_payload
from poolwise.task import Refusal
from poolwise.timing.children import count_children
from poolwise.timing.turns import QuickTurns
from poolwise.units import Seconds
from poolwise.wisdom import Entry

#: A call that has waited so long is a long one: what threads for others cost, several times.
_WAITED: Seconds = 2e-3

#: So long threads are watched before there are more of them.
_WATCHED: Seconds = 5e-3

#: One that has computed so long is a long one: ten times what a worker costs. Less where workers
#: can be had at once: only long enough for it to import and connect before it comes to wait.
_COMPUTED: Seconds = 20e-3
_COMPUTED_BESIDE: Seconds = 10e-3

#: The same where they take an executed server, which is some 80 ms while a call holds the GIL.
_COMPUTED_ALONE: Seconds = 100e-3

#: So long quick turns help these to start; on a slow disk it may take seconds.
_STARTS_WITHIN: Seconds = 0.3

#: One that has computed so long may be one of these: then workers are started.
_MAY_BE_LONG: Seconds = 4e-3

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

#: A call that uses less of a CPU than this waits; than that, it does nothing else. One that uses
#: more than so much only computes: it imports nothing, which waits for files now and then.
_WAITS, _LIGHT, _ONLY = 0.5, 0.05, 0.9

#: So little of the computing is what a thread of a library is started for.
_FOR_NOBODY = 0.1

#: What a call has shown while it was watched. Those that have ended compute.
_Shown: TypeAlias = Literal["waits", "lets go", "computes"]

#: One that has come to wait while it was looked at is looked at for so much longer: if it uses
#: hardly any CPU, many may begin.
_ONCE_MORE: Seconds = 1e-3

#: Where a call had no CPU: for so many times what it computed, and so many seconds, at most. What
#: all threads have queued for is not the call's own.
_QUEUED_TIMES, _QUEUED_FOR = 1.0, 1e-3


class Opening:
    """Runs the first calls of a short workload. Used by the owner only.

    `sample` is what is known of these calls in the end, ``None`` if there were none. It is `brief`
    where a pilot can tell more. `held` is for what share of its time the first one, a long one that
    computes, held the GIL, as far as it was heard. `unsendable`: something of them does not pickle;
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
        self.unsendable = False
        self._dispatch = dispatch
        self._current = current
        self._choice = choice
        self._limits = limits
        self._cpus = math.floor(facts.usable_cpus)
        self._patience = _WAITED, _COMPUTED
        self._most: float = _FEW
        self._known_long = self._known_alone = False
        self._looked = False
        self._cautious = False
        self._beside: Lane | None = None  # for workers, that may have been started
        self._at_once = False  # whether they can be in a few milliseconds
        self._strangers = self._children = 0
        self._started = False
        self._width = FIRST_WIDTH

    def steps(self, known: Entry | None = None, strangers: int = 0) -> Iterator[None]:
        """Run the first call, and others beside it if it is a long one.

        So many threads are `strangers` to it: they ran before. Calls that are `known` to be long
        have to last only until that seems to be true.
        """
        if known is not None:  # what cannot be sent, or waits, needs no processes at first
            self._cautious = known.profile.waits or not known.profile.payload.carried
        if known is not None and known.profile.wall >= _LONG:
            self._known_long = True
            # What starts workers meanwhile is not the call's, and within 3 ms much of all.
            self._known_alone = known.profile.helpers <= HELPED * known.profile.cpu
            self._patience = _CONFIRMED, _CONFIRMED
            self._most = math.inf if known.profile.waits else _FEW
            if known.learned and known.plan.mechanism == "thread":
                self._width = max(FIRST_WIDTH, known.plan.workers)
        if not self._is_for_this():
            return
        self._strangers, self._children = strangers, count_children()
        dispatch = self._dispatch
        if self._few_for_processes:
            self._fork()
        if self._known_long and self._at_once:
            self._start_workers()
        dispatch.keep_specimen = True
        try:
            yield from self._first_call()
        finally:
            dispatch.keep_specimen = False

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
        dispatch = self._dispatch
        first = dispatch.open(Plan("thread", 1))
        while first.active and not first.ready_workers:
            dispatch.wait()
        if not first.active:  # no thread is left: a pilot needs none
            self._do_without_workers()
            return
        clock = dispatch.clock
        others, self._foreign = cpu_of_others(clock), ForeignMeter(clock)
        meter, beat = DemandMeter(clock), Heartbeat(clock)
        with QuickTurns(), meter:  # which begins with many system calls: before there is a call
            dispatch.send_next(first, 1)
            dispatch.inbox.wait(BEAT)  # a short call does not last until the first beat
        shown = self._what_shows(first, meter, beat)
        computes = shown == "computes" and (self._known_alone or self._by_itself(meter))
        long = first.in_flight and computes
        if long and (beside := self._workers_beside(first)) is not None:
            yield from self._in_processes(first, beside)
            return
        self._do_without_workers()
        queued = (
            meter.demand.wanted - meter.demand.used
        )  # on a busy machine, not the task's waiting
        if not first.in_flight:
            self._note(first, queued, cpu_of_others(clock) - others)
            self.brief = self.sample is None or self.sample.service < _BRIEF
            self.held = beat.held if long else None  # else it may have imported all the time
            dispatch.retire(first)
            yield
        elif shown == "waits":
            self._current.adopt(first)
            yield from self._in_threads(first, max(MOST_AT_FIRST, self._width))
        elif shown == "lets go":
            self._width, lookout = self._cpus, Lookout(clock)
            self._current.adopt(first)
            yield from self._in_threads(first, MOST_AT_FIRST)
            demand = lookout.look()
            self._note(first, self._queued_each(first, demand))
            self.held = beat.held if demand.at_once else None  # it may have wanted the GIL later
        else:
            while first.in_flight:
                dispatch.wait()
            self.held = beat.held
            self._note(first, queued, cpu_of_others(clock) - others)
            dispatch.retire(first)

    def _what_shows(self, lane: Lane, meter: DemandMeter, beat: Heartbeat) -> _Shown:
        """Watch the call in `lane` until it comes to wait, or seems not to need the GIL, or has
        computed for long. A first one may import and connect before it waits. Workers are started
        meanwhile, if they can be at once.
        """
        clock = self._dispatch.clock
        waited, computed = self._patience
        if self._at_once:
            computed = min(computed, _COMPUTED_BESIDE)
        began = before = queued = 0.0
        while True:
            # Of this stretch, however long: beside a call that holds the GIL a look takes a turn.
            own = self._watch_for(began + waited, lane, meter, beat)
            used, ended = meter.used, meter.elapsed
            share = (used - before - own) / max(ended - began, 1e-9)
            if share < _WAITS:  # did it have no CPU? To find that out takes ten turns
                already, queued = queued, meter.demand.wanted * ended - used
                share += (queued - already) / max(ended - began, 1e-9)
            if share < _WAITS:
                if began and share >= _LIGHT:  # in a part of the stretch it has computed
                    own = self._watch_for(ended + _ONCE_MORE, lane, meter, beat)
                    share = (meter.used - used - own) / max(meter.elapsed - ended, 1e-9)
                if share < _LIGHT and count_children() <= self._children:
                    self._width = max(self._width, MOST_AT_FIRST)
                return "waits"
            if share > _ONLY and ended >= _MAY_BE_LONG and self._lets_go(meter, beat):
                return "lets go"
            to_start = self._at_once and not self._started
            if to_start and lane.in_flight and ended >= _MAY_BE_LONG:
                since = clock.now()
                self._start_workers()
                computed -= clock.now() - since  # which no look of these has seen
                if not lane.in_flight:
                    return "computes"
            elif ended >= computed or not lane.in_flight:
                return "computes"
            began, before = ended, used

    def _watch_for(
        self, until: Seconds, lane: Lane, meter: DemandMeter, beat: Heartbeat
    ) -> Seconds:
        """Watch the call in `lane` until `meter` has run for so long; return the CPU time that
        watching takes, which is not the call's.
        """
        own = self._dispatch.clock.thread_cpu()
        self._watch(lane, meter, beat, until)
        return self._dispatch.clock.thread_cpu() - own

    def _lets_go(self, meter: DemandMeter, beat: Heartbeat) -> bool:
        """Whether a call computes without the GIL, as far as it was heard, and by itself.

        Not asked where workers can be had at once: what it comes to is not known yet.
        """
        if self._cpus < 2 or self._at_once or not beat.enough:
            return False
        held = beat.held
        return held is not None and held <= HARDLY and self._by_itself(meter)

    def _by_itself(self, meter: DemandMeter) -> bool:
        """Whether nobody computes for the first call: else no CPU is left for more such calls.

        On a busy machine threads want more CPUs than they would need on another one: it takes the
        owner long to get one again and again. There it counts what threads of libraries have used.
        """
        demand, one = meter.demand, 1.0 + self._strangers + _WAITS
        if demand.wanted < one:
            return True
        return demand.used < one and self._foreign.used < _FOR_NOBODY * meter.used

    def _watch(self, lane: Lane, meter: DemandMeter, beat: Heartbeat, until: Seconds) -> None:
        """Wait for the call in `lane` to end, until `meter` has run for so long."""
        with beat.beating(self._dispatch.inbox) as wait:
            while lane.in_flight and (left := until - meter.elapsed) > 0.0:
                with meter:
                    wait(left)

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
    def _few_for_processes(self) -> bool:
        left = self._dispatch.workload.remaining
        assert left is not None  # or nothing would be done here
        few = (
            self._cpus > 1 and not self._cautious and left < _FEW_FOR_A_CPU * self._cpus
        )  # one is drawn already
        return few and self._choice.refusal("process") is None

    def _fork(self) -> None:
        """Fork this process, if that is safe now, and open a lane for workers.

        Both before the first call: what that one changes for a while is none of theirs.
        """
        dispatch = self._dispatch
        process = dispatch.mechanism("process")
        if self._workers > 0:
            process.prepare(dispatch.workers.tasks)
            self._at_once = process.readiness(dispatch.workers).server
            self._beside = dispatch.add(Plan("process", self._workers))
            self._beside.width = 0  # nothing yet

    @property
    def _workers(self) -> int:
        """One for each CPU that the first call leaves."""
        workers = min(self._cpus - 1, self._dispatch.workload.remaining or 0)
        if self._limits.max_workers is not None:
            workers = min(workers, self._limits.max_workers - 1)
        return workers

    def _start_workers(self) -> None:
        """Start workers, most likely beside the first call."""
        if self._beside is None:
            return
        self._started = True
        try:
            with QuickTurns():
                self._dispatch.start(self._beside)
        except PicklingError as error:
            self._beside = None
            self._choice.refuse("process", Refusal(str(error), "use threads"))

    def _workers_beside(self, first: Lane) -> Lane | None:
        """Return the lane of workers beside a first call that is a long one, if there are any.

        Where another thread kept this process from being forked, they are started only now, and
        while they are the call may end.
        """
        if self._beside is not None and not self._started:
            self._start_late(first)
        beside = self._beside if self._started and first.in_flight else None
        return beside if beside is not None and beside.active else None

    def _start_late(self, first: Lane) -> None:
        """Start workers if the first call lasts longer than that takes, and wait until one of both
        is over.

        In quick turns for as long as that mostly takes: beside a call that asks the system for
        something every 4 ms, this thread had to wait for the GIL for 10 s.
        """
        dispatch, clock = self._dispatch, self._dispatch.clock
        with QuickTurns():
            until = first.opened_at + _COMPUTED_ALONE
            while first.in_flight and (left := until - clock.now()) > 0.0:
                dispatch.wait(left)
            if first.in_flight:
                self._start_workers()
            until = clock.now() + _STARTS_WITHIN
            while self._is_starting(first) and (left := until - clock.now()) > 0.0:
                dispatch.wait(left)
        while self._is_starting(first):
            dispatch.wait()

    def _is_starting(self, first: Lane) -> bool:
        """Whether the first call and the start of workers are under way."""
        lane = self._beside
        starting = lane is not None and lane.active and not lane.ready_workers
        return starting and bool(first.in_flight)

    def _do_without_workers(self) -> None:
        """Let go of workers that were sent nothing: whoever is not ready is not waited for."""
        if self._beside is not None:
            self._dispatch.drop(self._beside)
            self._beside = None

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
            began, used = clock.now(), clock.process_cpu()
            while not first.calls and (width == most or clock.now() - began < period):
                dispatch.fill()
                dispatch.wait(None if width == most else period)
                yield
            if clock.process_cpu() - used > _WAITS * (clock.now() - began):
                period *= 2  # perhaps they come to wait
            else:
                width, period = min(2 * width, most), _WATCHED
        self._note(first)

    def _queued_each(self, lane: Lane, demand: Demand) -> float:
        """Return for what share of its time a call had no CPU, if that is known: who starts beside
        another one is on the same CPU for a while.
        """
        queued = (demand.wanted - demand.used) / lane.plan.workers
        return queued if math.isfinite(queued) else 0.0

    def _in_processes(self, first: Lane, beside: Lane) -> Iterator[None]:
        """Run the others in workers, one for each CPU that the first call leaves."""
        dispatch = self._dispatch
        beside.width = beside.plan.concurrency
        while not dispatch.finished and beside.active:
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
        self._note(first)
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
