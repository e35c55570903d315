"""The lane in force, and moving to another one without a pause."""

from __future__ import annotations

import math
from collections.abc import Generator
from pickle import PicklingError

from poolwise.executor.choice import Choice, Situation, waits_for
from poolwise.executor.conduct import opened, widen
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.lane import Lane
from poolwise.plan import Plan
from poolwise.probe import TaskProfile
from poolwise.task import Refusal
from poolwise.timing.turns import QuickTurns
from poolwise.units import Seconds, duration

#: Calls longer than this do not run in the owner's thread while workers start: it would not
#: notice that they are ready. Where they differ, the next may last so many times as long as the
#: longest one yet: of 500 with a long tail, one kept two ready workers waiting for 50 ms.
NOTICE_WITHIN: Seconds = 5e-3
_LONGER = 2.0

#: A thread starts in 0.1 to 0.4 ms. It takes longer where calls have come to compute in turn: 32
#: more of them took 140 ms, and would have been in each other's way. (And on a busy machine, which
#: is no reason; see `widen`.)
START_WITHIN: Seconds = 1e-3


class CurrentLane:
    """Which lane takes the calls now. Begins with the plain loop. Used by the owner only."""

    def __init__(self, dispatch: Dispatch, choice: Choice) -> None:
        self._dispatch = dispatch
        self._choice = choice
        self.plan = Plan("inline")
        self.lane = dispatch.open(self.plan)
        self.begun: Lane | None = None  # workers that start for a plan which is likely to come
        self.begun_ready_at: Seconds = 0.0  # when they should be ready
        self.earlier = 0  # calls of an earlier run that this one goes on from
        self.moves = 0  # to processes or back, after which going on costs a start
        self.thread_start: Seconds = 0.0  # what one took that was started lately; 0 if none was

    @property
    def threads(self) -> int:
        """Threads of this run."""
        lanes = self._dispatch.lanes
        return sum(each.pool.workers for each in lanes if each.plan.mechanism == "thread")

    @property
    def situation(self) -> Situation:
        """Where the run stands."""
        dispatch = self._dispatch
        return Situation(
            left=dispatch.remaining,
            ended=dispatch.settled,
            plan=self.plan if self.lane.active else None,
            rate=self.lane.mean_rate,
            served=any(lane.plan.mechanism == "process" for lane in dispatch.lanes),
            threads=self.threads,
            service=self.lane.mean_service or 0.0,
            thread_start=self.thread_start,
            earlier=self.earlier,
        )

    def move(
        self, plan: Plan, task: TaskProfile, startup: Seconds = math.inf
    ) -> Generator[None, None, Lane]:
        """Open `plan` beside what runs; move over when its workers are ready, after `startup`.

        The value is the lane in force afterwards: still the old one if `plan` could not be opened,
        or if the work was over before.
        """
        dispatch, old = self._dispatch, self.lane
        begun = self._begun_for(plan)
        if old.active and old.plan == plan:
            return old
        if old.active and old.plan.mechanism == plan.mechanism == "thread":
            self._note_start(widen(dispatch, old, plan, START_WITHIN))
            self.plan = old.plan
            return old
        if begun is not None:
            startup = self.begun_ready_at - dispatch.clock.now()
        patience = waits_for(startup, task) if old.inline else 0.0
        patient = patience > 0.0
        ready = begun is not None and begun.all_ready_at is not None
        if plan.mechanism == "process" and not (patient or ready):
            old = self._step_aside(old, task)
        try:
            with QuickTurns():
                new, took = opened(dispatch, plan, START_WITHIN) if begun is None else (begun, 0.0)
            self._note_start(took)
        except PicklingError as error:
            self._choice.refuse(plan.mechanism, Refusal(str(error), "use threads"))
            old.width = old.plan.concurrency
            return old
        until = dispatch.clock.now() + patience
        while new.all_ready_at is None and new.active and not dispatch.finished:
            if patient and dispatch.clock.now() >= until:
                old, patient = self._step_aside(old, task), False
            with QuickTurns():
                self._work_meanwhile(old, new, until)
            yield
        if not new.active:
            refusal = Refusal("its workers could not be started here", "use threads")
            self._choice.refuse(plan.mechanism, refusal)
            old.width = old.plan.concurrency
        elif new.all_ready_at is not None:
            self._take(new, old)
        return self.lane

    def let_go(self) -> None:
        """Do without workers that were begun for a plan that does not come."""
        begun, self.begun = self.begun, None
        if begun is not None:
            self._dispatch.drop(begun)

    def _begun_for(self, plan: Plan) -> Lane | None:
        """Return the lane whose workers were begun for `plan`, which has calls from now on."""
        begun = self.begun
        if begun is None or begun.plan != plan or not begun.active:
            self.let_go()
            return None
        self.begun, begun.width = None, plan.concurrency
        return begun

    def _note_start(self, thread_start: Seconds) -> None:
        if thread_start:
            self.thread_start = thread_start

    def back_to_loop(self, most: Seconds | None = None) -> Generator[None, None, None]:
        """Leave what runs for the plain loop, and wait until its workers have ended, if so said at
        most for so long. The end of the calls under way wakes.
        """
        dispatch, old = self._dispatch, self.lane
        if old.inline:
            return
        self._note_work(old)
        self.plan = Plan("inline")
        self.lane = dispatch.open(self.plan)
        dispatch.retire(old)
        until = None if most is None else dispatch.clock.now() + most
        while old in dispatch.lanes:
            left = None if until is None else until - dispatch.clock.now()
            if left is not None and left <= 0.0:
                return
            dispatch.wait(left)
            yield

    def adopt(self, lane: Lane) -> None:
        """Move over to a lane that is open and at work already."""
        self._dispatch.retire(self.lane)
        self.lane, self.plan = lane, lane.plan

    def _take(self, new: Lane, old: Lane) -> None:
        self._note_work(old)
        self._dispatch.retire(old)
        self.lane, self.plan = new, new.plan
        self.moves += "process" in (old.plan.mechanism, new.plan.mechanism)
        if new.plan.mechanism == "process":
            assert new.all_ready_at is not None
            took = duration(new.all_ready_at - new.opened_at)
            self._dispatch.note(f"moved to {new.plan} ({took} to start)")
        else:
            self._dispatch.note(str(new.plan))

    def _note_work(self, lane: Lane) -> None:
        reading = lane.observe(self._dispatch.clock.now())
        if reading.busy > 0.0:
            self._choice.note_work(lane.plan.mechanism, reading.cpu / reading.busy)

    def _step_aside(self, lane: Lane, task: TaskProfile) -> Lane:
        """Go on in a way that lets new workers start, and that notices when they are ready."""
        longest = max(task.wall, _LONGER * self._dispatch.longest)
        if lane.inline and longest > NOTICE_WITHIN:
            if self._choice.refusal("thread") is not None:
                return lane
            thread = self._dispatch.open(Plan("thread", 1))
            while thread.active and not thread.ready_workers:  # it says that it is, or cannot be
                self._dispatch.wait()
            if not thread.active:
                return lane
            self._dispatch.retire(lane)
            self.lane = thread
            return thread
        if not lane.inline and not task.waits:
            lane.width = 1  # its other threads would only take the CPU from the starting workers
            self._dispatch.take_back(lane)
        return lane

    def _work_meanwhile(self, old: Lane, new: Lane, until: Seconds) -> None:
        """Run calls inline, though not before `until`; or keep the old lane filled."""
        dispatch = self._dispatch
        dispatch.fill()
        if old.inline and old.active and new.plan.mechanism == "process":
            patience = until - dispatch.clock.now()
            if patience > 0.0:
                dispatch.wait(patience)
            else:
                dispatch.send_next(old)
                dispatch.wait(0)
        elif not dispatch.finished:
            dispatch.wait()  # threads start within some 0.1 ms
