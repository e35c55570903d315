"""Choosing while working: survey, decide, move over, watch.

`survey` learns, `trust` sees whether that holds, `choice` compares, `lanes` moves; this is the
order in which they are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from poolwise.cost import Forecast
from poolwise.executor.choice import CLEARLY_BETTER, SOON_OVER, Choice, Situation, last_ends
from poolwise.executor.conduct import step
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.findings import Findings
from poolwise.executor.lane import Lane
from poolwise.executor.lanes import NOTICE_WITHIN, CurrentLane
from poolwise.executor.listening import LISTENS_FOR
from poolwise.executor.opening import Opening
from poolwise.executor.resuming import Resuming
from poolwise.executor.sampling import sample_of
from poolwise.executor.survey import Survey
from poolwise.executor.trust import Trust
from poolwise.executor.watch import LOOK_AFTER, Watch
from poolwise.machine import MachineProfile
from poolwise.mechanisms import Mechanism
from poolwise.plan import Plan
from poolwise.planner import Limits, kind
from poolwise.planner.choose import MARGIN
from poolwise.probe import Sample, TaskProfile
from poolwise.probe.contention import HELPED
from poolwise.probe.pilot import WARM_UP
from poolwise.task import Refusal, TaskTraits
from poolwise.timing.turns import QuickTurns
from poolwise.units import Seconds
from poolwise.wisdom import Entry, inputs_like, spent

#: Between two decisions where the end of the inputs is not in sight, at least: as much is expected
#: as has been, so what does not pay yet may soon. To think again takes some 0.2 ms.
_LOOK_AGAIN: Seconds = 5e-3

#: Computing left, in seconds, from which it pays to prepare for processes: that takes some
#: milliseconds, ten times less than they could win. What earlier maps of a function have used
#: counts: whoever maps again and again is likely to go on.
_WORTH_PREPARING: Seconds = 100e-3

#: A first call of up to so many seconds is repeated before anything rests on it, where at least so
#: many for each CPU are left. An SVD that took 1 ms took 70 when it began the threads of OpenBLAS.
_FIRST_AT_MOST: Seconds = 0.25
_MANY_FOR_A_CPU = 16

#: However short calls are, threads have so long to end: whoever is told to has to get a CPU and the
#: GIL first. Those of 20 µs were waited for for 40 µs, and an executed server started instead.
_ENDS_WITHIN: Seconds = 20e-3

#: Calls that run on the word of an earlier run are late after so many times what all that began
#: should take, and so many seconds.
_LATE_TIMES, _LATE_FOR = 3.0, 20e-3

#: How long each plan is watched when forecasts are verified.
_VERIFY_FOR: Seconds = 0.25


class Auto:
    """The conductor that chooses. Used by the owner only.

    `forecasts` are those of the latest decision, the chosen plan first; `predicted` is the
    makespan of the whole run as it was forecast then. `remembered` is what an earlier run has
    taught, where this one went on from it.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        machine: MachineProfile,
        traits: TaskTraits,
        limits: Limits,
        mechanisms: Callable[[str], Mechanism],
        unpicklable: Callable[[], Refusal | None] = lambda: None,
        recall: Callable[[str], Entry | None] | None = None,
    ) -> None:
        self.remembered: Entry | None = None
        self.inputs = ""  # what they are like, if that was asked for
        self._recall = recall
        self._favourite: Plan | None = None
        self._spent: Seconds = 0.0  # by earlier runs in this process
        self._prepared = False  # for processes
        self._unseen = False  # no call has ended, though some run because an earlier run said so
        self._unpiloted = False  # none has run alone
        self._on_trust = False  # no look has shown yet that it is as an earlier run said
        self.forecasts: tuple[Forecast, ...] = ()
        self.predicted: Seconds | None = None
        self._dispatch = dispatch
        self._cpus = machine.facts.whole_cpus
        self._choice = Choice(machine, traits, limits, mechanisms, unpicklable)
        self._current = CurrentLane(dispatch, self._choice)
        self._opening = Opening(dispatch, self._current, self._choice, machine.facts, limits)
        self._resuming = Resuming(dispatch, self._current, self._choice)
        self._findings = Findings(machine.facts.gil)
        self._survey = Survey(
            dispatch, self._current, self._findings, self._choice, machine, limits
        )
        self._trust = Trust(dispatch, self._current, self._findings, machine.facts.usable_cpus)

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self._current.plan

    @property
    def profile(self) -> TaskProfile | None:
        """Where the time of a call goes, as far as is known; ``None`` if no call has run."""
        return self._findings.profile

    @property
    def learned(self) -> bool:
        """Whether calls have run side by side, so that they are known better than by a pilot."""
        return self._findings.learned and self._findings.conclusive

    @property
    def unsendable(self) -> bool:
        """Whether calls were sent to processes before it was known that they cannot be."""
        return self._opening.unsendable

    @property
    def in_vain(self) -> bool:
        """Whether this process was forked for calls that were too short for that."""
        return self._opening.in_vain

    @property
    def refused(self) -> bool:
        """Whether only a plain loop will do, as calls were seen to change what they share."""
        return self._findings.refusal is not None

    @property
    def partly(self) -> tuple[str, ...]:
        """The names of what was too large to be seen in full when changes were looked for."""
        return self._findings.partly

    def steps(self) -> Iterator[None]:
        """Do everything: the whole conductor."""
        yield from self.survey()
        yield from self.work()

    def survey(self) -> Iterator[None]:
        """Learn where the time goes, on a bounded number of calls."""
        known = self._recalled()
        expected = None if known is None else known.profile
        if known is not None:
            self._spent = spent(known)
            if self._resuming.at_once(known, self.inputs):
                self._findings.profile, self._findings.learned = known.profile, True
                self._go_on_from(known)
                self._unseen = self._unpiloted = known.plan.mechanism == "thread"
                yield
                return
            if not self._opening.begins_beside(known):
                self._resuming.start_workers(known, self.inputs)
            self._prepare(known.profile)
        self._findings.strangers = strangers = self._dispatch.clock.others_running()
        if self._current.begun is None:
            yield from self._opening.steps(known, strangers)
        elif known is not None and known.profile.wall > NOTICE_WITHIN:
            yield from self._opening.beside_workers(strangers)
        sample, self._survey.unsendable = self._opening.sample, self._opening.unsendable
        self._survey.held, self._findings.programs = self._opening.held, self._opening.programs
        brief, where = self._opening.brief, "begun in a thread"
        if sample is not None and brief and self._survey.is_soon_over(sample):
            sample, brief = self._survey.run_the_rest(sample), not self._dispatch.nothing_left
            where = "in the caller" if brief else "soon over"
        if sample is None or (brief and not self._survey.is_clear(sample, expected)):
            self._pilot(expected)
        if sample is not None and self.profile is None:  # nothing more may be drawn yet
            self._survey.begin_with(sample, where)
        if known is not None:
            self._take_up(known)
        yield
        if self._first_may_differ():
            self._survey.held = None  # it was heard beside the first one
            self._pilot()
            yield
        yield from self._learn_if_it_could_pay()
        self._survey.see_paging()

    def work(self) -> Iterator[None]:
        """Run the rest under the best plan, and look now and then whether it still is."""
        while not self._dispatch.finished:
            yield from self._learn_if_it_could_pay()
            self._survey.see_paging()
            task = self.profile
            assert task is not None  # something is left, so the pilot had a call
            chosen = self._decide(task)
            if self._dispatch.nothing_left or not self._clearly_better(chosen):
                self._current.let_go()
            else:
                if chosen.plan.mechanism == "process":
                    yield from self._make_way(chosen.plan, task)
                now = self._current.situation
                startup = self._choice.until_ready(chosen.plan, task, now)
                lane = yield from self._current.move(chosen.plan, task, startup)
                if lane.plan.mechanism != chosen.plan.mechanism:
                    continue  # that could not be opened, and is refused from now on
            yield from self._run_for_a_while()

    def verify(self) -> Iterator[None]:
        """Run the best plan of each kind on a slice of inputs of its own; keep what it reached."""
        task = self.profile
        if task is None:
            return
        slices: dict[Plan, Sample] = {}
        best: dict[tuple[str, bool], Plan] = {}
        for each in self.forecast_whole(None):
            if each.refusal is None and each.plan.mechanism != "inline":
                best.setdefault(kind(each.plan), each.plan)
        for plan in best.values():
            if self._dispatch.nothing_left:
                return
            if plan.mechanism == "process":
                yield from self._make_way(plan, task)
            lane = yield from self._current.move(plan, task)
            sample = yield from sample_of(
                self._dispatch, lane, 4 * plan.concurrency, plan.concurrency, _VERIFY_FOR
            )
            if lane.plan == plan and sample.calls >= plan.concurrency:
                slices[plan] = sample
        mean = self._findings.profile = task.with_cpu(self._dispatch.cpu_per_call)
        for plan, sample in slices.items():
            self._choice.note_measured(mean, plan, sample)

    def forecast_whole(self, calls: int | None) -> tuple[Forecast, ...]:
        """Forecast a workload of `calls` calls (1,000 if that is not known) from its start."""
        assert self.profile is not None
        left = 1_000 if calls is None else calls
        return self._choice.rank(self.profile, Situation(left=left, whole=True))

    def _recalled(self) -> Entry | None:
        """Return what is known of the function, at best from a run with such inputs."""
        dispatch = self._dispatch
        if self._recall is None or dispatch.remaining == 1:
            return None
        calls = dispatch.workload.at_hand
        if calls is None:
            dispatch.prepare(1)
            calls = dispatch.prepared
        self.inputs = "" if calls is None else inputs_like(calls[1])
        return self._recall(self.inputs)

    def _take_up(self, known: Entry) -> None:
        """Go on from what an earlier run has taught, if the first calls agree with it."""
        if self._trust.take_up(known.profile, known.learned):
            self._go_on_from(known)
        else:
            self._current.let_go()

    def _go_on_from(self, known: Entry) -> None:
        self.remembered, self._favourite = known, known.plan if known.decided else None
        self._current.earlier = known.calls
        self._dispatch.note(f"the rest is remembered from {known.run}: {known.plan}")
        self._on_trust = self._findings.learned

    def _prepare(self, known: TaskProfile) -> None:
        """Fork this process while there is no other thread, if that pays in the long run."""
        dispatch, now = self._dispatch, self._current.situation
        much = self._spent + now.expected * known.cpu > _WORTH_PREPARING
        if much and known.gil_low > 0.0 and self._choice.could_pay(known, now):
            self._prepared = True
            workers = dispatch.workers.under(Plan("process", self._cpus))
            dispatch.mechanism("process").prepare(workers)

    def _make_way(self, plan: Plan, task: TaskProfile) -> Iterator[None]:
        """Have the threads of this run end, if they soon can, so that this process can be forked:
        an executed server takes ten times as long.
        """
        lane, dispatch = self._current.lane, self._dispatch
        process = dispatch.mechanism("process")
        workers = dispatch.workers.under(plan)
        ready = process.readiness(workers)
        if self._prepared or ready.server or ready.idle >= plan.workers:
            return
        if ready.threads != 1 + self._current.threads:  # there are others, which stay
            return
        until_end = last_ends(task, min(lane.in_flight, lane.width))
        if lane.inline or until_end <= SOON_OVER:
            # As an estimate is one, they get twice as long.
            yield from self._current.back_to_loop(max(_ENDS_WITHIN, 2.0 * until_end))
            if not self._current.threads:
                self._prepared = True
                process.prepare(workers)

    def _pilot(self, expected: TaskProfile | None = None) -> None:
        """Run some calls here; keep to the loop if each is seen to change what they share."""
        self._survey.pilot(expected)
        if self._findings.refusal is not None:
            for mechanism in ("thread", "process"):
                self._choice.refuse(mechanism, self._findings.refusal)

    def _first_may_differ(self) -> bool:
        """Whether all that is known is one call that has used threads of libraries, long enough to
        have made them for the others, so many are left that another one alone costs little, and
        nothing would be listened to, which tells it otherwise.
        """
        task, left = self.profile, self._dispatch.remaining
        if task is None or task.calls > 1 or task.waits or self.refused or self._findings.learned:
            return False
        if task.beside <= HELPED * task.cpu:
            return False
        long = WARM_UP <= task.wall <= _FIRST_AT_MOST
        many = left is not None and left >= _MANY_FOR_A_CPU * self._cpus
        return long and many and not self._choice.could_pay(task, self._current.situation)

    def _learn_if_it_could_pay(self) -> Iterator[None]:
        task = self.profile
        if task is None or self._findings.learned or self._dispatch.finished:
            return
        self._choice.profiled_anew()
        if self._choice.could_pay(task, self._current.situation):
            now = self._current.situation
            # Of inputs whose end is not in sight there may be many.
            few = now.left is not None
            listen = not (few and self._choice.processes_will_do(task, now, LISTENS_FOR))
            yield from self._survey.learn(task, listen)
            if self._findings.crowded:
                self._choice.refuse("thread", Refusal(self._findings.crowded))

    def _decide(self, task: TaskProfile) -> Forecast:
        favourite, self._favourite = self._favourite, None  # only at first
        if not (task.waits or task.gil_known or self._findings.learned):
            # It is not worth finding out, even if nothing held the GIL; then nothing is hoped for.
            task = task.with_gil(task.cpu, task.cpu)
        with QuickTurns():  # to see what is there already takes system calls
            self.forecasts = self._choice.rank(task, self._current.situation, favourite)
        chosen = self.forecasts[0]
        self.predicted = self._dispatch.elapsed + chosen.makespan
        return chosen

    def _clearly_better(self, chosen: Forecast) -> bool:
        """Whether to leave what runs: forecasts that differ by little are no reason to move."""
        lane = self._current.lane
        if lane.inline and not lane.settled:  # going on from the survey
            return True
        if lane.plan.mechanism == "thread" and self._findings.crowded:
            return True
        current = next((each for each in self.forecasts if each.plan == lane.plan), None)
        if current is not None and chosen.plan.mechanism == lane.plan.mechanism == "thread":
            # Half as many threads are kinder to the other side.
            fewer = 2 * chosen.plan.workers <= lane.plan.workers
            return fewer or chosen.makespan < current.makespan / (1.0 + MARGIN)
        # Each move asks for more, so that noise cannot drive a run to and fro.
        bar = CLEARLY_BETTER ** max(1, self._current.moves)
        return current is None or chosen.makespan < bar * current.makespan

    def _see_the_first(self, lane: Lane) -> Iterator[None]:
        """Wait until as many calls have ended as began on the word of an earlier run, unless that
        takes several times as long as it should; then look whether they are as it says.
        """
        dispatch, task = self._dispatch, self.profile
        assert task is not None
        self._unseen = False
        clock = dispatch.clock
        until = clock.now() + _LATE_TIMES * lane.width / self.forecasts[0].rate + _LATE_FOR
        dispatch.fill()
        # A small buffer allows for fewer than there are threads.
        begun = max(1, min(lane.width, lane.calls + lane.in_flight))
        while lane.calls < begun and lane.active and not dispatch.finished:
            left = until - clock.now()
            if left <= 0.0:
                break
            dispatch.fill()
            dispatch.wait(left)
            yield
        late, all_yet = lane.calls < begun, lane.observe(clock.now())
        sample = Sample(lane.calls, lane.width, all_yet.busy, all_yet.service, all_yet.cpu)
        if lane.active and not dispatch.finished and (late or not self._trust.holds(sample)):
            yield from self._begin_anew()

    def _begin_anew(self) -> Iterator[None]:
        """Learn everything from a pilot on: what calls do under a wrong plan tells too little."""
        self._dispatch.note("calls are not as remembered: all is learnt anew")
        self._on_trust = False
        yield from self._current.back_to_loop()
        self._findings.profile, self._findings.learned = None, False
        self._pilot()
        if self.profile is not None:  # of how long they compute many tell more than one
            self._findings.profile = self.profile.with_cpu(self._dispatch.cpu_per_call)
        yield

    def _run_for_a_while(self) -> Iterator[None]:
        """Work under the plan; return when it is time to think again."""
        dispatch, lane = self._dispatch, self._current.lane
        lane.settled = True
        start = lane.observe(dispatch.clock.now())
        if self._unseen:
            yield from self._see_the_first(lane)
            if not self._findings.learned:  # or nothing is left
                return
        watch = Watch(dispatch, lane, self._trust)
        # The first calls of new workers import and fill caches.
        warm = start.calls + lane.width if lane.plan.mechanism == "process" else 0
        least = LOOK_AFTER if dispatch.remaining is not None else _LOOK_AGAIN
        period = max(least, dispatch.elapsed)
        while not dispatch.finished and lane.active:
            step(dispatch, lane)
            watch.leave()
            yield
            now = watch.come_back()
            if start.calls < warm <= now.calls:
                start, warm = now, 0
                watch.begin(now)
                continue
            if not warm and watch.sees_change(now):
                return
            if now.at - start.at < period or now.calls - start.calls < lane.width:
                continue
            sample = start.until(now, lane.width)
            task = self.profile
            assert task is not None
            as_now = task.seen(lane.plan.mechanism, sample.cpu / sample.calls)
            if self._on_trust and now.at - start.at >= LOOK_AFTER:
                self._on_trust = False
                left = dispatch.remaining
                if not self._choice.as_forecast(as_now, lane.plan, sample, left):
                    if self._unpiloted:
                        yield from self._begin_anew()
                    else:
                        self._trust.doubt(sample.cpu / sample.calls)
                    return
            more = dispatch.remaining is None and lane.plan.mechanism in ("inline", "thread")
            if more or not self._choice.agrees(as_now, lane.plan, sample, dispatch.remaining):
                # More has come than was expected, or it goes otherwise.
                self._findings.profile = as_now
                return
            start, period = now, 2 * period
