"""Talking between threads and processes; usable alone.

The wire format, the way objects become bytes and what synchronises live in `_poolwise_worker`,
because a worker imports nothing of poolwise; `inbox` is the caller's side of every wait.
"""

from _poolwise_worker.barriers import Barrier
from _poolwise_worker.conditions import Condition
from _poolwise_worker.events import Event
from _poolwise_worker.locks import Lock, RLock
from _poolwise_worker.pipes import Pipe, PipeEnd
from _poolwise_worker.queues import Queue
from _poolwise_worker.semaphores import BoundedSemaphore, Semaphore
from _poolwise_worker.shared import Shared, share
from poolwise.ipc.inbox import Inbox

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
