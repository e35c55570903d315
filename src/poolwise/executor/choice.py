"""Comparing all candidates for what is left of a run, and learning where forecasts are wrong."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from poolwise.cost import Forecast
from poolwise.cost.model import forecast, limited_by_cpu, startup
from poolwise.machine import MachineProfile
from poolwise.mechanisms import Mechanism, WorkerOptions
from poolwise.plan import MECHANISMS, Plan
from poolwise.planner import Limits, batch_size, candidates, kind, ranked
from poolwise.probe import Sample, TaskProfile
from poolwise.task import Refusal, TaskTraits
from poolwise.units import PerSecond, Seconds

#: What parallelism must promise, in seconds and as a share of the loop, before it is tried. Calls
#: that compute are listened to first, and their promise is the best of what may be heard.
_WORTH: Seconds = 1e-3
_WORTH_SHARE = 0.1
_WORTH_SHARE_COMPUTING = 0.3

#: Listening may delay what is left by this share.
_LISTEN_SHARE = 0.05

#: What it takes to fork this process, and to copy the pages that both go on to write. With NumPy
#: loaded that takes 1 ms more, to limit its libraries in the fork 1, and the first call of OpenBLAS
#: here afterwards, which has ended its threads, 3.
_FORK: Seconds = 4e-3
_FORK_OF_LIBRARIES: Seconds = 5e-3

#: The last of the calls under way ends after so many times what they take on average: 16 that wait
#: and compute, of 10 ms, took 15.
_LAST = 1.5

#: An executed server takes so many seconds more than a fork, besides the modules that its workers
#: import anew: for as long, calls under way in threads may be waited for before a fork. Little is
#: lost meanwhile where they take turns.
SOON_OVER: Seconds = 0.15

#: A throughput within these factors of its forecast agrees with it.
_AGREES = (0.75, 1.33)

#: A plan is left, or one that has done well passed over, only for one whose forecast is so much
#: shorter: each move waits for workers and costs what the forecast cannot know.
CLEARLY_BETTER = 0.85

#: Where the end of the inputs is not in sight, so many times as many are expected as have been. Who
#: has been there for a while stays for as long again, as a rule, and now and then for far longer
#: (Pareto): to start workers in vain costs some milliseconds, to start them late half of what is
#: computed until then.
_YET_TO_COME = 4.0

#: Workers that should be ready in less than this share of a call, such as idle ones, are waited
#: for, for as long as a call. If the owner ran one, they would wait longer for it; in a thread it
#: would be in their way, and may be the last one to end.
_WAIT_SHARE = 0.5

#: So are those that should be ready so soon, as forks are: they start the sooner, and no call that
#: takes long keeps the owner. 90 ms of regular expressions took 93 and not 95, 225 ms of calls with
#: a long tail 237 and not 243.
_SOON: Seconds = 15e-3

#: Machines differ by so much, in how long they take to start a process.
_SLOWER = 3.0

#: Processes that do less than this share of what threads did are not worth having.
_LESS = 0.8


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a run stands: the calls left (``None`` if not known) and how many have ended, the plan
    in force, its throughput and how long a call takes there (0 if none has ended), whether a server
    of processes runs already, how many threads the run itself has, and what it took to start one,
    if one was. `whole`: all is still to be done, also what has been started by now. `earlier`:
    calls of the run that this one goes on from.
    """

    left: int | None = None
    ended: int = 0
    plan: Plan | None = None
    rate: PerSecond = 0.0
    service: Seconds = 0.0
    served: bool = False
    threads: int = 0
    thread_start: Seconds = 0.0
    whole: bool = False
    earlier: int = 0

    @property
    def in_threads(self) -> int:
        """Calls that run in threads at once, as the plan in force has it."""
        plan = self.plan
        return plan.workers if plan is not None and plan.mechanism == "thread" else 0

    def draining(self, task: TaskProfile) -> Seconds:
        """How long it takes until those have ended, before a fork; infinite if that is not waited
        for, 0 if there are none.
        """
        if not self.in_threads:
            return 0.0
        soon = last_ends(task, self.in_threads) <= SOON_OVER
        return _LAST * (self.service or task.wall) if soon else math.inf

    @property
    def expected(self) -> float:
        """Calls to plan for: where the end is not in sight, as many as in an earlier run, and at
        least four times as many as have been.
        """
        if self.left is not None:
            return float(self.left)
        return max(_YET_TO_COME * max(1, self.ended), float(self.earlier - self.ended))


class Choice:
    """Forecasts for one task on one machine. No clock, no pool; remembers what was measured.

    `measured` holds the throughput that plans reached on slices of their own.
    """

    def __init__(
        self,
        machine: MachineProfile,
        traits: TaskTraits,
        limits: Limits,
        mechanisms: Callable[[str], Mechanism],
        unpicklable: Callable[[], Refusal | None] = lambda: None,
    ) -> None:
        self._unpicklable = cache(unpicklable)  # asked once, and only if processes could pay
        self.measured: dict[Plan, PerSecond] = {}
        self._machine = machine
        self._traits = traits
        self._limits = limits
        self._mechanisms = mechanisms
        # How much longer computing and waiting take than when they were profiled, and what is left
        # of the throughput that processes were forecast.
        self._computing = self._waiting = self._sending = 1.0
        self._work: dict[str, float] = {}
        self._siblings: dict[tuple[str, bool], float] = {}
        self._failed: dict[str, Refusal] = {}

    def rank(
        self, task: TaskProfile, now: Situation, favourite: Plan | None = None
    ) -> tuple[Forecast, ...]:
        """Forecast every candidate for what is left: the one to take, then from best to worst.

        The one to take is the `favourite`, if there is one and no other is clearly better.
        """
        result = ranked(self._forecasts(task, now))
        for each in result:
            close = result[0].makespan >= CLEARLY_BETTER * each.makespan
            if each.plan == favourite and each.refusal is None and close:
                return each, *(other for other in result if other is not each)
        return result

    def could_pay(self, task: TaskProfile, now: Situation) -> bool:
        """Whether threads could pay if they ran all at once: else there is nothing to learn."""
        hopeful = self._hopeful(task, now)
        loop = hopeful["inline"]
        best = hopeful.get("thread", loop)
        share = _WORTH_SHARE if task.waits else _WORTH_SHARE_COMPUTING
        return loop - best > max(_WORTH, share * loop)

    def processes_will_do(self, task: TaskProfile, now: Situation, listening: Seconds) -> bool:
        """Whether finding out whether threads would do as well as processes costs too much.

        It takes `listening` seconds, in which one call may run at a time where two could. That
        matters if few calls are left, and processes lose less against what threads could do at
        best.
        """
        threads = self._hopeful(task, now).get("thread", math.inf)
        return self.dearer(task, now) <= listening / 2 > _LISTEN_SHARE * threads

    def dearer(self, task: TaskProfile, now: Situation) -> Seconds:
        """How much longer processes take than threads could at best; infinite without any."""
        hopeful = self._hopeful(task, now)
        return hopeful.get("process", math.inf) - hopeful.get("thread", 0.0)

    def _hopeful(self, task: TaskProfile, now: Situation) -> dict[str, Seconds]:
        """Return the best makespan of each mechanism, if no call held the GIL."""
        best: dict[str, Seconds] = {}
        for each in self._forecasts(replace(task, gil_low=0.0, gil_high=0.0), now):
            if each.refusal is None:
                name = each.plan.mechanism
                best[name] = min(each.makespan, best.get(name, math.inf))
        return best

    def profiled_anew(self) -> None:
        """Forget by how much calls took longer than those before, of which they may be unlike."""
        self._computing = self._waiting = self._sending = 1.0

    def refuse(self, mechanism: str, refusal: Refusal) -> None:
        """Consider `mechanism` no more: it could not be opened here."""
        self._failed[mechanism] = refusal

    def refusal(self, mechanism: str, task: TaskProfile | None = None) -> Refusal | None:
        """Say why `mechanism` cannot be had for this task, or ``None``."""
        if mechanism in self._failed:
            return self._failed[mechanism]
        refusal = self._mechanisms(mechanism).refusal(self._traits)
        if refusal is None and mechanism == "process":
            if task is not None and not task.payload.carried:
                return Refusal("an argument or a result cannot be pickled", "use threads")
            return self._unpicklable()
        return refusal

    def note_measured(self, mean: TaskProfile, plan: Plan, sample: Sample) -> None:
        """Note what `plan` reached on inputs of its own, as it would be for calls like `mean`.

        Slices of inputs differ, and plans must not be compared by their luck with them: what was
        measured is scaled by what the model says of the slice's calls and of mean ones.
        """
        here = mean.seen(plan.mechanism, sample.cpu / sample.calls)
        off = sample.rate / self._modelled(here, plan)
        self.measured[plan] = off * self._modelled(mean, plan)
        # What the model does not know of this plan, it does not know of its siblings either.
        self._siblings[kind(plan)] = off

    def _modelled(self, task: TaskProfile, plan: Plan) -> PerSecond:
        return forecast(self._machine, task, plan, math.inf).rate

    def note_work(self, mechanism: str, work: float) -> None:
        """Note how many CPU seconds of calls a lane has done per second."""
        self._work[mechanism] = work

    def as_forecast(self, task: TaskProfile, plan: Plan, sample: Sample, left: int | None) -> bool:
        """Whether `plan` does about what is forecast for such calls: by how many have ended, or, as
        those that began together also end together, by how long they took.
        """
        predicted = self._running(self._as_it_is_now(task), plan, left).rate
        return _agree(sample.rate / predicted) or _agree(sample.steady_rate / predicted)

    def agrees(self, task: TaskProfile, plan: Plan, sample: Sample, left: int | None) -> bool:
        """Whether `plan` does about what is forecast for such calls; if not, learn from it."""
        task = self._as_it_is_now(task)
        predicted = self._running(task, plan, left)
        ratio = sample.rate / predicted.rate
        if _agree(ratio):
            return True
        sending = predicted.ceilings.binding == "dispatch"
        if plan.mechanism == "process" and (sending or self._worse_than_threads(sample)):
            self._sending *= ratio
        elif sending:
            return True  # handing calls to threads; nothing to learn that would change a plan
        elif limited_by_cpu(task, plan, predicted.ceilings):
            self._computing /= ratio
        else:
            self._waiting /= ratio
        return False

    def _running(self, task: TaskProfile, plan: Plan, left: int | None) -> Forecast:
        """Forecast `plan` at work, whatever it took to start."""
        batch, correction = batch_size(plan, task.wall, left), self._correction(plan)
        return forecast(self._machine, task, plan, math.inf, batch=batch, correction=correction)

    def _correction(self, plan: Plan) -> float:
        sending = self._sending if plan.mechanism == "process" else 1.0
        return sending if plan in self.measured else sending * self._siblings.get(kind(plan), 1.0)

    def _as_it_is_now(self, task: TaskProfile) -> TaskProfile:
        return task.slowed(self._computing, self._waiting)

    def _worse_than_threads(self, sample: Sample) -> bool:
        """Whether processes do less of the calls' work per second than threads did before.

        Work is CPU time, so neither longer calls nor other load that came meanwhile is blamed on
        the processes; nor that calls wait, if more is lost by that than between two calls.
        """
        threads = self._work.get("thread")
        if threads is None or not sample.service:
            return False
        computing = sample.cpu / sample.service
        in_calls = sample.service / (sample.concurrency * sample.wall)
        return in_calls < computing and sample.cpu / sample.wall < _LESS * threads

    def _forecasts(self, task: TaskProfile, now: Situation) -> list[Forecast]:
        task = self._as_it_is_now(task)
        result: list[Forecast] = []
        for plan in self._plans(task, now):
            until_ready, meanwhile = self._startup(plan, task, now)
            each = forecast(
                self._machine,
                task,
                plan,
                now.expected,
                batch=batch_size(plan, task.wall, now.left),
                startup=until_ready,
                meanwhile=meanwhile,
                correction=self._correction(plan),
                measured=self.measured.get(plan),
            )
            # Whether a function pickles is found out by pickling it: not for nothing.
            if not result or each.makespan < result[0].makespan:
                refusal = self.refusal(plan.mechanism, task)
                each = each if refusal is None else Forecast(plan, refusal=refusal)
            result.append(each)
        return result

    def _plans(self, task: TaskProfile, now: Situation) -> list[Plan]:
        """Return the candidates, and among them what runs now: to leave it, it is compared with."""
        plans = list(candidates(self._machine, task, self._limits, now.expected))
        if now.plan is not None and now.plan.concurrency > 1 and now.plan not in plans:
            insort(plans, now.plan, key=_order)
        return plans

    def until_ready(self, plan: Plan, task: TaskProfile, now: Situation) -> Seconds:
        """Return how long it takes until `plan` is at work."""
        return self._startup(plan, task, now)[0]

    def _startup(self, plan: Plan, task: TaskProfile, now: Situation) -> tuple[Seconds, PerSecond]:
        """Return how long it takes until `plan` is at work, and how many calls a second end until
        then.
        """
        if plan == now.plan:
            return 0.0, now.rate
        if plan.mechanism == "thread":
            each = now.thread_start or self._machine.costs.thread_start
            return each * max(0, plan.workers - now.threads), now.rate
        ready = self._mechanisms(plan.mechanism).readiness(
            WorkerOptions(threads_per_worker=plan.threads_per_worker)
        )
        served = now.served or ready.server
        idle = 0 if now.whole else ready.idle
        draining = now.draining(task)
        alone = ready.threads == 1 + now.threads and draining < math.inf
        forks = alone and not served and idle < plan.workers
        took = startup(self._machine, plan, server_running=served or forks, idle=idle)
        # Where threads take longer to start than is known, so do processes; but one that had to
        # wait for calls that hold the GIL says nothing of them.
        slower = now.thread_start / self._machine.costs.thread_start
        slower = min(max(1.0, slower), _SLOWER)
        waited = waits_for(slower * took, task) > 0.0
        rate = 0.0 if waited and not now.in_threads else now.rate
        if not forks:
            return slower * took, rate
        took += _FORK + (_FORK_OF_LIBRARIES if ready.libraries else 0.0)
        # What starts them has to share the CPUs with threads that compute for calls.
        took *= slower * (1.0 + min(1.0, task.beside / max(task.cpu, 1e-9)))
        if not draining or now.left is None:  # of many to come it is paid some time, and only grows
            return took, rate
        # No call begins before the last one in a thread has ended, and then one at a time, if any.
        ended = now.in_threads + (0.0 if waited else took / task.wall)
        return draining + took, ended / (draining + took)


def waits_for(startup: Seconds, task: TaskProfile) -> Seconds:
    """Return how long workers are waited for, with nothing running meanwhile in a plain loop; 0 if
    they should take too long to start for that.
    """
    if startup >= max(_WAIT_SHARE * task.wall, _SOON):
        return 0.0
    return max(task.wall, _SOON)


def last_ends(task: TaskProfile, under_way: int) -> Seconds:
    """Return in how many seconds so many calls have ended that are under way in threads."""
    return max(task.wall, under_way * task.cpu)


def _order(plan: Plan) -> tuple[int, int, int]:
    """Simple ones first, as candidates come."""
    return MECHANISMS.index(plan.mechanism), plan.workers, plan.threads_per_worker


def _agree(ratio: float) -> bool:
    return _AGREES[0] <= ratio <= _AGREES[1]
