"""Learning from what calls used which functions of an executor belong into processes.

Everything here belongs to the dispatcher thread and runs no code of the user's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from poolwise.errors import TransferError
from poolwise.executor import notices
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.functions import Reading, Seen
from poolwise.executor.lane import Lane
from poolwise.executor.options import standard_threads
from poolwise.executor.specimen import Specimen
from poolwise.machine import MachineProfile
from poolwise.plan import Plan
from poolwise.planner import Limits
from poolwise.planner.batching import batch_size, crowd_size
from poolwise.task import Outcomes
from poolwise.timing.turns import QuickTurns
from poolwise.units import Seconds
from poolwise.wisdom import Entry

#: A function is looked at for so long, besides for so much CPU time.
_LOOK_FOR: Seconds = 15e-3

#: A look that found nothing is repeated after twice the CPU time, up to this, and after a trial
#: that failed only then. Reading the clocks of all threads costs some 0.1 ms, a trial some calls.
_ENOUGH_AT_MOST: Seconds = 1.0

#: Calls shorter than this stay with threads. Of 46 µs processes did 1.2 times as many, of 90 µs 1.4
#: times (``benchmarks/bench_short_calls.py``).
_WORTH_SENDING: Seconds = 8e-5

#: Sending a call may cost this share of the CPU time that it uses.
_SENDING_SHARE = 0.3

#: Calls that take turns with the GIL want one CPU, or a little less, and can use no more. On a
#: busy machine they use less than they want, and calls that do not need the GIL may too: those
#: can be taken for the others, and processes are no worse for them.
_WANTED_AT_LEAST, _USED_AT_MOST = 0.7, 1.3

#: How much CPU time calls must get in processes, as a multiple of what they got under the GIL, to
#: move, and to stay. On a busy machine a call that computes gets less than it could, so on trial
#: the best of some calls counts, and who has moved stays as long as it does not clearly wait.
_WORTH_MOVING, _WORTH_STAYING = 1.0, 0.5

#: How much service time is judged at once for calls that have moved.
_REVIEW_AFTER: Seconds = 0.25


class Learning:
    """Begins with threads, which are never wrong by much, and moves functions to processes.

    A function comes under suspicion when its calls use CPU time beside others and this process
    gets by with one CPU: they may take turns with the GIL. Or because an earlier run has found so.
    One of its calls is examined: can it be sent, and does it leave everything as it was? Then some
    calls go to processes on trial. There no GIL is contended for, so they show whether the function
    computes or waits, which in threads looks alike. If they get more CPU time there, all its calls
    move.
    """

    mechanisms: tuple[str, ...] = ("thread", "process")
    max_concurrency: int | None = None

    def __init__(
        self,
        machine: MachineProfile,
        limits: Limits,
        most: int | None,
        recall: Callable[[Callable[..., object]], Entry | None],
    ) -> None:
        self._recall = recall
        threads = min(limits.max_workers or standard_threads(), limits.max_concurrency)
        processes = min(machine.facts.whole_cpus, threads)
        self.concurrency = threads
        self.version = 0
        self._plans = {
            "thread": Plan("thread", threads),
            "process": Plan("process", processes, limits.threads_per_worker or 1),
        }
        self._most = most
        self._lanes: dict[str, Lane] = {}
        self._can_gain = machine.facts.gil and processes > 1 and machine.facts.usable_cpus > 1.0

    def begin(self, dispatch: Dispatch) -> None:
        """Open the threads."""
        self._dispatch = dispatch
        self._open("thread")

    @property
    def plan(self) -> Plan:
        """That of the processes, once there are any."""
        lane = self._lanes.get("process")
        return self._plans["process" if lane is not None and lane.active else "thread"]

    def met(self, seen: Seen, function: Callable[..., object]) -> None:
        """Suspect a function at once if an earlier run found it to belong into processes.

        Whether its calls can be sent, and leave everything as it was, is examined as ever.
        """
        known = self._recall(function) if self._can_gain else None
        if known is None or not known.learned or known.plan.mechanism != "process":
            return
        if known.profile.cpu >= _WORTH_SENDING:
            seen.suspected, seen.calls, seen.cpu = True, 1, known.profile.cpu

    def route(self, seen: Seen) -> str:
        """Return ``"thread"`` until a function is known to need processes and they are ready."""
        if seen.home == "thread" or not self._ready("process"):
            return "thread"
        if seen.home == "trial":
            if seen.on_trial >= self._trials:
                return "thread"
            seen.on_trial += 1
        return "process"

    def dropped(self, seen: Seen) -> None:
        """Have another call go on trial."""
        if seen.home == "trial":
            seen.on_trial -= 1

    def free(self) -> int | None:
        """Return how many more calls may be sent, now that two lanes share what the user allows."""
        if self._most is None or "process" not in self._lanes:
            return None
        return self._most - self._dispatch.in_flight

    def has_room(self, mechanism: str) -> bool:
        """Whether calls for a mechanism could be sent now."""
        return mechanism in self._lanes and self._lanes[mechanism].room > 0

    def most_in_batch(self, seen: Seen) -> int:
        """Return how many calls of a function take some milliseconds."""
        return batch_size(self._plans["process"], seen.mean, None)

    def most_in_thread(self, seen: Seen) -> int:
        """Return one if the calls of a function are not short."""
        return crowd_size(seen.mean)

    @property
    def only_threads(self) -> bool:
        """Whether processes were tried and cannot be had."""
        return "process" in self._lanes and not self._lanes["process"].active

    def examines(self, seen: Seen) -> bool:
        """Whether the next call of a function is to be examined: once it is suspected."""
        return seen.suspected

    def learn(self, seen: Seen, mechanism: str, outcomes: Outcomes) -> None:
        """Note what calls used; decide once enough is known."""
        if mechanism == "thread" and seen.home == "thread" and not seen.barred and self._can_gain:
            self._watch(seen, outcomes)
        elif mechanism == "process":
            if any(isinstance(error, TransferError) for error in outcomes.errors.values()):
                self._bar(seen)
            elif seen.home == "trial":
                self._try(seen, outcomes)
            elif seen.home == "process":
                self._review(seen, outcomes)

    # ---- in threads ------------------------------------------------------------------------

    def _watch(self, seen: Seen, outcomes: Outcomes) -> None:
        if seen.suspected:
            specimen = next((each for each in outcomes.values if each is not None), None)
            if isinstance(specimen, Specimen):
                self._examine(seen, specimen)
            return
        if seen.since is None:
            seen.since = self._read()
            return
        seen.count(outcomes)
        seen.beside += len(outcomes.values) if self._lanes["thread"].in_flight else 0
        if seen.cpu >= seen.enough:
            self._look(seen, seen.since)

    def _look(self, seen: Seen, since: Reading) -> None:
        now = self._read()
        busy = now.busy - since.busy
        if busy < _LOOK_FOR:
            return
        used = (now.used - since.used) / busy
        wanted = used + (now.queued - since.queued) / busy
        in_turn = wanted >= _WANTED_AT_LEAST and used <= _USED_AT_MOST
        together = seen.beside >= 0.5 * seen.calls
        if in_turn and together and seen.cpu / seen.calls >= _WORTH_SENDING:
            seen.suspected, seen.used = True, max(used, 0.1)
        else:
            seen.enough = min(2 * seen.enough, _ENOUGH_AT_MOST)
            seen.reset()

    def _examine(self, seen: Seen, specimen: Specimen) -> None:
        seen.suspected = False
        if not (specimen.carried and specimen.unchanged):
            self._bar(seen)
        elif specimen.transfer > _SENDING_SHARE * seen.cpu / seen.calls:
            self._move(seen, "thread")
        else:
            self._move(seen, "trial")
            self._open("process")

    # ---- in processes ----------------------------------------------------------------------

    @property
    def _trials(self) -> int:
        return 4 * self._plans["process"].concurrency

    def _try(self, seen: Seen, outcomes: Outcomes) -> None:
        # The first calls in each process import and connect; they say nothing of the others.
        if seen.back >= self._plans["process"].concurrency and outcomes.service:
            seen.busy = max(seen.busy, outcomes.cpu / outcomes.service)
        seen.back += len(outcomes.values)
        if seen.back < self._trials:
            return
        if self._gain(seen, seen.busy) >= _WORTH_MOVING:
            self._move(seen, "process")
        else:
            self._move(seen, "thread")

    def _review(self, seen: Seen, outcomes: Outcomes) -> None:
        seen.count(outcomes)
        if seen.service < _REVIEW_AFTER:
            return
        if self._gain(seen, seen.cpu / seen.service) >= _WORTH_STAYING:
            seen.reset()
        else:
            self._move(seen, "thread")

    def _gain(self, seen: Seen, busy: float) -> float:
        """Return how much CPU time such calls get in all processes; 1 is what they got here."""
        plan = self._plans["process"]
        return min(float(plan.workers), plan.concurrency * busy) / seen.used

    # ---- both ------------------------------------------------------------------------------

    def _move(self, seen: Seen, home: Literal["thread", "trial", "process"]) -> None:
        seen.home, seen.enough = home, _ENOUGH_AT_MOST
        seen.on_trial = seen.back = 0
        seen.reset()
        self.version += 1

    def _bar(self, seen: Seen) -> None:
        seen.barred = True
        self._move(seen, "thread")

    def _ready(self, mechanism: str) -> bool:
        lane = self._lanes.get(mechanism)
        return lane is not None and lane.active and lane.ready_workers > 0

    def _open(self, mechanism: str) -> None:
        if mechanism not in self._lanes or not self._lanes[mechanism].active:
            before = self.plan if self._lanes else None
            self._lanes[mechanism] = self._dispatch.open(self._plans[mechanism])
            notices.plan_changed(self._plans[mechanism], before, "")

    def _read(self) -> Reading:
        clock = self._dispatch.clock
        busy = self._lanes["thread"].observe(clock.now()).busy
        with QuickTurns():
            queued = clock.process_queued()
        return Reading(busy, clock.process_cpu(), queued)
