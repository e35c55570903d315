"""What the laws are tried on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType

from poolwise.ipc import Inbox
from poolwise.mechanisms import Mechanism, WorkerOptions
from poolwise.task import Batch, Task
from poolwise.testing.calls import process_id, same
from poolwise.testing.sink import End, RecordingSink
from poolwise.units import Seconds


@dataclass(frozen=True, slots=True)
class Subject:
    """What is held to the laws: a mechanism, and how many workers of what kind it is to open."""

    mechanism: Mechanism
    workers: int = 1
    threads_per_worker: int = 1
    start_method: str | None = None
    idle_timeout: Seconds = 0.0  # nothing is to be left

    @property
    def concurrency(self) -> int:
        """The calls that run at once."""
        return self.workers * self.threads_per_worker

    def open(self, *tasks: Task) -> Opened:
        """Open a pool, without workers yet; `tasks` are known to each that will come."""
        options = WorkerOptions(
            self.threads_per_worker,
            tasks,
            siblings=self.workers,
            start_method=self.start_method,
            idle_timeout=self.idle_timeout,
        )
        return Opened(self, options)


class Opened:
    """An open pool with its inbox and its sink. Leaving the ``with`` block ends it at once."""

    def __init__(self, subject: Subject, options: WorkerOptions) -> None:
        self._subject = subject
        self.inbox = Inbox()
        self.sink = RecordingSink()
        self.pool = subject.mechanism.open(options, self.sink, self.inbox)

    def __enter__(self) -> Opened:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.pool.close(grace=0.0)
        self.inbox.close()
        if error is None:
            self.sink.check()

    def start(self) -> Opened:
        """Grow the pool to its full size and wait until every worker is ready."""
        self.pool.grow(self._subject.workers)
        self.wait(lambda: len(self.sink.ready_workers) >= self._subject.workers)
        return self

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until `condition` holds; see `RecordingSink.wait`."""
        self.sink.wait(self.inbox, condition)

    def send(self, function: Callable[..., object], *columns: Iterable[object]) -> Batch:
        """Send a batch of calls of `function`."""
        batch = Batch(Task(function), tuple(map(list, columns)))
        self.pool.send(batch)
        return batch

    def run(self, function: Callable[..., object], *columns: Iterable[object]) -> list[End]:
        """Send a batch, wait until all of its calls have ended, and return how."""
        batch = self.send(function, *columns)
        self.wait(lambda: self.sink.has_ended(batch))
        return self.sink.ends_of(batch)

    @property
    def runs_in_send(self) -> bool:
        """Whether calls run in the owner's thread, so that `send` returns when they have ended."""
        batch = self.send(same, [0])
        ended = self.sink.has_ended(batch)
        self.wait(lambda: self.sink.has_ended(batch))
        return ended

    @property
    def runs_elsewhere(self) -> bool:
        """Whether calls run in another process, which may die without this one."""
        return self.run(process_id, [0])[0].value != os.getpid()
