"""Whether what is known of calls still holds: from an earlier run, and while a plan runs."""

from __future__ import annotations

from dataclasses import replace

from poolwise.executor.dispatch import Dispatch
from poolwise.executor.findings import Findings
from poolwise.executor.lanes import CurrentLane
from poolwise.executor.widening import FIRST_WIDTH
from poolwise.plan import Plan
from poolwise.probe import Sample, TaskProfile
from poolwise.probe.contention import (
    Demand,
    after_a_while,
    after_progress,
    computes_in_vain,
    is_open,
    progress,
)
from poolwise.probe.likeness import SEVERAL, alike, have_come_to_wait, near, same_kind
from poolwise.units import Seconds, duration

#: CPUs that calls may use together though they were hardly to compute: many threads do more for
#: each call than one.
_LITTLE = 0.5

#: Calls that compute, and wait for such a part of their time, leave CPUs idle that threads in
#: workers would use.
_WAIT_AS_WELL = 0.25

#: CPUs that threads leave, at least, if a lock keeps them from these: two that fill a database each
#: leave 0.6, two that compress next to nothing.
_LEFT = 0.3

#: CPUs that threads use at least whose calls compute, on a machine that has one for them.
_IN_TURN = 0.7


class Trust:
    """Takes up what is known, and drops it where calls say otherwise."""

    def __init__(
        self, dispatch: Dispatch, current: CurrentLane, findings: Findings, cpus: float
    ) -> None:
        self._dispatch = dispatch
        self._cpus = cpus
        self._current = current
        self._findings = findings

    def take_up(self, known: TaskProfile, learned: bool) -> bool:
        """Go on from what an earlier run has learnt, if the first calls do not contradict it.

        Computing calls that are somewhat longer or shorter hold the GIL for the same share: then
        only that is taken over. Whether arguments and results can be sent is always as seen now.
        """
        task = self._findings.profile
        if task is None or self._findings.refusal is not None or self._findings.learned:
            return False
        if alike(task, known):
            carried = task.payload.carried and known.payload.carried
            payload = known.payload if carried else task.payload
            self._findings.profile = replace(known, payload=payload)
        elif learned and same_kind(task, known):
            low, high = known.gil_low / known.cpu, known.gil_high / known.cpu
            self._findings.profile = task.with_gil(low * task.cpu, high * task.cpu)
        else:
            self._dispatch.note("calls are not as remembered: all is learnt anew")
            self._begin_narrow()
            return False
        self._findings.learned = learned
        return True

    def holds(self, sample: Sample) -> bool:
        """Whether calls that began on the word of an earlier run are like those then.

        They may well take longer, in a crowd; but those that compute use a CPU, if only in turn.
        They compute for about as long, or so little that all of them need not even half a CPU.
        """
        task = self._findings.profile
        assert task is not None
        wall, cpu = sample.service / sample.calls, sample.cpu / sample.calls
        most, least = max(cpu, task.cpu), min(cpu, task.cpu)
        computing = most <= SEVERAL * least or most * sample.rate < _LITTLE
        waiting = task.waits or cpu * sample.concurrency >= _IN_TURN * wall
        return computing and waiting and SEVERAL * wall >= task.wall

    def _begin_narrow(self) -> None:
        """Take back threads that were opened on the word of an earlier run."""
        current = self._current
        if current.plan.mechanism == "thread" and current.lane.width > FIRST_WIDTH:
            current.plan = Plan("thread", FIRST_WIDTH)
            current.lane.widen(current.plan)

    def doubt(self, cpu: Seconds) -> None:
        """Forget what was taken over: calls that use `cpu` seconds now did not do what it says."""
        assert self._findings.profile is not None
        recent = replace(self._findings.profile.with_cpu(cpu), outside=None)
        self._findings.profile = recent.with_gil(0.0, recent.cpu if self._findings.gil else 0.0)
        self._findings.learned, self._findings.alone = False, None
        self._dispatch.note("the plan does not reach what was remembered: all is learnt anew")
        self._begin_narrow()

    def wait_now(self, plan: Plan, sample: Sample) -> bool:
        """Whether calls have come to wait; then forget what was learnt."""
        task = self._findings.profile
        turns = plan.workers if plan.mechanism == "thread" else plan.threads_per_worker
        if task is None or not have_come_to_wait(sample, task, turns):
            return False
        self._dispatch.note(self._findings.begin_anew(sample))
        return True

    def wait_as_well(self, plan: Plan, unqueued: Sample) -> bool:
        """Whether calls in workers of one thread wait for a part of their time that none of the
        first ones did: one in ten that asks a server, say. `unqueued` is without what they queued
        for; programs that they wait for compute, as those of the first ones did.
        """
        task = self._findings.profile
        if task is None or plan.mechanism != "process" or plan.threads_per_worker > 1:
            return False
        recent = task.seen(plan.mechanism, unqueued.cpu / unqueued.calls)
        elsewhere = task.helpers - task.beside  # not those that compute beside the call
        waiting = (unqueued.service - unqueued.cpu) / unqueued.calls - elsewhere
        if waiting - task.waiting < _WAIT_AS_WELL * unqueued.service / unqueued.calls:
            return False
        self._findings.profile = replace(recent, wall=recent.wall - recent.waiting + waiting)
        self._dispatch.note(f"calls wait as well: {duration(waiting)} on average")
        return True

    def drifted(self, plan: Plan, sample: Sample) -> bool:
        """Whether calls that waited compute now, or the reverse; then forget what was learnt.

        Calls that only became longer or shorter still hold the GIL as they did; only a plain loop
        may not suit them any more.
        """
        task = self._findings.profile
        if task is None:
            return False
        recent = task.seen(plan.mechanism, sample.cpu / sample.calls)
        if near(recent.cpu, task.cpu, task.wall):
            return False
        if recent.waits == task.waits and not (task.waits and recent.cpu > task.cpu):
            if plan.mechanism != "inline":
                return False
            self._findings.profile = recent
            self._dispatch.note(f"calls have changed: they compute {duration(recent.cpu)} now")
            return True
        if plan.mechanism == "process":
            # They suit both kinds of calls, and threads have nothing to tell that would be worth
            # going back to them: the GIL is taken to be held for the same share as before.
            self._findings.profile = recent
            self._dispatch.note(f"calls have changed: they compute {duration(recent.cpu)} now")
            return True
        used = Demand(sample.cpu / sample.wall, sample.cpu / sample.wall)
        if plan.mechanism == "thread" and used.fills_one and used.in_turn and self._findings.gil:
            # So many threads, and one CPU: nothing need be heard.
            low, high = used.share()
            self._findings.profile = recent.with_gil(low * recent.cpu, high * recent.cpu)
        else:
            self._findings.profile = recent.with_gil(0.0, recent.cpu if self._findings.gil else 0.0)
            self._findings.learned = False
        self._findings.alone = None
        self._dispatch.note(f"calls have changed: they compute {duration(recent.cpu)} now")
        return True

    def _as_alone(self, task: TaskProfile, sample: Sample) -> TaskProfile | None:
        """Return what calls are like alone, if they compute in vain beside each other."""
        cpu = self._findings.alone
        alone = None if cpu is None else task.with_cpu(cpu)
        return alone if alone is not None and computes_in_vain(alone, sample) else None

    def _leave_idle(self, plan: Plan, demand: Demand, idle: float) -> bool:
        """Whether CPUs that so many threads could use are idle: then it is no other load that keeps
        them.
        """
        left = min(self._cpus, plan.workers) - demand.used
        return left > _LEFT and idle > left / 2

    def wonders(self, plan: Plan) -> bool:
        """Whether threads at work could answer what was left open."""
        task = self._findings.profile if self._findings.learned else None
        return (
            task is not None and plan.mechanism == "thread" and plan.workers > 1 and is_open(task)
        )

    def settled(self, plan: Plan, demand: Demand, sample: Sample, idle: float) -> bool:
        """Whether threads at work, by their demand and what they do, have answered what was left
        open; so many CPUs were `idle` meanwhile.
        """
        task = self._findings.profile
        assert task is not None
        told = f"threads use {demand.used:.1f} CPUs, whatever else runs here"
        alone = self._as_alone(task, sample)
        if alone is not None and self._leave_idle(plan, demand, idle):
            gained = progress(alone, sample)
            told = f"threads use {demand.used:.1f} CPUs, and do {gained:.1f} times as much as one"
            self._findings.profile = after_progress(alone, gained, plan.workers)
        else:
            self._findings.profile = after_a_while(task, demand, plan.workers)
        if self._findings.profile == task:
            return False
        self._dispatch.note(told)
        return True
