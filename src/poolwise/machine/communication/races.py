"""Updates that two threads lose to each other, and how many.

An update reads a variable and writes it. If another thread writes in between, that is lost. With
the GIL of CPython 3.10 and later threads take turns only at calls and at the end of a loop's body:
never inside of ``n += 1``, but where a call stands between reading and writing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from poolwise.timing.repeat import Effort, gather
from poolwise.timing.sample import Figure

#: In each run, so that two threads take several turns of 5 ms.
_INCREMENTS = 300_000

#: In how many runs nothing may be lost before it is believed that nothing is, where much should be.
_ATTEMPTS = 10


class Races(NamedTuple):
    """Updates lost, run by run until some were, each of `increments`."""

    plain: Figure
    with_call: Figure
    with_lock: Figure
    increments: int


class _Counter:
    def __init__(self) -> None:
        self.n = 0
        self.lock = threading.Lock()


def race(effort: Effort) -> Races:
    """Have two threads count up the same variable in three ways."""

    def lost(update: Callable[[_Counter, int], None], attempts: int) -> Figure:
        return gather(_until_lost(update, attempts), "1")

    few = max(1, effort.least - 2)
    return Races(
        plain=lost(_plainly, few),
        with_call=lost(_with_call, _ATTEMPTS),
        with_lock=lost(_with_lock, few),
        increments=_INCREMENTS,
    )


def _until_lost(update: Callable[[_Counter, int], None], attempts: int) -> Iterator[float]:
    for _ in range(attempts):
        lost = _lost(update)
        yield lost
        if lost:
            return


def _lost(update: Callable[[_Counter, int], None]) -> float:
    counter, each = _Counter(), _INCREMENTS // 2
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
