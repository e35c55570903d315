"""Calls that come back are sent again, whenever they come back."""

from __future__ import annotations

import pytest

from executor.simulation import SimulatedClock, SimulatedInbox, World
from poolwise.executor.collect import Ordered
from poolwise.executor.conduct import pinned
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.workload import Inputs
from poolwise.mechanisms import ANY_SIZE, Readiness, Sink, WorkerOptions
from poolwise.plan import Plan
from poolwise.task import Batch, BatchId, Outcomes, Refusal, Task, TaskTraits

#: Long enough for a batch to be late, in seconds.
LATE = 1.0

#: An input whose call does not wait for that.
AT_ONCE = -9


class SlowToBegin:
    """Workers that are ready at once. They begin nothing but `AT_ONCE` before `LATE` is over, and
    so give all of it back, at once, whenever they are asked to.
    """

    largest_batch = ANY_SIZE
    queued = None
    sending = 0.0
    first_free = False
    idle = 0
    workers = 0
    name = "thread"

    def __init__(self, world: World) -> None:
        self.world = world
        self.waiting: dict[BatchId, Batch] = {}
        self.recalls = 0

    def refusal(self, traits: TaskTraits, /) -> Refusal | None:
        return None

    def prepare(self, options: WorkerOptions, /) -> None:
        pass

    def readiness(self, options: WorkerOptions, /) -> Readiness:
        return Readiness()

    def open(self, options: WorkerOptions, sink: Sink, inbox: SimulatedInbox, /) -> SlowToBegin:
        self.sink, self.inbox = sink, inbox
        return self

    def grow(self, workers: int) -> None:
        for number in range(workers):
            self.sink.ready(number)
        self.workers += workers

    def send(self, batch: Batch, /) -> None:
        def run() -> None:
            values = [batch.task.function(each) for each in batch.columns[0]]
            self.sink.done(batch.id, 0, Outcomes(values, {}, 1e-6 * len(values), 0.0))

        if batch.columns[0] == [AT_ONCE]:
            self.inbox.post(run)
            return
        self.waiting[batch.id] = batch
        self.world.at(max(self.world.time, LATE), lambda: self.inbox.post(run))

    def take_back(self, batch: BatchId, /) -> None:
        if batch in self.waiting:
            self.recalls += 1
            self.world.timers.clear()  # nothing else will wake the owner
            self.sink.returned(batch, 0, self.waiting.pop(batch).calls)

    def kill(self, batch: BatchId, /) -> None:
        pass

    def nothing_more(self) -> None:
        pass

    def close(self, *, grace: float | None) -> None:
        pass


def test_all_that_comes_back_at_once_is_sent_again() -> None:
    """The last batch is late, comes back while the owner looks for stragglers, and nothing else is
    under way that would wake the owner.
    """
    world = World()
    pool = SlowToBegin(world)
    collector = Ordered(return_errors=False)
    dispatch = Dispatch(
        Inputs(Task(abs), ([-1, -2, -3],), SimulatedClock(world), None),
        collector,
        mechanisms=lambda name: pool,
        inbox=SimulatedInbox(world),  # type: ignore[arg-type]
        clock=SimulatedClock(world),
    )
    results: list[object] = []
    # A wait for something that will never happen fails, in that world.
    for _ in pinned(dispatch, Plan("thread", 2, batch_size=3)):
        while (part := collector.pop()) is not None:
            results += part
    assert results == [1, 2, 3]
    assert pool.recalls


def test_what_lies_at_processes_is_not_run_by_idle_threads() -> None:
    """An executor has both; what it has sent to processes holds the GIL."""
    world = World()
    inbox = SimulatedInbox(world)
    pools = {name: SlowToBegin(world) for name in ("process", "thread")}
    dispatch = Dispatch(
        Inputs(Task(abs), ([-1, -2],), SimulatedClock(world), None),
        Ordered(return_errors=False),
        mechanisms=pools.__getitem__,  # type: ignore[arg-type]
        inbox=inbox,  # type: ignore[arg-type]
        clock=SimulatedClock(world),
    )
    lanes = [dispatch.open(Plan(name, 2)) for name in ("process", "thread")]
    lanes[1].width = 0  # until all has been sent
    dispatch.fill()
    lanes[1].width = 2
    while not dispatch.finished:
        dispatch.fill()
        dispatch.wait()
    assert pools["process"].recalls == 0
    assert lanes[1].calls == 0


@pytest.mark.parametrize(("workers", "asked"), [(1, False), (2, True)])
def test_only_what_another_worker_could_run_is_asked_for(workers: int, asked: bool) -> None:
    """What lies behind would overtake it: an executor with one worker begins calls in order."""
    world = World()
    pool = SlowToBegin(world)
    dispatch = Dispatch(
        Inputs(Task(abs), ([AT_ONCE, *range(4)],), SimulatedClock(world), None),
        Ordered(return_errors=False),
        mechanisms=lambda name: pool,
        inbox=SimulatedInbox(world),  # type: ignore[arg-type]
        clock=SimulatedClock(world),
    )
    dispatch.open(Plan("process", workers, batch_size=1))
    dispatch.fill()
    while not dispatch.finished:
        dispatch.wait()
        dispatch.fill()
    assert bool(pool.recalls) == asked
