"""Starting workers while it is being found out whether they are wanted.

To hear whether calls hold the GIL takes some 5 ms, in which one call runs at a time; to start two
workers takes 8. Where the first call was heard to hold it, both happen at once: the workers are
there when it is known, or were started in vain, which costs some 5 ms. Without a first call that
tells, one that loops in Python is a guess as good, but takes as much as it brings: while this
process is forked no call runs, and the others that run are too short to be worth it.
"""

from __future__ import annotations

from poolwise.executor.choice import Choice
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.lanes import CurrentLane
from poolwise.probe import TaskProfile
from poolwise.probe.contention import MOSTLY
from poolwise.units import Seconds

#: Computing left, in seconds, from which it pays: processes could halve it.
_WORTH: Seconds = 60e-3


class Beforehand:
    """Decides about that, and does it. Used by the owner only.

    `held` is the share of its time in which the first call was heard to hold the GIL, if it was:
    it may have imported for the others, and so is no more than a hint.
    """

    def __init__(self, dispatch: Dispatch, current: CurrentLane, choice: Choice) -> None:
        self.held: float | None = None
        self._dispatch = dispatch
        self._current = current
        self._choice = choice

    def start_workers(self, task: TaskProfile) -> bool:
        """Start those that calls will want if they hold the GIL, where the first one did; whether
        there is something to start them from.
        """
        dispatch, now = self._dispatch, self._current.situation
        held, self.held = self.held, None  # what is learnt anew later is of other calls
        if held is None or held < MOSTLY or self._current.begun is not None:
            return False
        if task.waits or now.expected * task.cpu < _WORTH:
            return False
        workers = dispatch.workers
        if workers.initializer is not None or workers.start_method is not None:
            return False  # what the user has run there, or takes long, is not begun on suspicion
        plan = self._choice.rank(task.with_gil(task.cpu, task.cpu), now)[0].plan
        process = dispatch.mechanism("process")
        ready = process.readiness(workers)
        if plan.mechanism != "process" or ready.libraries or ready.threads > 1 + now.threads:
            return False  # a fork would end their threads, or cannot be had
        process.prepare(workers.tasks)
        ready = process.readiness(workers)
        if not ready.server and ready.idle < plan.workers:
            return False
        self._current.begin(plan, self._choice.until_ready(plan, task, now))
        return True
