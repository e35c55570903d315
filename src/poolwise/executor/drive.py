"""One map under way: who drives it, and what is left of it when it is over."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from poolwise.cost import Forecast
from poolwise.executor import notices
from poolwise.executor.auto import Auto
from poolwise.executor.collect import Collector, Ordered, Unordered
from poolwise.executor.conduct import pinned
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.missing import missing
from poolwise.executor.one_reader import OneReader
from poolwise.executor.options import RunOptions
from poolwise.executor.progress import Progress
from poolwise.executor.record import RunRecord
from poolwise.executor.remember import Memory
from poolwise.executor.workload import Inputs
from poolwise.ipc import Inbox
from poolwise.machine import MachineProfile
from poolwise.mechanisms import mechanism
from poolwise.plan import Plan
from poolwise.probe import carrying_refusal, pickling_refusal, read_traits
from poolwise.task import Refusal, Task, TaskTraits
from poolwise.timing.clock import SystemClock

#: Inputs drawn ahead of what was consumed, per call that may run at once, if the user does not
#: say. Enough that a call which lasts a hundred times longer than the others does not stop them;
#: bounded, so that an endless input stays in memory only so far.
_AHEAD_PER_SLOT = 100

#: The same for calls so short that they travel in large batches.
_AHEAD_AT_LEAST = 200_000


@dataclass(frozen=True, slots=True)
class MapOptions:
    """What only a map has."""

    ordered: bool = True
    return_errors: bool = False
    buffersize: int | None = None
    total: int | None = None
    chunksize: int | None = None


class Drive(Iterator[Iterator[object]]):
    """Runs a map part by part, inside ``next()``, in the thread that calls it: its owner. That may
    be another one each time; one that comes while another is inside gets a part that says so.

    Nothing happens before the first ``next()``. When nobody holds the drive any more, what runs
    is ended and nothing is left behind.
    """

    def __init__(
        self,
        task: Task,
        iterables: tuple[Iterable[object], ...],
        machine: MachineProfile,
        run_options: RunOptions,
        map_options: MapOptions,
        progress: Progress | None = None,
    ) -> None:
        clock = SystemClock()
        self.task = task
        self.machine = machine
        self.auto: Auto | None = None
        self._options = run_options
        self._chunksize = map_options.chunksize
        self._missing = missing(run_options, map_options)
        self._inputs = Inputs(task, iterables, clock, map_options.total)
        self._total = self._inputs.remaining
        self._progress = progress
        kind = Ordered if map_options.ordered else Unordered
        self._collector: Collector = kind(return_errors=map_options.return_errors, name=task.name)
        self.dispatch = Dispatch(
            self._inputs,
            self._collector,
            workers=replace(run_options.workers, tasks=(task,)),
            mechanisms=mechanism,
            inbox=Inbox(),
            clock=clock,
            look_ahead=map_options.buffersize or _ahead(run_options),
            bound_results=map_options.buffersize is None,
            max_concurrency=run_options.max_concurrency,
            retries=run_options.retries,
            on_done=None if progress is None else progress.update,
        )
        self._error: BaseException | None = None  # of the inputs, to be raised at the end
        self.ended = EndedDrive()
        self._reader = OneReader()
        self._process = os.getpid()
        self._memory = Memory(task, machine.facts) if run_options.wisdom else None
        self._recalls = True
        self._teaches = True
        self._conductor: Iterator[None] | None = None
        self._told: Plan | None = None  # the plan that was last logged
        # Both the owner's, and of signal handlers that interrupt it; others are refused before.
        self._busy = False  # in a step: the user's function, inputs or progress may run in there
        self._leaving = False  # to close was asked for meanwhile
        self._closed = False

    def __next__(self) -> Iterator[object]:
        if self._process != os.getpid() and not self._closed:
            self._check_process()
        if not self._reader.enter() or self._busy:
            return self._reader.refusal()
        try:
            part = self._next()
            self._take_error()
            self._reader.leave(part)
            return part
        except BaseException:  # Ctrl-C too, wherever it comes
            try:
                self.close()
            finally:
                self._reader.leave()
            raise

    def _check_process(self) -> None:
        """Refuse to go on in a process that the user has forked: the workers are its parent's.

        Raises:
            RuntimeError: there are workers. Without, the copy goes on by itself, as a loop would.
        """
        if all(lane.inline for lane in self.dispatch.lanes):
            self._process = os.getpid()
            self.dispatch.inbox.close()  # whose pipe is the parent's, too; it makes another
            return
        raise RuntimeError(
            f"this run and its workers belong to process {self._process}, of which this one is a"
            " fork: read it there, and begin another run here"
        )

    def _next(self) -> Iterator[object]:
        while True:
            part = self._collector.pop()
            if part is not None:
                if not self._closed:
                    self._step(self.dispatch.pump)
                return part
            if self._closed:
                error, self._error = self._error, None
                if error is not None:
                    return _raising(error)
                raise StopIteration
            try:
                self._step(self._advance)
            except StopIteration:
                self._take_error()
                error = self._error
                self.close()
                self._error = error  # some results may have come with the last step

    def _step(self, step: Callable[[], object]) -> None:
        """Take one step; close after it if that was asked for from within."""
        try:
            self._busy = True
            step()
        finally:
            self._busy = False
        if self._leaving:
            self.close()

    def _take_error(self) -> None:
        """Keep what the inputs raised here. Its traceback has frames that hold this drive, and the
        threads of a pool hold the inputs: a drive that is dropped would never be closed.
        """
        if self._inputs.error is not None:
            self._error, self._inputs.error = self._inputs.error, None

    def survey(self, *, verify: bool) -> tuple[Forecast, ...]:
        """Learn from a bounded sample, and forecast all inputs under every candidate.

        What the sample computed stays here; iterating yields it and goes on.

        Raises:
            ValueError: there are no inputs.
        """
        self._recalls = False  # who asks wants to see it measured
        try:
            self._start()
            assert self.auto is not None
            self.dispatch.keeps_results = True
            for _ in self.auto.survey():
                pass
            if verify:
                for _ in self.auto.verify():
                    pass
            self.dispatch.keeps_results = False
            if self.auto.profile is None:
                raise ValueError("there are no inputs to learn from")
            self._conductor = self.auto.work()
            return self.auto.forecast_whole(self._total)
        except BaseException:
            self.close()
            raise

    def refuse(self) -> TaskTraits:
        """Refuse a pinned plan that cannot run such a task; return what is known of it.

        Raises:
            PlanRefused: why, and what would do.
        """
        plan, traits = self._options.plan, read_traits(self.task)
        if plan is None:
            return traits
        refusal = mechanism(plan.mechanism).refusal(traits)
        if refusal is None and plan.threads_per_worker > 1:
            refusal = traits.concurrent
        if refusal is not None:
            raise _refused(plan, refusal)
        return traits

    def _start(self) -> Iterator[None]:
        """Return the conductor, made when it is first asked for.

        Raises:
            PlanRefused: the pinned plan cannot run this task.
        """
        if self._conductor is not None:
            return self._conductor
        plan, traits = self._options.plan, self.refuse()
        if plan is not None:
            if plan.mechanism == "process" and (refusal := pickling_refusal(self.task)):
                raise _refused(plan, refusal)
            if self._chunksize is not None:
                plan = replace(plan, batch_size=self._chunksize)
            self._conductor = pinned(self.dispatch, plan, self._options.why)
        else:
            limits = self._options.limits
            if traits.concurrent is not None:
                limits = replace(limits, threads_per_worker=1)
            self.auto = Auto(
                self.dispatch,
                self.machine,
                traits,
                limits,
                mechanism,
                partial(carrying_refusal, self.task),
                # Not a method of this: it is closed as soon as nobody has it.
                self._memory.recall if self._memory is not None and self._recalls else None,
            )
            self._conductor = self.auto.steps()
        if self._progress is not None:
            self._progress.start(self._total)
        return self._conductor

    def teach_nothing(self) -> None:
        """Have no later run learn from this one: its calls are no longer what they were. A signal
        handler may call it.
        """
        self._teaches = False

    def _advance(self) -> None:
        next(self._start())
        plan = self.plan
        if plan is not self._told and plan != self._told:
            notices.plan_changed(plan, self._told, self.task.name)
        self._told = plan
        if self._progress is not None:
            self._progress.show_plan(plan)

    @property
    def started(self) -> bool:
        """Whether anybody has asked for a result."""
        return self._conductor is not None or self._closed

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        if self._options.plan is not None:
            return self._options.plan
        return Plan("inline") if self.auto is None else self.auto.plan

    def close(self) -> None:
        """Stop the work, draw nothing more, end the workers. A second call does nothing. Asked for
        within a step, as by a progress callback or a signal handler, it is done after that.

        Raises:
            RuntimeError: another thread is inside of ``next()``.
        """
        if self._closed:
            return
        self._reader.check()
        if self._busy:
            self._leaving = True
            self.dispatch.inbox.post(_nothing)  # the step may be waiting
            return
        self._closed = True
        record = self.ended.record = self._snapshot(finished=self.dispatch.finished)
        self._inputs.close()
        self._inputs.error = self._error = None
        try:
            if self._conductor is not None and hasattr(self._conductor, "close"):
                self._conductor.close()
        finally:
            self.dispatch.close()
        if self._progress is not None:
            self._progress.close()
        self._remember(record)

    def _remember(self, record: RunRecord) -> None:
        """Keep what the run has taught; the last thing done, so that nothing waits for it."""
        if self._memory is None or self.auto is None or self.auto.refused or sys.is_finalizing():
            return
        if not self._teaches:
            return
        auto = self.auto
        kept = self._memory.keep(
            record,
            inputs=auto.inputs,
            learned=auto.learned,
            in_vain=auto.in_vain,
            unsendable=auto.unsendable,
        )
        if kept:
            self.ended.record = replace(record, kept=True)

    def __del__(self, is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # An interpreter that ends may have taken parts of this away already, `sys` too; and threads
        # that it has stopped may hold any lock. All that would be let go of ends with it.
        if not getattr(self, "_closed", True) and not is_ending():
            self.close()

    def record(self) -> RunRecord:
        """Return what has happened so far."""
        return self.ended.record or self._snapshot(finished=False)

    def _snapshot(self, *, finished: bool) -> RunRecord:
        dispatch, auto = self.dispatch, self.auto
        return RunRecord(
            task=self.task,
            machine=self.machine,
            profile=None if auto is None else auto.profile,
            plan=self.plan,
            pinned=self._options.plan is not None,
            forecasts=() if auto is None else auto.forecasts,
            forecast=None if auto is None else auto.predicted,
            phases=tuple(dispatch.phases),
            uses=tuple(dispatch.all_uses()),
            started=dispatch.supply.sent,
            done=dispatch.settled - dispatch.failed_calls,
            failed=dispatch.failed_calls,
            lost_workers=dispatch.lost_workers,
            retried=dispatch.again.count,
            elapsed=dispatch.elapsed,
            finished=finished,
            total=self._total,
            remembered=None if auto is None else auto.remembered,
            killed_workers=dispatch.killed,
            missing=self._missing,
            partly=() if auto is None else auto.partly,
        )


def _refused(plan: Plan, refusal: Refusal) -> Exception:
    from poolwise.errors import PlanRefused  # which takes 10 ms that a map has no use for

    return PlanRefused(str(plan), refusal)


def _ahead(options: RunOptions) -> int:
    """Return how many inputs may be drawn ahead if the user does not say."""
    plan = options.plan
    slots = options.limits.max_concurrency if plan is None else plan.concurrency
    return max(_AHEAD_AT_LEAST, _AHEAD_PER_SLOT * slots)


class EndedDrive(Iterator[Iterator[object]]):
    """What is left of a drive: its record, once it has ended, and no results."""

    record: RunRecord | None = None

    def __next__(self) -> Iterator[object]:
        raise StopIteration


def _raising(error: BaseException) -> Iterator[object]:
    """Return a part that raises what the input iterator raised, at its place."""
    yield from ()
    raise error


def _nothing() -> None:
    """Wake the owner."""
