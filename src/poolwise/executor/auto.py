"""Choosing while working: pilot, race, forecast, move over, watch.

Every step here runs calls that have to be run anyway, and their results are kept; nothing is run
"to see". The order is the order of `Auto.steps`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from poolwise.cost import Forecast
from poolwise.cost.model import forecast, startup
from poolwise.executor.conduct import step
from poolwise.executor.dispatch import Dispatch, Lane
from poolwise.machine import MachineProfile
from poolwise.mechanisms import Mechanism
from poolwise.plan import Plan
from poolwise.planner import Limits, batch_size, candidates, ranked
from poolwise.probe import Payload, Pilot, Sample, TaskProfile, measure_payload
from poolwise.probe.contention import after_race, after_widening
from poolwise.task import Refusal, TaskTraits
from poolwise.units import PerSecond, Seconds, duration, rate

#: A race lasts at least so long: some slices of the scheduler (3–4 ms) and of the GIL (5 ms).
_RACE_FOR: Seconds = 15e-3

#: Threads with which widening begins.
_FIRST_WIDTH = 8

#: Calls that compute for less than this share of their time are widened faster.
_LIGHT = 0.05

#: Threads for each that the mean of waiting and computing asks for: below twice as many, those
#: that come back from waiting too often find nobody computing.
_ENOUGH_THREADS = 2.0

#: Doubling the threads must bring so much more throughput to be worth another doubling.
_STILL_GROWS = 1.3

#: Between two looks at whether the plan is still right, at least.
_LOOK_AFTER: Seconds = 0.1

#: A plan that runs is left only for one whose forecast is so much shorter; each move waits for
#: workers and costs what the forecast cannot know.
_MOVE_BELOW = 0.85

#: Calls longer than this do not run in the owner's thread while workers start: it would not
#: notice that they are ready.
_NOTICE_WITHIN: Seconds = 5e-3

#: How long a plan is watched when forecasts are verified.
_VERIFY_FOR: Seconds = 0.25

#: What parallelism must promise before anything is tried.
_WORTH: Seconds = 1e-3


class Auto:
    """The conductor that chooses. Used by the owner only."""

    def __init__(
        self,
        dispatch: Dispatch,
        machine: MachineProfile,
        traits: TaskTraits,
        limits: Limits,
        mechanisms: Callable[[str], Mechanism],
    ) -> None:
        self.forecasts: tuple[Forecast, ...] = ()
        self.predicted: Seconds | None = None
        self.profile: TaskProfile | None = None
        self.plan = Plan("inline")
        self.lane: Lane | None = None
        self.measured: dict[Plan, PerSecond] = {}
        self._dispatch = dispatch
        self._machine = machine
        self._traits = traits
        self._limits = limits
        self._mechanisms = mechanisms
        self._learned = False
        self._moves = 0
        self._correction: dict[str, float] = {}

    def steps(self) -> Iterator[None]:
        """Do everything: the whole conductor."""
        yield from self.survey()
        yield from self.work()

    def survey(self) -> Iterator[None]:
        """Learn where the time goes, on a bounded number of calls."""
        self._pilot()
        yield
        if self._worth_learning():
            yield from self._learn()

    def work(self) -> Iterator[None]:
        """Run the rest under the best plan, and look now and then whether it still is."""
        while not self._dispatch.finished:
            if self._worth_learning():
                yield from self._learn()
            chosen = self.decide()
            if self._clearly_better(chosen):
                yield from self._move_to(chosen.plan)
            yield from self._run_for_a_while()

    def verify(self) -> Iterator[None]:
        """Run each leading plan on a slice of inputs of its own, and keep what it reached."""
        if self.profile is None:
            return
        self.measured[Plan("inline")] = 1.0 / self.profile.wall
        leading = [each for each in self.forecast_whole(None) if each.refusal is None]
        chosen: list[Plan] = []
        for each in leading:
            families = [(plan.mechanism, plan.threads_per_worker > 1) for plan in chosen]
            family = (each.plan.mechanism, each.plan.threads_per_worker > 1)
            if each.plan.mechanism != "inline" and family not in families:
                chosen.append(each.plan)
        for plan in chosen:
            if self._dispatch.nothing_left:
                return
            lane = yield from self._switch(plan)
            sample = yield from self._sample(lane, 4 * plan.concurrency, _VERIFY_FOR)
            if sample.calls >= plan.concurrency:
                self.measured[plan] = sample.rate

    def forecast_whole(self, calls: int | None) -> tuple[Forecast, ...]:
        """Forecast a whole workload from its start, the best plan first; refused plans last."""
        assert self.profile is not None
        forecasts = self._forecast_all(self.profile, float(calls or 1_000), fresh=True)
        return ranked(forecasts)

    # ---- learning ------------------------------------------------------------------------

    def _pilot(self) -> None:
        dispatch = self._dispatch
        lane = self.lane = dispatch.open(self.plan)
        dispatch.keep_specimen = True
        sample = Pilot(lambda calls: dispatch.send_next(lane, calls), dispatch.clock).sample()
        dispatch.keep_specimen = False
        if not sample.calls:
            return
        profile = TaskProfile.of(sample, self._payload(sample), gil=self._machine.facts.gil)
        self.profile = profile
        text = f"pilot in the caller: {sample.calls:,} calls of {duration(profile.wall)}"
        if profile.waiting > 0.02 * profile.wall:
            text += f", waits {duration(profile.waiting)}, computes {duration(profile.cpu)}"
        dispatch.note(text)

    def _payload(self, sample: Sample) -> Payload:
        specimen, self._dispatch.specimen = self._dispatch.specimen, None
        if specimen is None:
            return Payload()
        columns, values = specimen
        # As many calls as take about 1 ms, so that looking costs less than what is looked at.
        calls = max(1, min(len(values), int(1e-3 / max(sample.service / sample.calls, 1e-7))))
        cut = tuple(column[:calls] for column in columns)
        return measure_payload(cut, values[:calls], self._dispatch.clock)

    def _worth_learning(self) -> bool:
        """Whether several calls at once could pay at all, in the best case that is possible."""
        profile = self.profile
        if self._learned or profile is None or self._dispatch.finished:
            return False
        hopeful = replace(profile, gil_low=0.0, gil_high=0.0)
        forecasts = self._forecast_all(hopeful, self._calls_left())
        best = min(each.makespan for each in forecasts if each.refusal is None)
        loop = forecasts[0].makespan
        if loop - best <= max(_WORTH, 0.1 * loop):
            return False
        # If only processes could pay, there is nothing that a race of threads would tell.
        return any(
            each.plan.mechanism == "thread"
            and each.refusal is None
            and loop - each.makespan > max(_WORTH, 0.1 * loop)
            for each in forecasts
        )

    def _learn(self) -> Iterator[None]:
        assert self.profile is not None
        self._learned = True
        if self.profile.waits:
            yield from self._widen()
        elif self._machine.facts.usable_cpus > 1.0 and self._machine.facts.gil:
            yield from self._race()

    def _race(self) -> Iterator[None]:
        """Run calls in two threads: do they run at once? Then the GIL is released."""
        assert self.profile is not None
        dispatch, clock = self._dispatch, self._dispatch.clock
        lane = yield from self._switch(Plan("thread", 2))
        began, cpu = clock.now(), clock.process_cpu()
        until = began + _RACE_FOR
        while not dispatch.finished and (left := until - clock.now()) > 0.0:
            dispatch.fill()
            if dispatch.nothing_left or not dispatch.in_flight:
                break  # too few calls for a race
            dispatch.wait(left)
            yield
        elapsed = clock.now() - began
        if elapsed < _RACE_FOR / 2:
            return
        busy = (clock.process_cpu() - cpu) / elapsed
        self.profile = after_race(
            self.profile, lane.width, busy, self._machine.facts.usable_cpus
        )
        word = "take turns: the GIL is held" if self.profile.gil_low else "run at once"
        dispatch.note(f"race of 2 threads: they {word} ({busy:.1f} CPUs busy)")

    def _widen(self) -> Iterator[None]:
        """Run waiting calls in more and more threads while throughput grows."""
        assert self.profile is not None
        cpus = self._machine.facts.usable_cpus
        narrow: Sample | None = None
        light = self.profile.cpu < _LIGHT * self.profile.wall
        width = min(_FIRST_WIDTH * (2 if light else 1), self._most_threads())
        while True:
            plan = Plan("thread", width)
            lane = yield from self._switch(plan)
            sample = yield from self._sample(lane, width)
            if not sample.calls or self._dispatch.nothing_left:
                return
            self.profile = self.profile.with_cpu(self._dispatch.cpu_per_call)
            self.profile = after_widening(self.profile, narrow, sample, cpus)
            self._dispatch.note(f"{plan}: {rate(sample.steady_rate)} calls/s")
            needed = math.ceil(_ENOUGH_THREADS * cpus * self.profile.wall / max(self.profile.cpu, 1e-6))
            full = sample.steady_rate >= 0.8 * width / self.profile.wall
            grows = full or narrow is None or _grew(narrow, sample)
            wider = min((4 if full and light else 2) * width, self._most_threads(), needed)
            if not grows or self.profile.gil_low or self.profile.outside or wider <= width:
                return
            narrow, width = sample, wider

    def _most_threads(self) -> int:
        left = self._dispatch.remaining
        most = self._limits.max_concurrency
        if self._limits.max_workers is not None:
            most = min(most, self._limits.max_workers)
        return max(1, most if left is None else min(most, left))

    def _sample(
        self, lane: Lane, calls: int, seconds: Seconds = 0.0
    ) -> Generator[None, None, Sample]:
        """Let `lane` work until it has done so many calls that began under its present width, for
        so long; what it did is the value.
        """
        dispatch = self._dispatch
        start = lane.observe(dispatch.clock.now())
        settled = start.calls + lane.width  # the first to end began before
        while not dispatch.finished:
            dispatch.fill()
            if lane.ready_workers and not dispatch.in_flight:
                break  # the look-ahead is used up, and in a survey nobody takes results
            dispatch.wait()
            now = lane.observe(dispatch.clock.now())
            if start.calls < settled <= now.calls:
                start, settled = now, 0
            elif not settled and now.calls - start.calls >= calls and now.at - start.at >= seconds:
                break
            yield
        return start.until(lane.observe(dispatch.clock.now()), lane.width)

    # ---- deciding ------------------------------------------------------------------------

    def decide(self) -> Forecast:
        """Compare all candidates for what is left, and return the one to take."""
        assert self.profile is not None
        forecasts = self._forecast_all(self.profile, self._calls_left())
        self.forecasts = ranked(forecasts)
        chosen = self.forecasts[0]
        self.predicted = self._dispatch.elapsed + chosen.makespan
        return chosen

    def _clearly_better(self, chosen: Forecast) -> bool:
        """Whether to leave what runs: forecasts that differ by little are no reason to move."""
        lane = self.lane
        if lane is None or not lane.active or lane.inline or self._moves < 1:
            return True
        if chosen.plan.mechanism == lane.plan.mechanism == "thread":
            return True  # costs nothing, and fewer threads are kinder to the other side
        current = next((each for each in self.forecasts if each.plan == lane.plan), None)
        return current is None or chosen.makespan < _MOVE_BELOW * current.makespan

    def _calls_left(self) -> float:
        # Of a workload whose end is not in sight, expect as much to come as has been.
        left = self._dispatch.remaining
        return float(left if left is not None else max(1, self._dispatch.settled))

    def _forecast_all(
        self, profile: TaskProfile, calls: float, *, fresh: bool = False
    ) -> list[Forecast]:
        """Forecast `calls` calls under every candidate: going on from what runs now, or `fresh`,
        as if nothing ran.
        """
        left = self._dispatch.remaining
        here = self.lane.mean_rate if self.lane is not None else 1.0 / profile.wall
        result = []
        for plan in candidates(self._machine, profile, self._limits):
            refusal = self._mechanisms(plan.mechanism).refusal(self._traits)
            if refusal is None and plan.mechanism == "process" and not profile.payload.carried:
                refusal = Refusal("an argument or a result cannot be pickled", "use threads")
            if refusal is not None:
                result.append(Forecast(plan, refusal=refusal))
                continue
            delay = (
                startup(self._machine, plan, server_running=False) if fresh else self._startup(plan)
            )
            result.append(
                forecast(
                    self._machine,
                    profile,
                    plan,
                    calls,
                    batch=batch_size(plan, profile.wall, left),
                    startup=delay,
                    meanwhile=0.0 if fresh else here,
                    correction=self._correction,
                    measured=self.measured.get(plan),
                )
            )
        return result

    def _startup(self, plan: Plan) -> Seconds:
        lane = self.lane
        if lane is not None and lane.active and lane.plan.mechanism == plan.mechanism:
            if lane.plan == plan:
                return 0.0
            if plan.mechanism == "thread":
                return startup(self._machine, Plan("thread", plan.workers), server_running=True)
        served = any(each.plan.mechanism == "process" for each in self._dispatch.lanes)
        return startup(self._machine, plan, server_running=served)

    # ---- working -------------------------------------------------------------------------

    def _switch(self, plan: Plan) -> Generator[None, None, Lane]:
        """Move to a thread plan at once; the lane is the value."""
        yield from self._move_to(plan)
        assert self.lane is not None
        return self.lane

    def _move_to(self, plan: Plan) -> Iterator[None]:
        """Open `plan` beside what runs; move over when all of its workers are ready."""
        dispatch, old = self._dispatch, self.lane
        if old is not None and old.active and old.plan == plan:
            return
        if old is not None and old.active and {old.plan.mechanism, plan.mechanism} == {"thread"}:
            old.widen(plan)
            self.plan = plan
            return
        if old is not None and plan.mechanism == "process":
            old = self._step_aside(old)
        new = dispatch.open(plan)
        while new.all_ready_at is None and new.active and not dispatch.finished:
            self._work_meanwhile(old, new)
            yield
        if not new.active:
            return  # it could not be opened; the old lane goes on
        if old is not None:
            dispatch.retire(old)
        self.lane, self.plan = new, plan
        self._moves += not new.inline and self._learned
        if plan.mechanism == "process" and new.all_ready_at is not None:
            took = duration(new.all_ready_at - new.opened_at)
            dispatch.note(f"moved to {plan} (started in {took}, meanwhile the work went on)")
        elif plan.mechanism == "thread":
            dispatch.note(f"{plan}")

    def _step_aside(self, lane: Lane) -> Lane:
        """Go on in a way that lets new workers start, and that notices when they are ready."""
        assert self.profile is not None
        if lane.inline and self.profile.wall > _NOTICE_WITHIN:
            if self._mechanisms("thread").refusal(self._traits) is not None:
                return lane
            thread = self._dispatch.open(Plan("thread", 1))
            self._dispatch.retire(lane)
            self.lane = thread
            return thread
        if not lane.inline and not self.profile.waits:
            lane.width = 1  # its other threads would only take the CPU from the starting workers
        return lane

    def _work_meanwhile(self, old: Lane | None, new: Lane) -> None:
        """Never wait idle for workers: run calls inline, or keep the old lane filled."""
        dispatch = self._dispatch
        dispatch.fill()
        if old is not None and old.inline and old.active and new.plan.mechanism == "process":
            dispatch.send_next(old)
            dispatch.inbox.wait(0)
        elif not dispatch.finished:
            dispatch.wait()  # threads start within some 0.1 ms

    def _run_for_a_while(self) -> Iterator[None]:
        """Work under the plan; return when it is time to think again."""
        dispatch, lane = self._dispatch, self.lane
        assert lane is not None
        assert self.profile is not None
        start = lane.observe(dispatch.clock.now())
        period = max(_LOOK_AFTER, dispatch.elapsed)
        while not dispatch.finished:
            step(dispatch, lane)
            yield
            if not lane.active:
                return
            now = lane.observe(dispatch.clock.now())
            if now.at - start.at < period or now.calls - start.calls < lane.width:
                continue
            if self._disagrees(start.until(now, lane.width), lane.plan):
                return
            start, period = now, 2 * period

    def _disagrees(self, sample: Sample, plan: Plan) -> bool:
        """Compare what was reached with the forecast; learn from it if they are far apart."""
        assert self.profile is not None
        rescaled = self.profile.with_cpu(sample.cpu / sample.calls)
        left = self._dispatch.remaining
        if left is None and plan.mechanism == "inline":
            self.profile = rescaled
            return True  # more has come than was expected: think again
        batch = batch_size(plan, rescaled.wall, left)
        predicted = forecast(self._machine, rescaled, plan, math.inf, batch=batch)
        ceiling = predicted.ceilings.binding
        expected = predicted.rate * self._correction.get(ceiling, 1.0)
        if 0.75 * expected <= sample.rate <= 1.33 * expected:
            return False
        self.profile = rescaled
        # This ceiling is not where the model has it; for the plans that it binds as well, it is not.
        correction = self._correction.get(ceiling, 1.0) * sample.rate / expected
        self._correction[ceiling] = correction
        return True


def _grew(narrow: Sample, wide: Sample) -> bool:
    return wide.steady_rate >= _STILL_GROWS * narrow.steady_rate
