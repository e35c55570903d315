"""A sink that remembers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from poolwise.ipc import Inbox
from poolwise.task import Batch, BatchId, Exit, Outcomes, WorkerId
from poolwise.units import Seconds

#: What is waited for comes within this, or it will never come. Only a broken law spends it.
DEADLINE: Seconds = 20.0


@dataclass(frozen=True, slots=True)
class End:
    """How one call ended; `value` and `error` belong to ``"done"``, `exit` to ``"lost"``."""

    kind: Literal["done", "returned", "lost"]
    value: object = None
    error: BaseException | None = None
    exit: Exit | None = None


class RecordingSink:
    """A `Sink` that keeps what it is told, and objects to what no pool may tell it.

    `ends` holds the end of each call by batch and position. An objection is kept until `wait` or
    `check` raises it, because what is raised in a thread of the pool is seen by nobody.
    """

    def __init__(self) -> None:
        self.ready_workers: list[WorkerId] = []
        self.gone_workers: list[tuple[WorkerId, Exit]] = []
        self.failures: list[BaseException] = []
        self.shortages: list[BaseException] = []
        self.ends: dict[BatchId, dict[int, End]] = {}
        self.service: Seconds = 0.0
        self.reports = 0
        self._done: dict[BatchId, int] = {}
        self._objections: list[str] = []
        self._owner = threading.get_ident()

    def ready(self, worker: WorkerId) -> None:
        """Keep the worker."""
        self._hear("ready")
        self.ready_workers.append(worker)

    def done(self, batch: BatchId, first: int, outcomes: Outcomes) -> None:
        """Keep the outcomes."""
        self._hear("done")
        self.service += outcomes.service
        before = self._done.get(batch, 0)
        self._done[batch] = before + len(outcomes.values)
        if first != before or not outcomes.values:
            self._objections.append(f"batch {batch}: done at {first}, after {before} outcomes")
        for position, value in enumerate(outcomes.values):
            error = outcomes.errors.get(position)
            self._end(batch, first + position, End("done", value, error))

    def returned(self, batch: BatchId, first: int, count: int) -> None:
        """Keep that these calls came back."""
        self._hear("returned")
        for position in range(first, first + count):
            self._end(batch, position, End("returned"))

    def lost(self, batch: BatchId, first: int, count: int, exit: Exit) -> None:
        """Keep that these calls were lost, and how."""
        self._hear("lost")
        for position in range(first, first + count):
            self._end(batch, position, End("lost", exit=exit))

    def gone(self, worker: WorkerId, exit: Exit) -> None:
        """Keep the worker and its end."""
        self._hear("gone")
        if worker not in self.ready_workers:
            self._objections.append(f"worker {worker} is gone, and was never ready")
        self.gone_workers.append((worker, exit))

    def fewer(self, error: BaseException) -> None:
        """Keep why a worker could not be created."""
        self._hear("fewer")
        self.shortages.append(error)

    def failed(self, error: BaseException) -> None:
        """Keep the error."""
        self._hear("failed")
        self.failures.append(error)

    def ends_of(self, batch: Batch) -> list[End]:
        """Return the ends of all calls of `batch`, in call order; all must have ended."""
        ends = self.ends.get(batch.id, {})
        assert sorted(ends) == list(range(batch.calls)), f"ended: {sorted(ends)} of {batch.calls}"
        return [ends[position] for position in range(batch.calls)]

    def has_ended(self, *batches: Batch) -> bool:
        """Return whether every call of these batches has ended."""
        return all(len(self.ends.get(batch.id, {})) >= batch.calls for batch in batches)

    def check(self) -> None:
        """Raise `AssertionError` if something was reported that must not be."""
        assert not self._objections, "; ".join(self._objections)

    def wait(
        self, inbox: Inbox, condition: Callable[[], object], *, within: Seconds | None = None
    ) -> None:
        """Wait on `inbox` until `condition` holds, at most so many seconds, or `DEADLINE`.

        Raises `AssertionError` if it does not by then, if the pool has failed, or if `check` does.
        """
        within = DEADLINE if within is None else within
        until = time.monotonic() + within
        while True:
            self.check()
            if condition():
                return
            assert not self.failures, f"no worker can be had: {self.failures}"
            left = until - time.monotonic()
            assert left > 0, f"waited {within} s in vain; {self}"
            inbox.wait(left)

    def __str__(self) -> str:
        ends = {batch: len(ends) for batch, ends in self.ends.items()}
        return (
            f"ready: {self.ready_workers}, gone: {self.gone_workers}, failed: {self.failures}, "
            f"ended calls by batch: {ends}"
        )

    def _hear(self, what: str) -> None:
        self.reports += 1
        if threading.get_ident() != self._owner:
            self._objections.append(f"{what}: not in the thread of the owner")

    def _end(self, batch: BatchId, position: int, end: End) -> None:
        ends = self.ends.setdefault(batch, {})
        if position in ends:
            was = ends[position].kind
            self._objections.append(f"call {position} of batch {batch}: {was}, then {end.kind}")
        ends[position] = end
