"""How late a thread that ticks is, beside work; and on which CPUs work is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from poolwise.machine.concurrency.speedup import Workers, amount_for
from poolwise.machine.deadline import deadline
from poolwise.timing.clock import SystemClock
from poolwise.timing.repeat import Effort, gather
from poolwise.timing.sample import Figure, Sample
from poolwise.units import Seconds

#: From tick to tick, if nothing delays them.
_TICK: Seconds = 1e-3

#: So long is ticked beside each kind of work, times the shortest work that is measured elsewhere:
#: some ten ticks even where each waits 5 ms for the GIL.
_BEATS = 3.0

#: Computing ones are seen "at once" if both were within so long: less than a time slice, so that
#: two that take turns are not.
_MOMENT: Seconds = 0.25e-3

#: On a busy machine one may have ended, and taken the other call too, before the other is awake.
_MEETINGS = 5

#: Kinds of work, by what a heartbeat is called beside them.
_BESIDE = {"waiting": "waits", "computing": "holds the GIL"}


def heartbeats(workers: Workers, effort: Effort) -> dict[str, Figure]:
    """Return by how much ticks are late beside one worker that waits, and one that computes."""
    return {name: _heartbeat(workers, kind, effort) for name, kind in _BESIDE.items()}


def switch_interval(beats: dict[str, Figure]) -> Figure:
    """Return how long a thread waits for the GIL beside one that computes.

    That is how late its ticks are, less what a timer is late by itself.
    """
    waiting, computing = beats["waiting"], beats["computing"]
    if not isinstance(waiting, Sample) or not isinstance(computing, Sample):
        return waiting if not isinstance(waiting, Sample) else computing
    usual = waiting.median
    waits = tuple(max(0.0, late - usual) for late in computing.values)
    return Sample("s", waits, waiting.throttled or computing.throttled)


def cpus_at_once(workers: Workers, effort: Effort) -> Figure:
    """Return on how many CPUs two computing ones ran, moment by moment."""
    return gather(_cpus(workers, max(20e-3, effort.piece)), "1")


def _heartbeat(workers: Workers, kind: str, effort: Effort) -> Figure:
    def ticks() -> Iterator[float]:
        seconds = max(30e-3, _BEATS * effort.piece)
        amount = amount_for(kind, seconds)
        with deadline(), _Ticker() as ticker:
            ((begin, end, _),) = workers.calls([(kind, amount)])
        for due, late in ticker.ticks:
            if begin + _TICK <= due <= end:
                yield late

    return gather(ticks(), "s")


class _Ticker:
    """A thread that notes when each of its ticks was due, and how late it came.

    `ticks` is its own until it has ended; `_over` is set by who waits for that.
    """

    def __init__(self) -> None:
        self.ticks: list[tuple[Seconds, Seconds]] = []
        self._over = False
        self._thread = threading.Thread(target=self._tick)

    def __enter__(self) -> _Ticker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()

    def _tick(self) -> None:
        clock = SystemClock()
        while not self._over:
            due = clock.now() + _TICK
            time.sleep(_TICK)
            self.ticks.append((due, clock.now() - due))


def _cpus(workers: Workers, seconds: Seconds) -> Iterator[float]:
    for _ in range(_MEETINGS):
        with deadline():
            traces = workers.calls([("trace", seconds)] * 2)
        begin = max(trace[0][0] for trace in traces)
        end = min(trace[-1][0] for trace in traces)
        if begin < end:
            break
    first, second = (_by_moment(trace, begin, end) for trace in traces)
    for moment in first.keys() | second.keys():
        here, there = first.get(moment, set()), second.get(moment, set())
        # One that was moved to another CPU is still on one at a time.
        yield 2.0 if here and there and here.isdisjoint(there) else 1.0


def _by_moment(
    trace: list[tuple[Seconds, int]], begin: Seconds, end: Seconds
) -> dict[int, set[int]]:
    """Return the CPUs on which one was seen, by moments since `begin`."""
    moments: dict[int, set[int]] = {}
    for when, cpu in trace:
        if begin <= when <= end:
            moments.setdefault(int((when - begin) / _MOMENT), set()).add(cpu)
    return moments
