"""Finding out how many threads calls that wait are worth: more of them while throughput grows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from poolwise.executor.dispatch import Dispatch
from poolwise.executor.findings import Findings
from poolwise.executor.lanes import CurrentLane
from poolwise.executor.sampling import patience, sample_of
from poolwise.machine import MachineProfile
from poolwise.plan import Plan
from poolwise.probe import Sample, TaskProfile
from poolwise.probe.contention import after_helping, after_widening, are_helped
from poolwise.units import Seconds, rate

#: Threads with which widening begins, at least and at most.
FIRST_WIDTH, MOST_AT_FIRST = 8, 32

#: Doubling the threads must bring so much more throughput to be worth another doubling.
_STILL_GROWS = 1.3

#: A throughput of so much of what all threads could reach is all of it.
_FULL = 0.8

#: Calls that compute for less than this share of their time are widened faster.
_LIGHT = 0.05

#: Threads for each that the mean of waiting and computing asks for: below twice as many, those
#: that come back from waiting too often find nobody computing.
_ENOUGH_THREADS = 2.0

#: So long after the beginning, threads that ran before may do so for nobody: OpenBLAS' poll for
#: 0.1 s.
_POLL_FOR: Seconds = 0.15


class Widening:
    """Takes samples of calls in more and more threads."""

    def __init__(
        self,
        dispatch: Dispatch,
        current: CurrentLane,
        findings: Findings,
        machine: MachineProfile,
        most_threads: Callable[[], int],
    ) -> None:
        self._dispatch = dispatch
        self._current = current
        self._findings = findings
        self._machine = machine
        self._most_threads = most_threads

    def widen(self, task: TaskProfile) -> Iterator[None]:
        """Run waiting calls in more and more threads while throughput grows."""
        dispatch, cpus = self._dispatch, self._machine.facts.usable_cpus
        light = task.cpu < _LIGHT * task.wall
        # With these the GIL would be full if it is held, and one sample tells.
        filling = math.ceil(1.5 * task.wall / max(task.cpu, 1e-6))
        begun = self._current.lane.width if self._current.plan.mechanism == "thread" else 0
        # Those that are there have shown that they mostly wait, whatever the first call did.
        width = max(begun, min(max(filling, FIRST_WIDTH), MOST_AT_FIRST))
        width = min(width, self._most_threads())
        narrow: Sample | None = None
        before = width if width > begun else 0  # calls that began under another width
        while True:
            plan = Plan("thread", width)
            lane = yield from self._current.move(plan, task)
            width, asked = min(width, lane.plan.workers), width
            limit = patience(task.wall)
            before = min(before, width)
            if lane.in_flight > 2 * width:  # more are at work, which had begun before
                before = lane.in_flight
            together = not before and lane.calls < width  # the opening has begun them
            calls = width - lane.calls if together else width
            sample = yield from sample_of(
                dispatch, lane, calls, before, at_most=limit, together=together
            )
            if not sample.calls or dispatch.nothing_left:
                return
            sample = self._without_strangers(sample)
            if are_helped(task, sample):
                self._findings.profile = after_helping(task, sample)
                dispatch.note("the calls do not wait: threads of libraries compute for them")
                return
            # The first calls may have imported and connected for the others.
            light = min(sample.cpu / sample.calls, task.cpu) < _LIGHT * task.wall
            task = task.with_cpu(dispatch.cpu_per_call)
            task = after_widening(task, narrow, sample, cpus)
            self._findings.profile = task
            dispatch.note(f"{lane.plan}: {rate(sample.steady_rate)} calls/s")
            full = sample.steady_rate >= _FULL * width / task.wall
            grows = full or narrow is None or _grew(narrow, sample)
            needed = math.ceil(_ENOUGH_THREADS * cpus * task.wall / max(task.cpu, 1e-6))
            wider = min((4 if full and light else 2) * width, self._most_threads(), needed)
            if width < asked:  # no more could be started soon
                return
            if not grows or task.gil_low or task.outside or not self._pays(task, width, wider):
                return
            narrow, width = sample, wider
            before = width

    def _without_strangers(self, sample: Sample) -> Sample:
        """Take what threads may have used that poll for a while after their library was loaded."""
        if self._dispatch.elapsed > _POLL_FOR:
            return sample
        polled = self._findings.strangers * sample.wall
        return replace(sample, helpers=max(0.0, sample.helpers - polled))

    def _pays(self, task: TaskProfile, width: int, wider: int) -> bool:
        """Whether more threads could win back what starting them takes, twice over."""
        if wider <= width:
            return False
        left = self._dispatch.workload.remaining
        start = self._current.thread_start or self._machine.costs.thread_start
        cost = 2.0 * start * (wider - width)
        return left is None or left * task.wall * (1 / width - 1 / wider) > cost


def _grew(narrow: Sample, wide: Sample) -> bool:
    return wide.steady_rate >= _STILL_GROWS * narrow.steady_rate
