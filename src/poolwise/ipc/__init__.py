"""Talking between threads and processes; usable alone.

The wire format and the way objects become bytes live in `_poolwise_worker`, because a worker
imports nothing of poolwise; `inbox` is the caller's side of every wait.
"""

from poolwise.ipc.inbox import Inbox

__all__ = ["Inbox"]
