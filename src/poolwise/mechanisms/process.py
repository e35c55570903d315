"""Worker processes.

All that they need is imported with this module, and this module with the map: who imports it after
the first call has come waits for it, with all CPUs but one idle, and after a fork twice as long,
for then the pages that are written are copied.
"""

from __future__ import annotations

import os
import threading

from _poolwise_worker.inner_threads import have_inner_threads
from poolwise.ipc import Inbox
from poolwise.mechanisms.protocol import Pool, Readiness, Sink, WorkerOptions
from poolwise.task import Refusal, TaskTraits

if hasattr(os, "fork"):  # else there are none
    from poolwise.mechanisms import idle_workers, servers
    from poolwise.mechanisms.process_pool import ProcessPool
    from poolwise.mechanisms.recruiting import share_for_server


class ProcessMechanism:
    """Runs what can be pickled, in isolation."""

    name = "process"

    def refusal(self, traits: TaskTraits, /) -> Refusal | None:
        """Refuse what cannot go to another process, or must not."""
        if not hasattr(os, "fork"):
            return Refusal("worker processes need a POSIX system", "use threads")
        return traits.elsewhere

    def prepare(self, options: WorkerOptions, /) -> None:
        """Fork this process while that is safe, so that such workers start at once."""
        servers.prepare(options.tasks, share_for_server(options))

    def readiness(self, options: WorkerOptions, /) -> Readiness:
        """Return whether a server runs, the idle workers that would do, and who is in its way."""
        if not hasattr(os, "fork"):
            return Readiness()
        idle = idle_workers.count(options.threads_per_worker)
        return Readiness(servers.there_is(), idle, _threads(), have_inner_threads())

    def open(self, options: WorkerOptions, sink: Sink, inbox: Inbox, /) -> Pool:
        """Return a pool without processes yet."""
        return ProcessPool(options, sink, inbox)


def _threads() -> int:
    """Return how many threads are in the way of a fork; 0 where none is ever made, because the
    system does not tell who else is there.
    """
    return threading.active_count() if os.path.isdir("/proc/self/task") else 0
