"""Ending workers: ask, wait, kill those that outlast the grace."""

from __future__ import annotations

import select  # not `selectors`, whose import takes as long as that of all that is imported here
from collections.abc import Iterable
from math import ceil

from _poolwise_worker.front_door import ENDED, FAILED
from poolwise.mechanisms.worker_link import WorkerLink
from poolwise.timing.clock import SystemClock
from poolwise.units import Seconds


def end_workers(workers: Iterable[WorkerLink], grace: Seconds | None) -> None:
    """Ask all workers to end, wait for that, and kill those that outlast `grace` seconds.

    What they still send is read and dropped: a worker that waits to be read never ends. Who wakes
    this wait: the keeper, when the server says that a worker has ended; if the server dies, the
    keeper's end, and then the end of the data socket.

    One whose server is not up is not waited for: that may take long, or never be. As soon as the
    server has it, it finds the keeper closed, and kills it.
    """
    clock = SystemClock()
    until = None if grace is None else clock.now() + grace
    ends = _Ends()
    for worker in workers:
        if not worker.server.is_up:
            continue
        ends.listen_to(worker)
        worker.ask_to_end()
        worker.ends.resume()  # one that is stopped would never hear of it
        worker.server.resume()
    while left := ends.workers:
        patience = None if until is None else until - clock.now()
        if patience is not None and patience <= 0:
            for worker in left:
                _kill(worker)
            until = None
            continue
        ends.hear(patience, late=until is None and grace is not None)


class _Ends:
    """The data sockets and keepers that can still tell something, by descriptor."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._data: dict[int, WorkerLink] = {}
        self._keepers: dict[int, WorkerLink] = {}

    @property
    def workers(self) -> list[WorkerLink]:
        """Those that have not ended."""
        return list(
            {id(each): each for each in (*self._data.values(), *self._keepers.values())}.values()
        )

    def listen_to(self, worker: WorkerLink) -> None:
        for listeners, end in (self._data, worker.ends.data), (self._keepers, worker.ends.keeper):
            listeners[end.fileno()] = worker
            self._poll.register(end, select.POLLIN)

    def hear(self, patience: Seconds | None, *, late: bool) -> None:
        """Wait until something has come, for so long at most, and act on it."""
        for descriptor, _ in self._poll.poll(None if patience is None else ceil(patience * 1e3)):
            if descriptor in self._data:
                worker = self._data[descriptor]
                if not worker.drop_what_came() and worker.reader.closed:
                    self._forget(self._data, descriptor)
            elif descriptor in self._keepers:
                self._hear_keeper(descriptor, late=late)

    def _hear_keeper(self, descriptor: int, *, late: bool) -> None:
        worker = self._keepers[descriptor]
        news = worker.ends.news()
        if news is None:
            worker.orphan = True
            self._forget(self._keepers, descriptor)
            if late:
                worker.ends.end_life()
        elif any(kind in (ENDED, FAILED) for kind, _ in news):
            self._forget(self._keepers, descriptor)
            while worker.drop_what_came():
                pass  # its last words
            self._forget(self._data, worker.ends.data.fileno())

    def _forget(self, listeners: dict[int, WorkerLink], descriptor: int) -> None:
        if listeners.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)


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
