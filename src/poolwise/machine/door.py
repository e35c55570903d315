"""The door that work goes through: a pool of one mechanism, driven as the executor drives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from poolwise.ipc import Inbox
from poolwise.mechanisms import WorkerOptions, mechanism
from poolwise.task import Batch, BatchId, Exit, Outcomes, Task, WorkerId
from poolwise.units import Seconds

#: No call here takes as long, so a pool that is silent for it has been lost.
_PATIENCE: Seconds = 20.0


@dataclass
class _Ends:
    """What the pool said; only the owner's thread writes and reads it."""

    ready: int = 0
    values: dict[BatchId, list[Any]] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)


class Door:
    """A pool and its inbox. Each call is a batch of its own; `WorkerLost` if its worker dies.

    As everywhere in pools, a call takes at least one argument.

    Nothing is kept idle for another pool unless `idle_timeout` says so. Belongs to one thread.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., object],
        *,
        workers: int = 0,
        start_method: str | None = None,
        idle_timeout: Seconds = 0.0,
        siblings: int = 1,
    ) -> None:
        """Open a pool of mechanism `name` and wait until so many workers are ready."""
        self._task = Task(function)
        self._ends = _Ends()
        self.inbox = Inbox()
        options = WorkerOptions(
            tasks=(self._task,),
            siblings=siblings,
            start_method=start_method,
            idle_timeout=idle_timeout,
        )
        self._pool = mechanism(name).open(options, self, self.inbox)
        self.start(workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(grace=None if error is None else 0.0)

    def close(self, grace: Seconds | None = None) -> None:
        """End the workers: wait for what runs, at most so long."""
        self._pool.close(grace=grace)
        self.inbox.close()

    def start(self, workers: int = 1) -> None:
        """Start so many more, and wait until they are ready."""
        wanted = self._ends.ready + workers
        try:
            if workers:
                self._pool.grow(workers)
            while self._ends.ready < wanted:
                self._wait()
        except BaseException:
            self.close(grace=0.0)
            raise

    def call(self, *arguments: Any) -> Any:
        """Return what one call returns; raise what it raises."""
        return self.calls([arguments])[0]

    def calls(self, arguments: Sequence[Sequence[Any]], ahead: int | None = None) -> list[Any]:
        """Return what calls return, in order, with at most `ahead` of them under way.

        By default all are sent at once, so that whoever is free takes the next.
        """
        ends, ahead = self._ends, ahead or len(arguments)
        ends.values.clear()
        batches: list[Batch] = []
        while len(ends.values) < len(arguments):
            while len(batches) < min(len(arguments), len(ends.values) + ahead):
                columns = tuple([value] for value in arguments[len(batches)])
                batches.append(Batch(self._task, columns))
                self._pool.send(batches[-1])
            if len(ends.values) < len(arguments):  # inline, all may have ended by now
                self._wait()
        self._check()
        return [ends.values[batch.id][0] for batch in batches]

    def batch(self, column: Sequence[Any]) -> list[Any]:
        """Return what calls with one argument each return, sent as one batch."""
        batch = Batch(self._task, (list(column),))
        self._ends.values.clear()
        self._pool.send(batch)
        while len(self._ends.values.get(batch.id, ())) < batch.calls:
            self._wait()
        self._check()
        return self._ends.values[batch.id]

    def _wait(self) -> None:
        self._check()
        if not self.inbox.wait(_PATIENCE):
            raise TimeoutError(f"a pool has not answered for {_PATIENCE} s")
        self._check()

    def _check(self) -> None:
        if self._ends.errors:
            raise self._ends.errors[0]

    # What follows is what a pool reports.

    def ready(self, worker: WorkerId) -> None:
        """Count it."""
        self._ends.ready += 1

    def done(self, batch: BatchId, first: int, outcomes: Outcomes) -> None:
        """Keep the values."""
        self._ends.errors.extend(outcomes.errors.values())
        self._ends.values.setdefault(batch, []).extend(outcomes.values)

    def returned(self, batch: BatchId, first: int, count: int) -> None:
        """Nothing is taken back: the pool has failed, and says so next."""

    def lost(self, batch: BatchId, first: int, count: int, exit: Exit) -> None:
        """Raise it where the call is waited for."""
        self._ends.errors.append(WorkerLost(exit))

    def gone(self, worker: WorkerId, exit: Exit) -> None:
        """Another takes its place."""

    def fewer(self, error: BaseException) -> None:
        """Raise it where workers are waited for: what is measured would be something else."""
        self._ends.errors.append(error)

    def failed(self, error: BaseException) -> None:
        """Raise it where workers are waited for."""
        self._ends.errors.append(error)


class WorkerLost(Exception):
    """A worker died in a call; `exit` says how."""

    def __init__(self, exit: Exit) -> None:
        super().__init__(exit)
        self.exit = exit

    def __str__(self) -> str:
        return f"the worker {self.exit}"
