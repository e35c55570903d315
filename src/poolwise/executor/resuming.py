"""Going on from what an earlier run has taught, before any call has shown that it still holds.

Only where inputs are as they were then, nothing that calls could change is within their reach, and
the plan that was in force is still the best. Then threads have calls at once: that these are as
remembered shows in what they do. Workers are started, and have calls when the first one, run here
meanwhile, is found to be as remembered, and its result to be one that can be sent: what the
function calls may have been edited since.
"""

from __future__ import annotations

from pickle import PicklingError

from poolwise.executor.choice import Choice
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.lanes import CurrentLane
from poolwise.mechanisms import Readiness
from poolwise.plan import Plan
from poolwise.probe.changeable import nothing_can_change
from poolwise.task import Refusal
from poolwise.timing.turns import QuickTurns
from poolwise.wisdom import Entry

#: Inputs of which each can be looked at before any call runs: that takes a µs each. Of more the
#: first ones stand for all; a pilot looks at three.
_A_FEW = 256


class Resuming:
    """Finds out how far a run can go on from an earlier one at once. Used by the owner only."""

    def __init__(self, dispatch: Dispatch, current: CurrentLane, choice: Choice) -> None:
        self._dispatch = dispatch
        self._current = current
        self._choice = choice

    def at_once(self, known: Entry, inputs: str) -> bool:
        """Whether calls may run under a plan of the kind of `known` before any of them has ended;
        for now the inputs are like `inputs`.
        """
        mechanism = known.plan.mechanism
        if not known.decided or self._choice.refusal(mechanism, known.profile) is not None:
            return False
        if mechanism == "process":
            return self._workers_wait_for(known.plan) and self._nothing_can_change(all_of_them=True)
        plan = self._plan_now(known, inputs)
        if plan is None or plan.mechanism != "thread" or mechanism != "thread":
            return False
        # What few calls have taught does not do for the crowd that many could begin with.
        return plan.workers <= max(known.calls, known.plan.workers) and self._nothing_can_change()

    def start_workers(self, known: Entry, inputs: str) -> None:
        """Start the workers that `known` says will be wanted, beside the first call."""
        if known.plan.mechanism != "process" or not known.learned:
            return
        if self._readiness(known.plan).libraries:
            # A fork ends their threads, the first call makes them anew, and they poll for work on
            # the CPUs that workers use by then: 50 matrix products took 310 ms instead of 280.
            return
        plan = self._plan_now(known, inputs)
        if plan is not None and plan.mechanism == "process" and self._nothing_can_change():
            self._start(plan, known)

    def _plan_now(self, known: Entry, inputs: str) -> Plan | None:
        """Return what is best for as many inputs as there are now, if they are like those then."""
        if not inputs or known.inputs != inputs:
            return None
        favourite = known.plan if known.decided else None
        return self._choice.rank(known.profile, self._current.situation, favourite)[0].plan

    def _workers_wait_for(self, plan: Plan) -> bool:
        return self._readiness(plan).idle >= plan.workers

    def _readiness(self, plan: Plan) -> Readiness:
        dispatch = self._dispatch
        return dispatch.mechanism("process").readiness(dispatch.workers.under(plan))

    def _nothing_can_change(self, *, all_of_them: bool = False) -> bool:
        """Whether no call could change what it shares with the program, as far as can be told."""
        calls = self._dispatch.workload.at_hand
        if calls is not None:
            task, columns = calls
            if all_of_them and not 2 <= min(map(len, columns)) <= _A_FEW:
                return False
            return nothing_can_change(task, [column[:_A_FEW] for column in columns])
        if all_of_them:
            return False
        prepared = self._dispatch.prepared  # drawn when it was asked what inputs are like
        return prepared is not None and nothing_can_change(*prepared)

    def _start(self, plan: Plan, known: Entry) -> None:
        dispatch, current = self._dispatch, self._current
        took = self._choice.until_ready(plan, known.profile, current.situation)
        ready_at = dispatch.clock.now() + took
        if not self._workers_wait_for(plan):
            dispatch.mechanism("process").prepare(dispatch.workers.under(plan))
        try:
            lane = dispatch.add(plan)
            lane.width = 0  # nothing yet
            with QuickTurns():
                dispatch.start(lane)
        except PicklingError as error:
            self._choice.refuse("process", Refusal(str(error), "use threads"))
        else:
            current.begun, current.begun_ready_at = lane, ready_at
