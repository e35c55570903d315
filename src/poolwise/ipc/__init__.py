"""Talking between threads and processes; usable alone.

The wire format, the way objects become bytes and what synchronises live in `_poolwise_worker`,
because a worker imports nothing of poolwise; `inbox` is the caller's side of every wait.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from poolwise.ipc.inbox import Inbox

if TYPE_CHECKING:
    from _poolwise_worker.channels.barriers import Barrier
    from _poolwise_worker.channels.conditions import Condition
    from _poolwise_worker.channels.events import Event
    from _poolwise_worker.channels.locks import Lock, RLock
    from _poolwise_worker.channels.pipes import Pipe, PipeEnd
    from _poolwise_worker.channels.queues import Queue
    from _poolwise_worker.channels.semaphores import BoundedSemaphore, Semaphore
    from _poolwise_worker.channels.shared import Shared, share

#: Where each name lives. Imported when it is first used: maps use none of them.
_HOMES = {
    "Barrier": "barriers",
    "BoundedSemaphore": "semaphores",
    "Condition": "conditions",
    "Event": "events",
    "Lock": "locks",
    "Pipe": "pipes",
    "PipeEnd": "pipes",
    "Queue": "queues",
    "RLock": "locks",
    "Semaphore": "semaphores",
    "Shared": "shared",
    "share": "shared",
}

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Inbox",
    "Lock",
    "Pipe",
    "PipeEnd",
    "Queue",
    "RLock",
    "Semaphore",
    "Shared",
    "share",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'poolwise.ipc' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"_poolwise_worker.channels.{home}"), name)
    return value
