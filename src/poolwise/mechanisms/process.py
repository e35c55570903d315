"""Worker processes; light to import, because most maps never open any."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence

from poolwise.ipc import Inbox
from poolwise.mechanisms.protocol import Pool, Readiness, Sink, WorkerOptions
from poolwise.task import Refusal, Task, TaskTraits


class ProcessMechanism:
    """Runs what can be pickled, in isolation."""

    name = "process"

    def refusal(self, traits: TaskTraits, /) -> Refusal | None:
        """Refuse what cannot go to another process, or must not."""
        if not hasattr(os, "fork"):
            return Refusal("worker processes need a POSIX system", "use threads")
        return traits.elsewhere

    def prepare(self, tasks: Sequence[Task], /) -> None:
        """Fork this process while that is safe, so that workers with these tasks start at once."""
        from poolwise.mechanisms import servers

        servers.prepare(tasks)

    def readiness(self, options: WorkerOptions, /) -> Readiness:
        """Return whether a server runs, the idle workers that would do, and who is in its way."""
        if "poolwise.mechanisms.servers" not in sys.modules:
            return Readiness(threads=_threads())
        from poolwise.mechanisms import servers

        idle = 0
        if "poolwise.mechanisms.idle_workers" in sys.modules:  # else no pool has left any
            from poolwise.mechanisms import idle_workers

            idle = idle_workers.count(options.threads_per_worker)
        return Readiness(servers.there_is(), idle, _threads())

    def open(self, options: WorkerOptions, sink: Sink, inbox: Inbox, /) -> Pool:
        """Return a pool without processes yet."""
        if options.start_method is None and "poolwise.mechanisms.process_pool" not in sys.modules:
            self.prepare(options.tasks)  # the fork imports what it needs while this process does
        from poolwise.mechanisms.process_pool import ProcessPool

        return ProcessPool(options, sink, inbox)


def _threads() -> int:
    """Return how many threads are in the way of a fork; 0 where none is ever made, because the
    system does not tell who else is there.
    """
    return threading.active_count() if os.path.isdir("/proc/self/task") else 0
