"""The boundary between who decides and who runs: could I, open, run.

The owner of a pool is the thread that waits on the inbox it was opened with. Every method of a
pool is called by the owner, and every method of its sink is called in the owner's thread, from
inside one of these calls or from inside `Inbox.wait`. So neither side needs a lock for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

from poolwise.ipc import Inbox
from poolwise.plan import Plan
from poolwise.task import Batch, BatchId, Exit, Outcomes, Refusal, Task, TaskTraits, WorkerId
from poolwise.units import Bytes, Seconds

#: A function that each worker calls before anything else, and its arguments.
Initializer: TypeAlias = tuple[Callable[..., object], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What the workers of a pool are like.

    `tasks` are sent to each worker before it is ready, so that their imports are part of its
    creation and not of its first batch. `initializer` runs once in each worker before it is
    ready; where it raises, the pool reports `InitializerFailed` to `Sink.failed`, even if it has
    other workers. `thread_name_prefix` is for threads.

    For processes: `siblings` is how many share the CPUs; `start_method` is ``"fork"``,
    ``"forkserver"``, ``"spawn"`` or ``None`` for what is safe and fast now; a worker is replaced
    after `calls_per_worker`; idle workers wait `idle_timeout` seconds for the next pool; large
    buffers take at most `arena_limit` bytes of shared memory for each worker and direction.

    A worker whose call takes longer than `call_timeout` seconds, or that has grown by more than
    `memory_limit` private bytes, is killed; `Exit.reason` says so. `killable` allows `Pool.kill`.
    With any of these a worker has one thread, and is sent one call at a time (`one_call`).
    """

    threads_per_worker: int = 1
    tasks: Sequence[Task] = ()
    initializer: Initializer | None = None
    thread_name_prefix: str = ""
    siblings: int = 1
    start_method: str | None = None
    calls_per_worker: int | None = None
    idle_timeout: Seconds = 30.0
    arena_limit: Bytes = 1 << 30
    call_timeout: Seconds | None = None
    memory_limit: Bytes | None = None
    killable: bool = False

    @property
    def one_call(self) -> bool:
        """Whether a worker has at most one call: killing it for that costs no other."""
        return self.killable or self.call_timeout is not None or self.memory_limit is not None

    def under(self, plan: Plan) -> WorkerOptions:
        """Return what workers are like under `plan`."""
        return replace(self, threads_per_worker=plan.threads_per_worker, siblings=plan.workers)


@dataclass(frozen=True, slots=True)
class Readiness:
    """What of a mechanism is there already: a process that starts workers, idle workers. Without
    the first, `prepare` makes one, unless there are more `threads` than the caller's own (0 says
    that nothing need be prepared). It takes longer where `libraries` with threads of their own are
    loaded.
    """

    server: bool = False
    idle: int = 0
    threads: int = 0
    libraries: bool = False


#: As `Pool.largest_batch`: no reason for a limit.
ANY_SIZE = 1 << 62


class Sink(Protocol):
    """What a pool reports. Implemented once, in ``executor/``; ``testing`` has another."""

    def ready(self, worker: WorkerId) -> None:
        """A worker has answered once: from `Pool.grow` to here is its creation cost. One that
        answered an earlier pool is ready within `Pool.grow`.
        """
        ...

    def done(self, batch: BatchId, first: int, outcomes: Outcomes) -> None:
        """Calls from position `first` on have ended, as many as there are outcomes."""
        ...

    def returned(self, batch: BatchId, first: int, count: int) -> None:
        """These calls have not started and never will here."""
        ...

    def lost(self, batch: BatchId, first: int, count: int, exit: Exit) -> None:
        """These calls had started when their worker died, and left no outcome."""
        ...

    def gone(self, worker: WorkerId, exit: Exit) -> None:
        """A worker that was ready died unasked, after all that was said of its batches."""
        ...

    def fewer(self, error: BaseException) -> None:
        """A worker could not be created; others are left, `Pool.workers`, and go on."""
        ...

    def failed(self, error: BaseException) -> None:
        """No worker could be created, and none is left; or an initializer raised. What was sent is
        returned.
        """
        ...


class Pool(Protocol):
    """Live workers of one mechanism; owned by whoever opened it."""

    @property
    def workers(self) -> int:
        """Workers that are there or on their way."""
        ...

    @property
    def largest_batch(self) -> int:
        """So many calls should be sent at once at most: their arguments and results are large."""
        ...

    @property
    def first_free(self) -> bool:
        """Whether a batch that waits is run by whoever is free first, and can be taken back."""
        ...

    @property
    def sending(self) -> Seconds:
        """What it takes to send a recent batch, and to read it there, besides running it."""
        ...

    @property
    def queued(self) -> Mapping[int, Seconds] | None:
        """For how long each worker of one call at a time has had no CPU, by process; ``None`` where
        not known.
        """
        ...

    @property
    def idle(self) -> int:
        """Workers that are ready and have nothing, where others may have what nobody can take from
        them; else 0.
        """
        ...

    def grow(self, workers: int) -> None:
        """Start so many more workers; returns at once, `Sink.ready` follows for each.

        Raises:
            RuntimeError: the pool is closed. (`send` raises it too.)
        """
        ...

    def send(self, batch: Batch, /) -> None:
        """Have a batch run by some worker; returns at once, except where running is inline.

        Each of its calls ends in exactly one of `Sink.done`, `returned`, `lost`.
        """
        ...

    def take_back(self, batch: BatchId, /) -> None:
        """Ask for the calls of a batch that have not started; a batch that has ended is ignored."""
        ...

    def kill(self, batch: BatchId, /) -> None:
        """End the worker that has this batch, if workers can be killed one by one and have one
        call: `Sink.lost` or `returned` follows. A batch that has ended is ignored.
        """
        ...

    def nothing_more(self) -> None:
        """Let workers end that have nothing to do: no batch is to be expected. One that is sent all
        the same, because it came back from elsewhere, is run all the same.
        """
        ...

    def close(self, *, grace: Seconds | None) -> None:
        """End all workers: wait `grace` seconds for what runs (``None``: for ever), then kill.

        Nothing is reported any more. A second call does nothing. Threads cannot be killed: after
        `grace` they are abandoned, and end with the call that they run.
        """
        ...


class Mechanism(Protocol):
    """A way to run tasks; stateless. Naming one starts nothing."""

    @property
    def name(self) -> str:
        """The word that plans use: ``"inline"``, ``"thread"``, ``"process"``."""
        ...

    def refusal(self, traits: TaskTraits, /) -> Refusal | None:
        """Say why this mechanism cannot run such a task, or ``None``."""
        ...

    def prepare(self, options: WorkerOptions, /) -> None:
        """Do for such workers what can be done only while nothing else runs in this process; most
        need nothing.
        """
        ...

    def readiness(self, options: WorkerOptions, /) -> Readiness:
        """Return what a pool with such workers would not have to start."""
        ...

    def open(self, options: WorkerOptions, sink: Sink, inbox: Inbox, /) -> Pool:
        """Return a pool with no workers yet; starts nothing."""
        ...
