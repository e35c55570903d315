"""An open pool of one mechanism, driven as the executor drives it: sent batches, waited for."""

from __future__ import annotations

from types import TracebackType
from typing import NoReturn

from poolwise.ipc import Inbox
from poolwise.mechanisms import WorkerOptions, mechanism
from poolwise.task import Batch, BatchId, Exit, Outcomes, Task, WorkerId


class Door:
    """A pool and its inbox; is its own sink, and only counts what it is told.

    The sink of `poolwise.testing` remembers every call, so it would be measured too.
    """

    def __init__(self, name: str, task: Task, idle_timeout: float = 0.0) -> None:
        self.task = task
        self.inbox = Inbox()
        self.ready_workers = 0
        self.ended = 0
        options = WorkerOptions(1, (task,), idle_timeout=idle_timeout)
        self.pool = mechanism(name).open(options, self, self.inbox)

    def __enter__(self) -> Door:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.pool.close(grace=None)
        self.inbox.close()

    def start(self, workers: int = 1) -> Door:
        """Start so many more, and wait until they are ready."""
        wanted = self.ready_workers + workers
        self.pool.grow(workers)
        while self.ready_workers < wanted:
            self.inbox.wait()
        return self

    def run(self, batches: int, ahead: int = 1, argument: object = None) -> None:
        """Run batches of one call, `ahead` of them under way at once."""
        sent, before = 0, self.ended
        while self.ended - before < batches:
            while sent < batches and sent - (self.ended - before) < ahead:
                self.pool.send(Batch(self.task, ([argument],)))
                sent += 1
            self.inbox.wait()

    def ready(self, worker: WorkerId) -> None:
        """Count it."""
        self.ready_workers += 1

    def done(self, batch: BatchId, first: int, outcomes: Outcomes) -> None:
        """Count the calls."""
        assert not outcomes.errors, outcomes.errors
        self.ended += len(outcomes.values)

    def returned(self, batch: BatchId, first: int, count: int) -> NoReturn:
        """Complain: nothing is taken back here."""
        raise AssertionError(f"{count} calls of batch {batch} were returned")

    def lost(self, batch: BatchId, first: int, count: int, exit: Exit) -> NoReturn:
        """Complain: nobody dies here."""
        raise AssertionError(f"{count} calls of batch {batch} were lost: {exit}")

    def gone(self, worker: WorkerId, exit: Exit) -> NoReturn:
        """Complain: nobody dies here."""
        raise AssertionError(f"worker {worker} died: {exit}")

    def failed(self, error: BaseException) -> NoReturn:
        """Complain: a pool without workers has nothing to measure."""
        raise error
