"""Updates that two threads lose to each other, and how many.

An update reads a variable and writes it. If another thread writes in between, that is lost. With
the GIL of CPython 3.10 and later threads take turns only at calls and at the end of a loop's body:
never inside of ``n += 1``, but where a call stands between reading and writing.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from poolwise.timing.clock import Clock, SystemClock
from poolwise.timing.repeat import Effort, gather
from poolwise.timing.sample import Figure

#: Increments with which the time that they take is found out.
_FIRST = 10_000

#: So many turns each thread takes, at least, where a call stands in between: half of that without.
#: Who is done within its first turn has lost nothing: 150,000 increments take 5.6 ms here, and a
#: turn 5 ms.
_TURNS = 4

#: Under a lock that two want, an increment takes 16 times as long here, and turns end sooner.
_FEWER_WITH_LOCK = 8

#: In how many runs nothing may be lost before it is believed that nothing is, where much should be.
#: A turn ends between reading and writing, or it does not: half of the runs lost something.
_ATTEMPTS = 20


class Races(NamedTuple):
    """Updates lost, run by run until some were, and how many each run makes."""

    plain: Figure
    with_call: Figure
    with_lock: Figure
    increments: int
    increments_with_lock: int


class _Counter:
    def __init__(self) -> None:
        self.n = 0
        self.lock = threading.Lock()


def race(effort: Effort) -> Races:
    """Have two threads count up the same variable in three ways."""
    each = _enough()

    locked = each // _FEWER_WITH_LOCK

    def lost(update: Callable[[_Counter, int], None], attempts: int, each: int) -> Figure:
        return gather(_until_lost(update, attempts, each), "1")

    few = max(1, effort.least // 2)
    return Races(
        plain=lost(_plainly, few, each),
        with_call=lost(_with_call, _ATTEMPTS, each),
        with_lock=lost(_with_lock, few, locked),
        increments=2 * each,
        increments_with_lock=2 * locked,
    )


def _enough(clock: Clock | None = None) -> int:
    """Return how many increments take one thread several turns."""
    clock = clock or SystemClock()
    each, wanted = _FIRST, _TURNS * sys.getswitchinterval()
    while True:
        begin = clock.now()
        _with_call(_Counter(), each)
        took = clock.now() - begin
        if took >= wanted:
            return each
        each = int(each * min(10.0, 1.2 * wanted / took)) + 1


def _until_lost(
    update: Callable[[_Counter, int], None], attempts: int, each: int
) -> Iterator[float]:
    for _ in range(attempts):
        lost = _lost(update, each)
        yield lost
        if lost:
            return


def _lost(update: Callable[[_Counter, int], None], each: int) -> float:
    counter = _Counter()
    together = threading.Barrier(2)

    def count() -> None:
        together.wait()
        update(counter, each)

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 2.0 * each - counter.n


def _plainly(counter: _Counter, times: int) -> None:
    for _ in range(times):
        counter.n += 1


def _with_call(counter: _Counter, times: int) -> None:
    for _ in range(times):
        counter.n = _one_more(counter.n)


def _one_more(number: int) -> int:
    return number + 1


def _with_lock(counter: _Counter, times: int) -> None:
    for _ in range(times):
        with counter.lock:
            counter.n = _one_more(counter.n)
