"""Finding out beside calls that compute whether they hold the GIL."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from poolwise.executor.beats import BEAT, DIVIDED, Heartbeat
from poolwise.executor.choice import Choice
from poolwise.executor.demand import DemandMeter, cpu_of_others
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.findings import Findings
from poolwise.executor.lane import Lane
from poolwise.executor.lanes import CurrentLane
from poolwise.executor.sampling import patience, sample_of
from poolwise.plan import Plan
from poolwise.probe import Sample, TaskProfile
from poolwise.probe.contention import (
    MOSTLY,
    after_confirming,
    after_listening,
    after_progress,
    is_divided,
    keep_each_other,
    progress,
)
from poolwise.probe.likeness import have_come_to_wait
from poolwise.probe.pilot import WARMER
from poolwise.timing.turns import QuickTurns
from poolwise.units import Seconds

#: Listening mostly delays parallelism by so long: some beats, each prolonged by a turn.
LISTENS_FOR: Seconds = 10e-3

#: Threads are watched for so long before the GIL is taken to be free.
_CONFIRMS_FOR: Seconds = 10e-3

#: And so often, until they use more than one CPU: they have to start, and other load hides it. With
#: what it takes to read the clocks of many threads, each of which has to wait for the GIL, it ends
#: after so many seconds.
_CONFIRMS = 3
_CONFIRMS_AT_MOST: Seconds = 50e-3

#: Not again where processes would take so little longer than threads at best: half of a second look
#: is lost if they take turns, and of threads that did not run at once in the first, few do later.
#: (Passing the GIL to and fro can keep two threads on one CPU: of 70 SQLite queries that let go of
#: it for each row, 40 ms of 190 went by until that was taken for what it is.)
_NOT_DEARER: Seconds = 15e-3

#: Calls so short that so many of them fit into that time are counted instead: what threads of them
#: use of the CPUs may be what it takes to pass the GIL to and fro. (Of two to ten, a count says too
#: little: calls that run at once seemed to do between 1.1 and 1.9 times as much.)
_COUNTED = 25

#: Before they are counted nobody needs to know for what part they hold it: so many beats will do.
_BEFORE_COUNTING = 4

#: Later calls are clearly shorter that compute for less than such a part.
_SHORTER = 0.85

#: Who was heard to hold it for more than such a part is not given another chance.
_HALF = 0.5

#: Threads that do less than so many times as much as one are in each other's way.
_CROWDED = 0.9

#: So many calls say more than the first one alone.
_LATER = 2


class Listening:
    """Listens beside one call, then lets two run at once if that seems to do."""

    def __init__(
        self,
        dispatch: Dispatch,
        current: CurrentLane,
        findings: Findings,
        choice: Choice,
        most_threads: Callable[[], int],
    ) -> None:
        self._dispatch = dispatch
        self._current = current
        self._findings = findings
        self._choice = choice
        self._most_threads = most_threads

    def listen(self, task: TaskProfile) -> Iterator[None]:
        """Hear whether calls hold the GIL: beside as many as would use one CPU."""
        dispatch = self._dispatch
        threads = max(1, round(task.wall / (task.cpu + task.helpers)))
        threads = min(threads, self._most_threads())
        lane = yield from self._current.move(Plan("thread", threads), task)
        start = lane.observe(dispatch.clock.now())
        beat = Heartbeat(dispatch.clock, _BEFORE_COUNTING if _is_short(task) else DIVIDED)
        with beat.beating(dispatch.inbox) as wait:
            while not dispatch.finished and not beat.enough:
                dispatch.fill()
                if dispatch.nothing_left or not dispatch.in_flight:
                    break
                wait(BEAT)  # not while the user does something with results
                yield
        sample = start.until(lane.observe(dispatch.clock.now()), threads)
        if self._begin_anew(sample):
            return
        self._see_later_ones(sample)
        if threads == 1 and sample.calls and self._findings.alone is not None:
            self._findings.alone = max(self._findings.alone, sample.cpu / sample.calls)
        yield from self.hear(beat.held, threads)
        self._see_more(start.until(lane.observe(dispatch.clock.now()), threads))

    def _begin_anew(self, sample: Sample) -> bool:
        """Whether calls have come to wait since the pilot; then there is nothing to be heard."""
        task = self._findings.profile
        assert task is not None
        if not have_come_to_wait(sample, task, sample.concurrency):
            return False
        self._dispatch.note(self._findings.begin_anew(sample))
        return True

    def _see_later_ones(self, sample: Sample) -> None:
        """Believe these calls where the first one seems to have imported and connected for them,
        and where they are at least as many, and clearly shorter: the first ones filled caches.
        """
        task = self._findings.profile
        assert task is not None
        if not sample.calls:
            return
        cpu = sample.cpu / sample.calls
        if task.wall > WARMER * sample.service / sample.calls:
            self._findings.profile = self._findings.first_profile(sample, task.payload)
        elif sample.calls >= task.calls and cpu < _SHORTER * task.cpu:
            self._findings.profile = task.with_cpu(cpu)

    def _see_more(self, sample: Sample) -> None:
        """Believe these calls where the first one was alone: it fills caches, and takes memory that
        others have again.
        """
        task = self._findings.profile
        assert task is not None
        if task.calls == 1 and sample.calls >= _LATER:
            self._findings.profile = task.with_cpu(sample.cpu / sample.calls)

    def go_on_from(self, held: float) -> Iterator[None]:
        """Learn from what the first call alone has told, and see what those are like that have
        begun beside it.
        """
        lane, clock = self._current.lane, self._dispatch.clock
        start = lane.observe(clock.now())
        yield from self.hear(held, 1)
        self._see_more(start.until(lane.observe(clock.now()), lane.width))

    def hear(self, held: float | None, threads: int) -> Iterator[None]:
        """Learn from the share of the time in which one of so many calls, of which hardly two
        computed at once, held the GIL.
        """
        task = self._findings.profile
        assert task is not None
        self._findings.conclusive = held is not None
        if held is None:
            return
        task = self._findings.profile = after_listening(task, held, threads)
        dispatch = self._dispatch
        dispatch.note(f"heard beside a call: the GIL is held {held:.0%} of the time")
        unsure = MOSTLY if _is_short(task) else _HALF
        if not dispatch.nothing_left and task.gil_low < unsure * task.cpu:
            yield from self._confirm(task)

    def _confirm(self, task: TaskProfile) -> Iterator[None]:
        """Run so many calls at once as would use two CPUs if the GIL is free: do they?

        Calls that hold it again and again, for less than a turn, are not heard; and they are in the
        way of each other all the more.
        """
        dispatch = self._dispatch
        threads = max(2, math.ceil(2.0 * task.wall / (task.cpu + task.helpers) - 0.2))
        if self._current.plan.mechanism == "thread":  # as many as have begun
            threads = max(threads, self._current.plan.workers)
        threads = min(threads, self._most_threads())
        if threads < 2:
            return
        lane = yield from self._current.move(Plan("thread", threads), task)
        if is_divided(task) or self._findings.programs or _is_short(task):
            yield from self._see_progress(lane, task)
            return
        until, kept = dispatch.clock.now() + _CONFIRMS_AT_MOST, False
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
            before, kept = kept, keep_each_other(task, lane.width, demand)
            # A thread that began late keeps nobody: not one look alone says so.
            if demand.at_once or (before and kept) or dispatch.clock.now() > until:
                break
            if self._choice.dearer(task, self._current.situation) <= _NOT_DEARER:
                break
        self._findings.profile = after_confirming(task, lane.width, demand)
        word = "run at once"
        if self._findings.profile.gil_low > task.gil_low:
            word = "take turns" if kept or demand.in_turn else "are hidden by other load"
        dispatch.note(f"{threads} threads {word}: they use {demand.used:.1f} CPUs")

    def _see_progress(self, lane: Lane, task: TaskProfile) -> Iterator[None]:
        """Look how many calls end, of such as hold the GIL for a part, or again and again."""
        width, limit, clock = lane.width, patience(task.wall), self._dispatch.clock
        used, busy = cpu_of_others(clock), lane.observe(clock.now()).busy
        sample = yield from sample_of(
            self._dispatch, lane, 2 * width, width, _CONFIRMS_FOR, at_most=limit
        )
        if not sample.calls or self._begin_anew(sample):
            return
        gained = progress(task, sample)
        if not self._findings.programs:  # short calls are told of together, at odd times
            busy = max(lane.observe(clock.now()).busy - busy, 1e-9)
            used = (cpu_of_others(clock) - used) / busy
            gained = min(gained, used * task.wall / (task.cpu + task.helpers))
        programs = self._findings.programs
        self._findings.profile = after_progress(task, gained, width, programs=programs)
        told = f"{width} threads do {gained:.1f} times as much as one"
        self._dispatch.note(told)
        if gained < _CROWDED:
            self._findings.crowded = told


def _is_short(task: TaskProfile) -> bool:
    """Whether calls are so short that they are counted."""
    return _COUNTED * task.wall < _CONFIRMS_FOR
