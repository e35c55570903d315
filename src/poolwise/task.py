"""The records that travel between rooms: a task, its batches and what comes back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

from poolwise.units import Seconds

BatchId: TypeAlias = int
WorkerId: TypeAlias = int

#: Why a worker was ended: its call took too long, used too much memory, was cancelled; or nobody
#: was left to see to that.
EndReason: TypeAlias = Literal["overtime", "overgrown", "cancelled", "unguarded"]

#: One list per argument, all of the same length: call *i* takes ``[c[i] for c in columns]``.
Columns: TypeAlias = tuple[list[object], ...]

_task_ids = itertools.count(1)
_batch_ids = itertools.count(1)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Task:
    """The user's function, with an identity by which workers keep it after the first batch."""

    function: Callable[..., object]
    id: int = field(default_factory=_task_ids.__next__)

    @property
    def name(self) -> str:
        """The function's qualified name, or its type's if it has none."""
        return name_of(self.function)


def name_of(function: object) -> str:
    """Return what a function is called in texts: its qualified name, or its type's."""
    try:
        while isinstance(function, partial):
            function = function.func
        name = getattr(function, "__qualname__", None)
    except Exception:  # whatever a thing that looks like a function does
        name = None
    return name if isinstance(name, str) else type(function).__qualname__


class Batch:
    """Calls of one task that are sent to a worker in one message; `calls` says how many."""

    __slots__ = ("calls", "columns", "id", "task")

    def __init__(self, task: Task, columns: Columns) -> None:
        self.task = task
        self.columns = columns
        self.calls = len(columns[0])
        self.id: BatchId = next(_batch_ids)

    def __len__(self) -> int:
        return self.calls


# Not frozen: there is one for each batch at least, and to set each field in the way that frozen
# ones do takes three times as long.
@dataclass(slots=True, eq=False)
class Outcomes:
    """What became of consecutive calls of one batch, in call order.

    `values` has one entry per call; where a call raised, `errors` has its position and the
    exception. `service` and `cpu` are seconds summed over these calls, taken in the worker
    around user code only: wall time, and CPU time of the thread that ran them.
    """

    values: list[object]
    errors: Mapping[int, BaseException] = field(default_factory=dict)
    service: Seconds = 0.0
    cpu: Seconds = 0.0

    def part(self, start: int, stop: int) -> Outcomes:
        """Return those of some calls, by their positions here; time is divided evenly."""
        share = (stop - start) / len(self.values)
        errors = {
            position - start: error
            for position, error in self.errors.items()
            if start <= position < stop
        }
        return Outcomes(self.values[start:stop], errors, share * self.service, share * self.cpu)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a worker ended: an exit code, or the number of the signal that killed it.

    `reason` says why it was ended on purpose, ``None`` if it was not.
    """

    pid: int
    code: int | None = None
    signal: int | None = None
    reason: EndReason | None = None

    def __str__(self) -> str:
        if self.signal is not None:
            return f"died of signal {self.signal}"
        return "died" if self.code is None else f"died with exit code {self.code}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reasoned "no": why a mechanism cannot run a task, and what would do instead."""

    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}" if self.remedy else self.reason


@dataclass(frozen=True, slots=True)
class TaskTraits:
    """What is known of a task before it is measured. Each refusal is ``None`` if nothing speaks
    against it.

    `concurrent` speaks against running two calls at once in one address space, `elsewhere`
    against running calls in another process.
    """

    concurrent: Refusal | None = None
    elsewhere: Refusal | None = None
