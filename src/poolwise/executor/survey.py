"""Learning where the time of a task goes, on calls that have to be run anyway.

Pilot, then one of two: beside computing calls it is heard whether they hold the GIL, waiting calls
get more and more threads while throughput grows. All results are kept; nothing is run "to see".
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from _poolwise_worker.heap import keeps_memory
from poolwise.executor.beats import BEAT, Heartbeat
from poolwise.executor.demand import DemandMeter, PagingMeter
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.lane import Lane
from poolwise.executor.lanes import CurrentLane
from poolwise.machine import MachineProfile
from poolwise.plan import Plan
from poolwise.planner import Limits
from poolwise.probe import EffectWatch, Payload, Pilot, Sample, TaskProfile, measure_payload
from poolwise.probe.changeable import nothing_can_change
from poolwise.probe.contention import (
    Demand,
    after_a_while,
    after_confirming,
    after_listening,
    after_progress,
    after_widening,
    is_divided,
    not_listened_to,
    progress,
)
from poolwise.probe.pilot import WARMER
from poolwise.task import Columns, Refusal, Task
from poolwise.timing.turns import QuickTurns
from poolwise.units import Seconds, duration, plural, rate

#: Listening mostly delays parallelism by so long: some beats, each prolonged by a turn.
LISTENS_FOR: Seconds = 10e-3

#: Threads are watched for so long before the GIL is taken to be free.
_CONFIRMS_FOR: Seconds = 10e-3

#: And so often, until they use more than one CPU: they have to start, and other load hides it. With
#: what it takes to read the clocks of many threads, each of which has to wait for the GIL, it ends
#: after so many seconds.
_CONFIRMS = 3
_CONFIRMS_AT_MOST: Seconds = 50e-3

#: Calls so short that so many of them fit into that time are counted instead: what threads of them
#: use of the CPUs may be what it takes to pass the GIL to and fro. (Of two to ten, a count says too
#: little: calls that run at once seemed to do between 1.1 and 1.9 times as much.)
_COUNTED = 25

#: Threads with which widening begins, at least and at most.
_FIRST_WIDTH, _FIRST_WIDTH_MOST = 8, 32

#: A sample takes two rounds of calls. One that takes so many times a call's duration is given up:
#: calls have changed, or have to wait for something, and what is there tells.
_ROUNDS = 5.0

#: What threads may take to start, before the first of these calls begins.
_START: Seconds = 10e-3

#: Doubling the threads must bring so much more throughput to be worth another doubling.
_STILL_GROWS = 1.3

#: A throughput of so much of what all threads could reach is all of it.
_FULL = 0.8

#: Calls that compute for less than this share of their time are widened faster.
_LIGHT = 0.05

#: Threads for each that the mean of waiting and computing asks for: below twice as many, those
#: that come back from waiting too often find nobody computing.
_ENOUGH_THREADS = 2.0

#: Computing that takes so many times as long as before, or as little, has changed; means over a
#: few calls differ by less.
_DRIFT = 3.0

#: Before a call's arguments and results have been seen.
_UNKNOWN = Payload()

#: Means over a few calls of one function may differ by so much where its calls differ widely.
_SKEW = 10.0

#: Looking at the size of arguments and results takes about so long.
_LOOK_FOR: Seconds = 1e-3


class Survey:
    """What is known of one task so far. Used by the owner only."""

    def __init__(
        self, dispatch: Dispatch, current: CurrentLane, machine: MachineProfile, limits: Limits
    ) -> None:
        self.profile: TaskProfile | None = None
        self.refusal: Refusal | None = None  # of everything but the plain loop
        self.unsendable = False  # something of a call was found not to pickle
        self.held: float | None = None  # for what share of its time the first call held the GIL
        #: Other threads that ran before any call did: OpenBLAS lets its own poll for 0.1 s after it
        #: was loaded. What they use is not used for calls.
        self.strangers = 0
        self.learned = False
        self.conclusive = True  # false: there were too few calls to learn from
        self._dispatch = dispatch
        self._paging = PagingMeter(dispatch.clock)
        self._current = current
        self._machine, self._facts = machine, machine.facts
        self._limits = limits

    def pilot(self, expected: TaskProfile | None = None) -> None:
        """Run the first calls in the caller, one at a time, and see what they do.

        Calls that are as `expected` need not be timed any longer; that each changes what it shares
        with the program is looked for as ever.
        """
        dispatch, watch = self._dispatch, EffectWatch()
        watched: tuple[Task, Columns] | None = None

        def prepare(calls: int) -> None:
            nonlocal watched
            if watched is not None:
                watch.after(*watched)
            dispatch.prepare(calls)
            watched = dispatch.prepared
            if watched is not None:
                watch.before(*watched)

        def run(calls: int) -> int:
            # The result of a call must not wait for an input that comes slowly.
            late = dispatch.workload.pace and dispatch.collector.ready
            return 0 if late else dispatch.send_next(self._current.lane, calls)

        dispatch.keep_specimen = True
        sample = Pilot(run, dispatch.clock, prepare).sample(
            lambda sample: self.is_as(sample, expected)
        )
        dispatch.keep_specimen = False
        prepare(1)
        while watch.undecided and run(1):
            prepare(1)
        self.refusal = watch.refusal
        if sample.calls:
            self.begin_with(sample, "pilot in the caller")

    def is_as(self, sample: Sample, expected: TaskProfile | None) -> bool:
        """Whether calls are as `expected`, if anything is."""
        return expected is not None and _alike(self._first_profile(sample), expected)

    def is_clear(self, sample: Sample, expected: TaskProfile | None) -> bool:
        """Whether a pilot could tell nothing more: calls are as `expected`, and the next one could
        change nothing, as the first could not.
        """
        if not self.is_as(sample, expected):
            return False
        self._dispatch.prepare(1)
        prepared = self._dispatch.prepared
        return prepared is not None and nothing_can_change(*prepared)

    def begin_with(self, sample: Sample, where: str) -> None:
        """Know of a task what its first calls have shown."""
        dispatch, payload = self._dispatch, self._payload(sample)
        if self.unsendable:
            payload = replace(payload, carried=False)
        task = self.profile = self._first_profile(sample, payload)
        self._paging = PagingMeter(dispatch.clock)
        text = f"{where}: {plural(sample.calls, 'call')} of {duration(task.wall)}"
        if task.waiting > 0.02 * task.wall:
            text += f", waits {duration(task.waiting)}, computes {duration(task.cpu)}"
        dispatch.note(text)

    def see_paging(self) -> None:
        """Note what calls here, but for the first ones, spend on memory that workers would keep."""
        task, plan = self.profile, self._current.plan
        if task is None or plan.mechanism == "process" or not self._workers_keep:
            return
        share = self._paging.share
        self.profile = replace(task, paging=share * task.cpu)
        if share and not task.paging:
            self._dispatch.note(f"page faults take {share:.0%} of the computing; workers have few")

    @property
    def _workers_keep(self) -> bool:
        """Whether workers keep memory for their calls; see ``_poolwise_worker/heap.py``."""
        return keeps_memory() and not self._dispatch.workers.one_call

    def _first_profile(self, sample: Sample, payload: Payload = _UNKNOWN) -> TaskProfile:
        helpers = sample.helpers - self.strangers * sample.wall
        return TaskProfile.of(replace(sample, helpers=helpers), payload, gil=self._facts.gil)

    def take_up(self, known: TaskProfile, learned: bool) -> bool:
        """Go on from what an earlier run has learnt, if the first calls do not contradict it.

        Computing calls that are somewhat longer or shorter hold the GIL for the same share: then
        only that is taken over. Whether arguments and results can be sent is always as seen now.
        """
        task = self.profile
        if task is None or self.refusal is not None or self.learned:
            return False
        if _alike(task, known):
            carried = task.payload.carried and known.payload.carried
            self.profile = replace(known, payload=known.payload if carried else task.payload)
        elif learned and _same_kind(task, known):
            low, high = known.gil_low / known.cpu, known.gil_high / known.cpu
            self.profile = task.with_gil(low * task.cpu, high * task.cpu)
        else:
            self._dispatch.note("calls are not as remembered: all is learnt anew")
            self._begin_narrow()
            return False
        self.learned = learned
        return True

    def _begin_narrow(self) -> None:
        """Take back threads that were opened on the word of an earlier run."""
        current = self._current
        if current.plan.mechanism == "thread" and current.lane.width > _FIRST_WIDTH:
            current.plan = Plan("thread", _FIRST_WIDTH)
            current.lane.widen(current.plan)

    def doubt(self, cpu: Seconds) -> None:
        """Forget what was taken over: calls that use `cpu` seconds now did not do what it says."""
        assert self.profile is not None
        recent = replace(self.profile.with_cpu(cpu), outside=None)
        self.profile = recent.with_gil(0.0, recent.cpu if self._facts.gil else 0.0)
        self.learned = False
        self._dispatch.note("the plan does not reach what was remembered: all is learnt anew")

    def drifted(self, plan: Plan, sample: Sample) -> bool:
        """Whether calls that waited compute now, or the reverse; then forget what was learnt.

        Calls that only became longer or shorter still hold the GIL as they did.
        """
        task = self.profile
        if task is None:
            return False
        recent = task.with_cpu(sample.cpu / sample.calls)
        turned = recent.waits != task.waits or (task.waits and recent.cpu > task.cpu)
        if not turned or _near(recent.cpu, task.cpu, task.wall):
            return False
        if plan.mechanism == "process":
            # They suit both kinds of calls, and threads have nothing to tell that would be worth
            # going back to them: the GIL is taken to be held for the same share as before.
            self.profile = recent
            self._dispatch.note(f"calls have changed: they compute {duration(recent.cpu)} now")
            return True
        used = Demand(sample.cpu / sample.wall, sample.cpu / sample.wall)
        if plan.mechanism == "thread" and used.fills_one and used.in_turn and self._facts.gil:
            # So many threads, and one CPU: nothing need be heard.
            low, high = used.share()
            self.profile = recent.with_gil(low * recent.cpu, high * recent.cpu)
        else:
            self.profile = recent.with_gil(0.0, recent.cpu if self._facts.gil else 0.0)
            self.learned = False
        self._dispatch.note(f"calls have changed: they compute {duration(recent.cpu)} now")
        return True

    def settled(self, plan: Plan, used: float) -> bool:
        """Whether threads at work, which use so many CPUs, have answered what was left open."""
        task = self.profile
        if task is None or not self.learned or plan.mechanism != "thread" or plan.workers < 2:
            return False
        self.profile = after_a_while(task, used, plan.workers)
        if self.profile == task:
            return False
        self._dispatch.note(f"threads use {used:.1f} CPUs, whatever else runs here")
        return True

    def learn(self, task: TaskProfile, listen: bool = True) -> Iterator[None]:
        """Run calls in threads, and refine the profile by what that shows."""
        self.learned = True
        if task.waits:
            yield from self._widen(task)
        elif self._facts.gil and self._facts.usable_cpus > 1.0:
            held, self.held = self.held, None  # what is learnt anew later is heard anew
            if held is not None:
                yield from self._hear(held, 1)
            elif listen:
                yield from self._listen(task)
            else:
                self.profile = not_listened_to(task)
                self._dispatch.note("no more learnt: processes do as well as threads could")

    def _payload(self, sample: Sample) -> Payload:
        specimen, self._dispatch.specimen = self._dispatch.specimen, None
        if specimen is None:
            return Payload()
        columns, values = specimen
        each = max(sample.service / sample.calls, 1e-7)
        calls = max(1, min(len(values), int(_LOOK_FOR / each)))
        cut = tuple(column[:calls] for column in columns)
        return measure_payload(cut, values[:calls], self._dispatch.clock)

    def _listen(self, task: TaskProfile) -> Iterator[None]:
        """Hear whether calls hold the GIL: beside as many as would use one CPU."""
        dispatch = self._dispatch
        threads = max(1, round(task.wall / (task.cpu + task.helpers)))
        threads = min(threads, self._most_threads())
        lane = yield from self._current.move(Plan("thread", threads), task)
        start, beat = lane.observe(dispatch.clock.now()), Heartbeat(dispatch.clock)
        with beat.beating(dispatch.inbox) as wait:
            while not dispatch.finished and not beat.enough:
                dispatch.fill()
                if dispatch.nothing_left or not dispatch.in_flight:
                    break
                wait(BEAT)  # not while the user does something with results
                yield
        self._see_later_ones(start.until(lane.observe(dispatch.clock.now()), threads))
        yield from self._hear(beat.held, threads)

    def _see_later_ones(self, sample: Sample) -> None:
        """Believe these calls where the first one seems to have imported and connected for them."""
        task = self.profile
        assert task is not None
        if sample.calls and task.wall > WARMER * sample.service / sample.calls:
            self.profile = self._first_profile(sample, task.payload)

    def _hear(self, held: float | None, threads: int) -> Iterator[None]:
        """Learn from the share of the time in which one of so many calls, of which hardly two
        computed at once, held the GIL.
        """
        task = self.profile
        assert task is not None
        self.conclusive = held is not None
        if held is None:
            return
        task = self.profile = after_listening(task, held, threads)
        dispatch = self._dispatch
        dispatch.note(f"heard beside a call: the GIL is held {held:.0%} of the time")
        if not dispatch.nothing_left and task.gil_low < 0.5 * task.cpu:
            yield from self._confirm(task)

    def _confirm(self, task: TaskProfile) -> Iterator[None]:
        """Run so many calls at once as would use two CPUs if the GIL is free: do they?

        Calls that hold it again and again, for less than a turn, are not heard; and they are in the
        way of each other all the more.
        """
        dispatch = self._dispatch
        threads = max(2, math.ceil(2.0 * task.wall / (task.cpu + task.helpers) - 0.2))
        threads = min(threads, self._most_threads())
        if threads < 2:
            return
        lane = yield from self._current.move(Plan("thread", threads), task)
        if is_divided(task) or _COUNTED * task.wall < _CONFIRMS_FOR:
            yield from self._see_progress(lane, task)
            return
        until = dispatch.clock.now() + _CONFIRMS_AT_MOST
        for _ in range(_CONFIRMS):
            meter = DemandMeter(dispatch.clock)
            while not dispatch.finished and (left := _CONFIRMS_FOR - meter.elapsed) > 0.0:
                dispatch.fill()
                if dispatch.nothing_left or not dispatch.in_flight:
                    return
                with QuickTurns(), meter:
                    dispatch.wait(left)
                yield
            if dispatch.finished:
                return
            demand = meter.demand
            if demand.at_once or dispatch.clock.now() > until:
                break
        self.profile = after_confirming(task, lane.width, demand)
        word = "run at once"
        if self.profile.gil_low > task.gil_low:
            word = "take turns" if demand.in_turn else "are hidden by other load"
        dispatch.note(f"{threads} threads {word}: they use {demand.used:.1f} CPUs")

    def _see_progress(self, lane: Lane, task: TaskProfile) -> Iterator[None]:
        """Look how many calls end, of such as hold the GIL for a part, or again and again."""
        width, limit = lane.width, _START + _ROUNDS * task.wall
        sample = yield from self.sample(lane, 2 * width, width, _CONFIRMS_FOR, at_most=limit)
        if not sample.calls:
            return
        gained = progress(task, sample)
        self.profile = after_progress(task, gained, width)
        self._dispatch.note(f"{width} threads do {gained:.1f} times as much as one")

    def _widen(self, task: TaskProfile) -> Iterator[None]:
        """Run waiting calls in more and more threads while throughput grows."""
        dispatch, cpus = self._dispatch, self._facts.usable_cpus
        light = task.cpu < _LIGHT * task.wall
        # With these the GIL would be full if it is held, and one sample tells.
        filling = math.ceil(1.5 * task.wall / max(task.cpu, 1e-6))
        begun = self._current.lane.width if self._current.plan.mechanism == "thread" else 0
        # Those that are there have shown that they mostly wait, whatever the first call did.
        width = max(begun, min(max(filling, _FIRST_WIDTH), _FIRST_WIDTH_MOST))
        width = min(width, self._most_threads())
        narrow: Sample | None = None
        before = width if width > begun else 0  # calls that began under another width
        while True:
            plan = Plan("thread", width)
            lane = yield from self._current.move(plan, task)
            meter = DemandMeter(dispatch.clock)
            limit = _START + _ROUNDS * task.wall
            sample = yield from self.sample(lane, width, before, meter=meter, at_most=limit)
            if not sample.calls or dispatch.nothing_left:
                return
            # The first calls may have imported and connected for the others.
            light = min(sample.cpu / sample.calls, task.cpu) < _LIGHT * task.wall
            task = task.with_cpu(dispatch.cpu_per_call)
            task = after_widening(task, narrow, sample, meter.demand, cpus)
            self.profile = task
            dispatch.note(f"{plan}: {rate(sample.steady_rate)} calls/s")
            full = sample.steady_rate >= _FULL * width / task.wall
            grows = full or narrow is None or _grew(narrow, sample)
            needed = math.ceil(_ENOUGH_THREADS * cpus * task.wall / max(task.cpu, 1e-6))
            wider = min((4 if full and light else 2) * width, self._most_threads(), needed)
            if not grows or task.gil_low or task.outside or not self._pays(task, width, wider):
                return
            narrow, width = sample, wider
            before = width

    def _pays(self, task: TaskProfile, width: int, wider: int) -> bool:
        """Whether more threads could win back what starting them takes, twice over."""
        if wider <= width:
            return False
        left = self._dispatch.workload.remaining
        start = self._current.thread_start or self._machine.costs.thread_start
        cost = 2.0 * start * (wider - width)
        return left is None or left * task.wall * (1 / width - 1 / wider) > cost

    def _most_threads(self) -> int:
        left, most = self._dispatch.remaining, self._limits.most_threads
        return max(1, most if left is None else min(most, left))

    def sample(
        self,
        lane: Lane,
        calls: int,
        before: int,
        seconds: Seconds = 0.0,
        meter: AbstractContextManager[None] = nullcontext(),  # noqa: B008 - reusable, stateless
        at_most: Seconds = math.inf,
    ) -> Generator[None, None, Sample]:
        """Let `lane` work until it has done so many calls, for so long; what it did is the value.
        The first that end do not count: those that began `before` it had its present width. `meter`
        runs while nothing else is done.
        """
        dispatch = self._dispatch
        start = lane.observe(dispatch.clock.now())
        began, settled = start.at, start.calls + before if before else 0
        while not dispatch.finished:
            dispatch.fill()
            if lane.ready_workers and not dispatch.in_flight:
                break  # the look-ahead is used up, and in a survey nobody takes results
            with meter:
                dispatch.wait()
            now = lane.observe(dispatch.clock.now())
            if now.at - began > at_most and now.calls > start.calls:
                break
            if start.calls < settled <= now.calls:
                start, settled = now, 0
            elif not settled and now.calls - start.calls >= calls and now.at - start.at >= seconds:
                break
            yield
        return start.until(lane.observe(dispatch.clock.now()), lane.width)


def _alike(new: TaskProfile, old: TaskProfile) -> bool:
    """Whether such calls take about as long, waiting and computing. One alone may have imported and
    connected besides.
    """
    longest, shortest = max(new.wall, old.wall), min(new.wall, old.wall)
    first = new.calls == 1 and new.waits and new.cpu > old.cpu
    computing = first or _near(new.cpu + new.helpers, old.cpu + old.helpers, new.wall)
    return new.waits == old.waits and longest <= _DRIFT * shortest and computing


def _same_kind(new: TaskProfile, old: TaskProfile) -> bool:
    """Whether such calls may be some of the same that differ in length, and compute."""
    longest, shortest = max(new.wall, old.wall), min(new.wall, old.wall)
    return old.cpu > 0.0 and not (new.waits or old.waits) and longest <= _SKEW * shortest


def _near(new: Seconds, old: Seconds, wall: Seconds) -> bool:
    """Whether two CPU times are within a factor, or both too small a part of a call to matter."""
    least = _LIGHT * wall
    return max(new, old, least) <= _DRIFT * max(min(new, old), least)


def _grew(narrow: Sample, wide: Sample) -> bool:
    return wide.steady_rate >= _STILL_GROWS * narrow.steady_rate
