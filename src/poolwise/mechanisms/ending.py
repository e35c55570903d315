"""Ending workers: ask, wait, kill those that outlast the grace."""

from __future__ import annotations

import selectors
from collections.abc import Iterable

from _poolwise_worker.front_door import ENDED, FAILED
from poolwise.mechanisms.worker_link import WorkerLink
from poolwise.timing.clock import SystemClock
from poolwise.units import Seconds


def end_workers(workers: Iterable[WorkerLink], grace: Seconds | None) -> None:
    """Ask all workers to end, wait for that, and kill those that outlast `grace` seconds.

    What they still send is read and dropped: a worker that waits to be read never ends. Who wakes
    this wait: the keeper, when the server says that a worker has ended; if the server dies, the
    keeper's end, and then the end of the data socket.
    """
    clock = SystemClock()
    until = None if grace is None else clock.now() + grace
    with selectors.PollSelector() as ends:
        for worker in workers:
            ends.register(worker.ends.data, selectors.EVENT_READ, worker)
            ends.register(worker.ends.keeper, selectors.EVENT_READ, worker)
            worker.ask_to_end()
            worker.ends.resume()  # one that is stopped would never hear of it
            worker.server.resume()
        while left := {id(key.data): key.data for key in ends.get_map().values()}:
            patience = None if until is None else until - clock.now()
            if patience is not None and patience <= 0:
                for worker in left.values():
                    _kill(worker)
                until = None
                continue
            for key, _ in ends.select(patience):
                if key.fileobj is key.data.ends.data:
                    _hear(ends, key.data)
                elif key.fileobj in ends.get_map():
                    _hear_keeper(ends, key.data, late=until is None and grace is not None)


def _hear(ends: selectors.BaseSelector, worker: WorkerLink) -> None:
    if not worker.drop_what_came() and worker.reader.closed:
        ends.unregister(worker.ends.data)


def _hear_keeper(ends: selectors.BaseSelector, worker: WorkerLink, *, late: bool) -> None:
    news = worker.ends.news()
    if news is None:
        worker.orphan = True
        ends.unregister(worker.ends.keeper)
        if late:
            worker.ends.end_life()
    elif any(kind in (ENDED, FAILED) for kind, _ in news):
        ends.unregister(worker.ends.keeper)
        while worker.drop_what_came():
            pass  # its last words
        if worker.ends.data in ends.get_map():
            ends.unregister(worker.ends.data)


def _kill(worker: WorkerLink) -> None:
    """Kill through the server, which knows that a process id still means this worker.

    Orphans have no such parent. The kernel kills them at the end of their life pipe, within
    milliseconds, and then their data socket ends.
    """
    if worker.orphan:
        worker.ends.end_life()
    else:
        worker.server.resume()
        worker.ends.kill()
