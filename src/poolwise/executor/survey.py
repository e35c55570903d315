"""Learning where the time of a task goes, on calls that have to be run anyway.

Pilot, then one of two: beside computing calls it is heard whether they hold the GIL, waiting calls
get more and more threads while throughput grows. All results are kept; nothing is run "to see".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from _poolwise_worker.heap import keeps_memory
from poolwise.executor.choice import Choice
from poolwise.executor.demand import PagingMeter
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.findings import Findings
from poolwise.executor.lanes import CurrentLane
from poolwise.executor.listening import Listening
from poolwise.executor.widening import Widening
from poolwise.machine import MachineProfile
from poolwise.planner import Limits
from poolwise.probe import EffectWatch, Payload, Pilot, Sample, TaskProfile, measure_payload
from poolwise.probe.changeable import nothing_can_change
from poolwise.probe.contention import after_listening, not_listened_to
from poolwise.probe.holding import holds_the_gil
from poolwise.probe.likeness import alike
from poolwise.task import Columns, Task
from poolwise.units import Seconds, duration, plural

#: What is left runs in a loop at once where that takes no longer: to learn of it takes about as
#: long. What a first call took is much for the others: of 50 ns, 5 µs.
_SOON_OVER: Seconds = 2e-3


class Survey:
    """Finds out what calls are like, on the first of them. Used by the owner only."""

    def __init__(
        self,
        dispatch: Dispatch,
        current: CurrentLane,
        findings: Findings,
        choice: Choice,
        machine: MachineProfile,
        limits: Limits,
    ) -> None:
        self.unsendable = False  # something of a call was found not to pickle
        self.held: float | None = None  # for what share of its time the first call held the GIL
        self._dispatch = dispatch
        self._current = current
        self._findings = findings
        self._machine = machine
        self._limits = limits
        self._paging: PagingMeter | None = None  # until the first calls have run
        self._listening = Listening(dispatch, current, findings, choice, self._most_threads)
        self._widening = Widening(dispatch, current, findings, machine, self._most_threads)

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
            if dispatch.workload.pace and dispatch.collector.ready:
                return 0
            lane = self._current.lane
            before = lane.calls  # fewer may run than are sent: a batch that lasts ends early
            dispatch.send_next(lane, calls)
            return lane.calls - before

        dispatch.keep_specimen = True
        sample = Pilot(run, dispatch.clock, prepare).sample(
            lambda sample: self.is_as(sample, expected)
        )
        dispatch.keep_specimen = False
        prepare(1)
        while watch.undecided and run(1):
            prepare(1)
        self._findings.refusal, self._findings.partly = watch.refusal, watch.partly
        if sample.calls:
            self.begin_with(sample, "pilot in the caller")

    def is_soon_over(self, sample: Sample) -> bool:
        """Whether calls that are like one that has run are over before anything is known of them.
        They need not be: what takes longer than that in the loop ends there, and is looked at.
        """
        left = self._dispatch.remaining
        return left is not None and 0 < left * sample.service / sample.calls <= _SOON_OVER

    def run_the_rest(self, sample: Sample) -> Sample:
        """Run in the caller what is left, and return what these calls were like."""
        dispatch, lane = self._dispatch, self._current.lane
        dispatch.send_next(lane, dispatch.remaining or 0)
        dispatch.prepare(1)  # which finds the end
        reading = lane.observe(dispatch.clock.now())
        if not reading.calls:
            return sample
        return Sample(reading.calls, 1, reading.service, reading.service, reading.cpu)

    def is_as(self, sample: Sample, expected: TaskProfile | None) -> bool:
        """Whether calls are as `expected`, if anything is."""
        return expected is not None and alike(self._findings.first_profile(sample), expected)

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
        dispatch, payload = self._dispatch, self._payload()
        if self.unsendable:
            payload = replace(payload, carried=False)
        task = self._findings.profile = self._findings.first_profile(sample, payload)
        self._findings.alone = task.cpu if sample.concurrency == 1 else None
        self._paging = None if dispatch.nothing_left else PagingMeter(dispatch.clock)
        text = f"{where}: {plural(sample.calls, 'call')} of {duration(task.wall)}"
        if task.waiting > 0.02 * task.wall:
            text += f", waits {duration(task.waiting)}, computes {duration(task.cpu)}"
        dispatch.note(text)

    def see_paging(self) -> None:
        """Note what calls here, but for the first ones, spend on memory that workers would keep."""
        task, plan = self._findings.profile, self._current.plan
        if task is None or self._paging is None or not self._workers_keep:
            return
        if plan.mechanism == "process":  # what is paged in here is no call's
            self._paging = PagingMeter(self._dispatch.clock)
            return
        share = self._paging.share
        if share is None:
            return
        self._findings.profile = replace(task, paging=share * task.cpu)
        if share and not task.paging:
            self._dispatch.note(f"page faults take {share:.0%} of the computing; workers have few")

    @property
    def _workers_keep(self) -> bool:
        """Whether workers keep memory for their calls; see ``_poolwise_worker/heap.py``."""
        return keeps_memory() and not self._dispatch.workers.one_call

    def learn(self, task: TaskProfile, listen: bool = True) -> Iterator[None]:
        """Run calls in threads, and refine the profile by what that shows."""
        self._findings.learned = True
        lane = self._current.lane
        lane.settled = lane.settled and lane.inline  # little is sent ahead to threads meanwhile
        if task.waits:
            yield from self._widening.widen(task)
        elif self._machine.facts.gil and self._machine.facts.usable_cpus > 1.0:
            held, self.held = self.held, None  # what is learnt anew later is heard anew
            if held is not None:
                yield from self._listening.go_on_from(held)
            elif self._holds_by_its_code():
                self._findings.profile = after_listening(task, 1.0)
                self._dispatch.note("its code holds the GIL whenever it computes")
            elif listen:
                yield from self._listening.listen(task)
            else:
                self._findings.profile = not_listened_to(task)
                self._dispatch.note("no more learnt: processes do as well as threads could")

    def _holds_by_its_code(self) -> bool:
        """Whether no call needs to be listened to: what they reach never lets go of the GIL."""
        self._dispatch.prepare(1)
        prepared = self._dispatch.prepared
        return prepared is not None and holds_the_gil(*prepared)

    def _payload(self) -> Payload:
        specimen, self._dispatch.specimen = self._dispatch.specimen, None
        if specimen is None:
            return Payload()
        return measure_payload(*specimen, self._dispatch.clock)

    def _most_threads(self) -> int:
        left, most = self._dispatch.remaining, self._limits.most_threads
        return max(1, most if left is None else min(most, left))
