"""Workers that wait for the next pool.

An optimiser maps thousands of times; starting workers each time would cost more than its calls.
An idle worker ends itself when it has heard nothing for a while, so nobody here needs a timer:
a thread for that would make this process one that cannot be forked. That it has ended is noticed
when it is asked for.
"""

from __future__ import annotations

import os
import threading

from _poolwise_worker import forks
from poolwise.mechanisms.protocol import WorkerOptions
from poolwise.mechanisms.servers import Server
from poolwise.mechanisms.worker_link import WorkerLink
from poolwise.units import Seconds

#: Idle workers kept at once: two for each CPU. Who closes a pool of many rarely opens several more.
_AT_MOST = 2 * (os.cpu_count() or 1)

#: Guards the stock: pools of several threads put and take.
_lock = threading.RLock()
_stock: list[WorkerLink] = []


def put(worker: WorkerLink, seconds: Seconds) -> bool:
    """Keep a worker that has nothing to do for so many seconds; false if it cannot be kept."""
    if not (worker.ready and worker.pid) or worker.sent or worker.writing or worker.orphan:
        return False
    if worker.reader.closed or seconds <= 0 or not worker.is_silent():
        return False
    worker.rest(seconds)
    if worker.writing:
        return False
    dropped = []
    with _lock:
        _stock.append(worker)
        while len(_stock) > _AT_MOST:
            dropped.append(_stock.pop(0))
    for each in dropped:
        each.close()
    return True


def take(server: Server, options: WorkerOptions, *, spawned: bool) -> WorkerLink | None:
    """Return the worker that became idle last of those that would do, if there is one.

    One that had another number of siblings would not: a library that it has loaded may use as many
    threads as its share of the CPUs was then, and cannot be told to use more.

    It may end itself at this moment; its pool then finds it dead and starts another. What was sent
    to it has not begun.
    """
    while True:
        with _lock:
            for each in [each for each in _stock if not each.server.wanted]:
                _stock.remove(each)
                each.close()
            worker = next(
                (
                    each
                    for each in reversed(_stock)
                    if each.server is server
                    and each.threads == options.threads_per_worker
                    and each.siblings == options.siblings
                    and each.spawned == spawned
                ),
                None,
            )
            if worker is None:
                return None
            _stock.remove(worker)
        if worker.is_silent() and worker.knows.hold(options.tasks):
            worker.reused = True
            return worker
        worker.close()


def count(threads: int) -> int:
    """Return how many idle workers of so many threads there are, as far as is known."""
    with _lock:
        return sum(each.threads == threads and each.server.wanted for each in _stock)


def clear() -> None:
    """End all idle workers now."""
    with _lock:
        stock, _stock[:] = _stock[:], []
    for worker in stock:
        worker.close()


def _after_fork() -> None:
    """In a child of the user's: they are the parent's, and so is whoever held the lock."""
    global _lock
    _lock = threading.RLock()
    for worker in _stock:
        worker.close()
    _stock.clear()


forks.in_child(_after_fork)
