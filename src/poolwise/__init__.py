"""Run a function over many inputs the way that is fastest and safe, and see why.

>>> import poolwise
>>> list(poolwise.map(abs, [-1, 2, -3]))
[1, 2, 3]
"""

from __future__ import annotations

import os
from _thread import RLock as _lock
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolwise.api.advising import Advice, advise
    from poolwise.api.machine import measure, shutdown
    from poolwise.api.mapping import map
    from poolwise.api.runs import Run, last_run
    from poolwise.cost.forecast import Ceilings, Forecast
    from poolwise.errors import (
        ChannelClosed,
        InitializerFailed,
        MemoryLimitExceeded,
        OwnerDied,
        PlanRefused,
        PoolFailed,
        PoolwiseError,
        StaleProfile,
        TaskTimeout,
        TransferError,
        WorkerCrashed,
        WorkersKilled,
    )
    from poolwise.executor.executor import Executor
    from poolwise.executor.stats import ExecutorStats
    from poolwise.explain import Explanation
    from poolwise.ipc import (
        Barrier,
        BoundedSemaphore,
        Condition,
        Event,
        Lock,
        Pipe,
        PipeEnd,
        Queue,
        RLock,
        Semaphore,
        Shared,
        share,
    )
    from poolwise.machine import MachineProfile
    from poolwise.plan import Plan
    from poolwise.worker import Worker

#: Where each public name lives. Imported when it is first used (PEP 562), so that a command or a
#: script that only passes by pays a millisecond, not fifty.
_HOMES = {
    "Advice": "api.advising",
    "Barrier": "ipc",
    "BoundedSemaphore": "ipc",
    "Ceilings": "cost.forecast",
    "ChannelClosed": "errors",
    "Condition": "ipc",
    "Event": "ipc",
    "Executor": "executor.executor",
    "ExecutorStats": "executor.stats",
    "Explanation": "explain",
    "Forecast": "cost.forecast",
    "InitializerFailed": "errors",
    "Lock": "ipc",
    "MachineProfile": "machine",
    "MemoryLimitExceeded": "errors",
    "OwnerDied": "errors",
    "Pipe": "ipc",
    "PipeEnd": "ipc",
    "Plan": "plan",
    "PlanRefused": "errors",
    "PoolFailed": "errors",
    "PoolwiseError": "errors",
    "Queue": "ipc",
    "RLock": "ipc",
    "Run": "api.runs",
    "Semaphore": "ipc",
    "Shared": "ipc",
    "StaleProfile": "errors",
    "TaskTimeout": "errors",
    "TransferError": "errors",
    "Worker": "worker",
    "WorkerCrashed": "errors",
    "WorkersKilled": "errors",
    "advise": "api.advising",
    "last_run": "api.runs",
    "map": "api.mapping",
    "measure": "api.machine",
    "share": "ipc",
    "shutdown": "api.machine",
}

__version__ = "0.1.0"

__all__ = [
    "Advice",
    "Barrier",
    "BoundedSemaphore",
    "Ceilings",
    "ChannelClosed",
    "Condition",
    "Event",
    "Executor",
    "ExecutorStats",
    "Explanation",
    "Forecast",
    "InitializerFailed",
    "Lock",
    "MachineProfile",
    "MemoryLimitExceeded",
    "OwnerDied",
    "Pipe",
    "PipeEnd",
    "Plan",
    "PlanRefused",
    "PoolFailed",
    "PoolwiseError",
    "Queue",
    "RLock",
    "Run",
    "Semaphore",
    "Shared",
    "StaleProfile",
    "TaskTimeout",
    "TransferError",
    "Worker",
    "WorkerCrashed",
    "WorkersKilled",
    "advise",
    "last_run",
    "map",
    "measure",
    "share",
    "shutdown",
]


#: Held while a part is imported: two threads that begin with different parts would each meet
#: modules that the other has half imported. A child of a fork has not the thread that may hold it.
_importing = _lock()


def _new_lock() -> None:
    global _importing
    _importing = _lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'poolwise' has no attribute {name!r}")
    with _importing:
        value = globals()[name] = getattr(import_module(f"poolwise.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
