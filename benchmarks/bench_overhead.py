"""Measure what poolwise itself costs: the constants that the code cites.

Mechanisms are driven as the executor drives them, or by a map; nothing is imitated. All figures
come from one run that takes them in turns, each round in another order, after a round that is not
counted; each is the median of the rounds, and a difference is taken within each round.

What it should show:

- a thread starts in a small part of a millisecond, a process in a few, the fork server in tens
- a batch costs tens of microseconds, so short calls travel together: throughput grows with the
  batch, and hardly any more from the length on that ``planner/batching.py`` takes
- the loop of a worker adds to a call some 100 ns, the loop in the caller much less
- on calls that are too short for any worker, ``auto`` costs some milliseconds, however many

How to read it: the first of the last two tables puts each constant beside what this machine says.
Forecasts need these to be right within a factor of two or so; a wrong one opens workers that do
not pay, or stays in the loop for longer than is good. The second shows lengths of time that were
chosen to be long beside something; the share should be a few percent at most.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from itertools import islice
from time import perf_counter

from _door import Door
from _report import begin, interleaved, median, options, spread, table

import poolwise
from _poolwise_worker import wire
from poolwise.machine import PoolCosts
from poolwise.mechanisms import running, thread
from poolwise.planner import batching
from poolwise.probe import payload
from poolwise.task import Batch, Task
from poolwise.timing.clock import SystemClock
from poolwise.units import duration, rate


def nothing(_: object) -> None:
    """Do nothing: what a call costs is then what is around it."""


def square(number: int) -> int:
    """Do next to nothing."""
    return number * number


def work(number: int) -> int:
    """Compute for a small part of a millisecond."""
    return sum(range(number % 2 + 4_000))


#: A built-in function, so that no worker imports anything for it.
NOTHING = Task(callable)

#: A function of this script goes to a worker by value, and the worker imports what reads that.
OWN = Task(nothing)


def timed(action: Callable[[], object]) -> float:
    """Return how long `action` takes."""
    began = perf_counter()
    action()
    return perf_counter() - began


# ---- what is measured: each returns one figure ---------------------------------------------------


def start(
    name: str, *, cold: bool = False, workers: int = 1, calls: int = 0, task: Task = NOTHING
) -> float:
    """Start workers, for each of them: without a server if `cold`, else beside another worker."""
    if cold:
        poolwise.shutdown()
    with Door(name, task) as door:
        if not cold:
            door.start()
        return (timed(lambda: door.start(workers)) + timed(lambda: door.run(calls))) / workers


def reuse() -> float:
    """Start a worker that waits idle, because the pool before it has left it."""
    with Door("process", NOTHING, idle_timeout=30.0).start():
        pass
    with Door("process", NOTHING, idle_timeout=30.0) as door:
        return timed(door.start)


def dispatch(name: str, batches: int, ahead: int) -> float:
    """Send batches of one call that does nothing to one worker, for each of them."""
    with Door(name, NOTHING).start() as door:
        door.run(10)
        return timed(lambda: door.run(batches, ahead)) / batches


def mapped(plan: str, calls: int, function: Callable[[int], object] = nothing) -> float:
    """Map over a range, for each call; the clock starts when a tenth is over."""
    with poolwise.map(function, range(calls), plan=plan) as run:
        assert sum(1 for _ in islice(run, calls // 10)) == calls // 10
        before = run.record().done
        return timed(run.results) / max(1, calls - before)


def whole_map(plan: str | None, calls: int, function: Callable[[int], object]) -> float:
    """Map over a range, for each call, start included."""
    return timed(lambda: list(poolwise.map(function, range(calls), plan=plan))) / calls


def loop(calls: int, function: Callable[[int], object] = nothing) -> float:
    """Run a bare loop, for each call."""
    return timed(lambda: [function(each) for each in range(calls)]) / calls


def thread_loop(calls: int) -> float:
    """Run the loop of a worker thread, for each call."""
    batch = Batch(OWN, (list(range(calls)),))
    under_way = running.Running(batch, SystemClock(), lambda *_: None)
    return timed(lambda: under_way.run(thread._FLUSH_AFTER)) / calls


def process_loop(plan: str, calls: int) -> float:
    """Return what the loop of a worker process took for each call, as it says itself."""
    run = poolwise.map(nothing, range(calls), plan=plan)
    run.results()
    uses = run.record().uses
    return sum(use.service for use in uses) / sum(use.calls for use in uses)


def clocks(readings: int, *names: str) -> float:
    """Read clocks, for each reading of all of them."""
    read = [getattr(SystemClock(), name) for name in names]
    began = perf_counter()
    for _ in range(readings):
        for each in read:
            each()
    return (perf_counter() - began) / readings


def socket_pair(size: int) -> float:
    """Copy through a socket pair, for each byte: a thread sends, this one receives."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=ours.sendall, args=(bytes(size),))
        room, left, began = bytearray(wire._CHUNK), size, perf_counter()
        sender.start()
        while left:
            left -= theirs.recv_into(room)
        took = perf_counter() - began
        sender.join()
    return took / size


def large_argument(size: int) -> float:
    """Send one large argument to a worker process, for each byte; it is pickled and unpickled."""
    with Door("process", NOTHING).start() as door:
        door.run(10)
        return timed(lambda: door.run(1, argument=bytes(size))) / size


# ---- the figures, by the headline over them ------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A figure: what it is, how it is measured, how it is written."""

    what: str
    how: str
    measure: Callable[[], float]
    show: Callable[[float], str] = duration


def gigabytes(seconds_per_byte: float) -> str:
    """Write the time of a byte as a throughput."""
    return f"{1e-9 / seconds_per_byte:.2g} GB/s"


def per_second(seconds_per_call: float) -> str:
    """Write the time of a call as a throughput."""
    return f"{rate(1.0 / seconds_per_call)}/s"


def starts() -> list[Row]:
    """Return what it takes to have workers."""
    cold = "no server; grow(1) to "
    beside = "beside another; grow(1) to "
    return [
        Row("thread: start", beside + "ready", partial(start, "thread")),
        Row(
            "thread: first answer", beside + "the end of a call", partial(start, "thread", calls=1)
        ),
        Row("thread: each of 8", "grow(8) to all ready", partial(start, "thread", workers=8)),
        Row("process: cold", cold + "ready", partial(start, "process", cold=True)),
        Row(
            "process: cold answer",
            cold + "the end of a call",
            partial(start, "process", cold=True, calls=1),
        ),
        Row("process: further", beside + "ready", partial(start, "process")),
        Row(
            "process: own function",
            beside + "ready, for a function of this script",
            partial(start, "process", task=OWN),
        ),
        Row("process: from idle", "idle; grow(1) to ready", reuse),
        Row("process: each of 4", "grow(4) to all ready", partial(start, "process", workers=4)),
    ]


def dispatches(batches: int) -> list[Row]:
    """Return what it takes to send a batch."""
    rows = []
    for name in ("thread", "process"):
        ahead = batching.in_flight_batches(poolwise.Plan(name), 1, None)
        alone, full = partial(dispatch, name, batches, 1), partial(dispatch, name, batches, ahead)
        plan = f"{name}:1/1"
        rows += [
            Row(f"{name}: round trip", "batches of one call, one at a time", alone),
            Row(f"{name}: queue full", f"the same, {ahead} under way, as a map has them", full),
            Row(f"{name}: in a map", f"map with {plan}, each call", partial(mapped, plan, batches)),
        ]
    return rows


def loops(calls: int) -> list[Row]:
    """Return what is around a call."""
    plan = f"process:1/{calls // 20}"
    return [
        Row("bare loop", "[nothing(x) for x in …]", partial(loop, calls)),
        Row("loop of a thread", "mechanisms/running.py, one batch", partial(thread_loop, calls)),
        Row(
            "loop of a process", f"service in a map with {plan}", partial(process_loop, plan, calls)
        ),
        Row("a call in a process", f"map with {plan}", partial(mapped, plan, 3 * calls)),
    ]


def readings(count: int) -> list[Row]:
    """Return what it takes to read clocks."""
    names = ("now", "thread_cpu", "process_cpu")
    rows = [
        Row(f"clock: {name}", f"SystemClock.{name}", partial(clocks, count, name))
        for name in (*names, "children_cpu", "queued")
    ]
    return [*rows, Row("three clocks", ", ".join(names), partial(clocks, count, *names))]


def copies(size: int) -> list[Row]:
    """Return what large payloads take."""
    pickled = partial(large_argument, size // 4)
    return [
        Row("socket pair", "a thread sends, another reads", partial(socket_pair, size), gigabytes),
        Row("large argument", "one call of a process pool, pickled", pickled, gigabytes),
    ]


def in_the_caller(calls: int) -> list[Row]:
    """Return what a map costs where no worker can pay; its start is in it."""
    rows = []
    for fn in (nothing, square):
        name = fn.__name__
        inline, auto = partial(whole_map, "inline", calls, fn), partial(whole_map, None, calls, fn)
        rows += [
            Row(f"{name}: loop", f"[{name}(x) for x in …]", partial(loop, calls, fn)),
            Row(f"{name}: inline", f"list(map({name}, …)) with inline", inline),
            Row(f"{name}: auto", f"list(map({name}, …))", auto),
        ]
    return rows


def by_batch(less: int) -> list[Row]:
    """Return the throughput by the calls of a batch."""
    return [
        Row(
            f"{name}:2/{length}",
            "calls that do nothing",
            partial(mapped, f"{name}:2/{length}", max(2_000 // less, 60 * length)),
            per_second,
        )
        for name in ("thread", "process")
        for length in (1, 10, 100, 1_000, 10_000)
        if length * less <= 10_000
    ]


def by_duration(less: int) -> list[Row]:
    """Return the throughput by the length of a batch, of calls that compute."""
    calls = 2_000 // less
    alone = Row("work: loop", "[work(x) for x in …]", partial(loop, calls, work), per_second)
    return [
        alone,
        *(
            Row(
                f"work: process:2/{length}",
                f"a batch is {length} × a call of the loop",
                partial(mapped, f"process:2/{length}", max(calls, 20 * length), work),
                per_second,
            )
            for length in (1, 3, 10, 30, 100, 300)
            if length * less <= 300
        ),
    ]


# ---- what they say about the code ----------------------------------------------------------------

Figures = dict[str, list[float]]


def beyond(figures: Figures, more: str, base: str) -> list[float]:
    """Return a difference, round by round."""
    return [one - other for one, other in zip(figures[more], figures[base], strict=True)]


def against_the_loop(figures: Figures, calls: int) -> list[list[str]]:
    """Return what maps in the caller cost over a bare loop."""
    rows = []
    for name in ("nothing", "square"):
        base = figures[f"{name}: loop"]
        for way in ("inline", "auto"):
            took = figures[f"{name}: {way}"]
            extra = median(beyond(figures, f"{name}: {way}", f"{name}: loop"))
            ratios = [one / other for one, other in zip(took, base, strict=True)]
            rows.append(
                [
                    f"{name}: {way}",
                    f"{median(ratios):.2f}",
                    spread(ratios, "{:.2f}".format),
                    f"{extra * 1e9:+.0f} ns",
                    f"{extra * calls * 1e3:+.1f} ms",
                    f"{median(took) * calls * 1e3:.1f} ms",
                ]
            )
    return rows


def constants(figures: Figures) -> list[list[str]]:
    """Return the constants of the code beside what was measured."""
    costs = PoolCosts()
    measured = {
        "thread_start": figures["thread: each of 8"],
        "server_start": beyond(figures, "process: cold", "process: further"),
        "process_start": figures["process: each of 4"],
        "process_reuse": figures["process: from idle"],
        "thread_dispatch": figures["thread: in a map"],
        "process_dispatch": figures["process: in a map"],
        "call_overhead": beyond(figures, "loop of a thread", "bare loop"),
    }
    # A field without a figure is an error here: whoever adds one says how it is measured.
    rows: list[tuple[str, float, list[float], Callable[[float], str]]] = [
        (f"PoolCosts.{each.name}", getattr(costs, each.name), measured[each.name], duration)
        for each in fields(costs)
    ]
    copying = payload._SOCKET
    rows.append(
        ("payload._SOCKET", copying, figures["socket pair"], gigabytes),
    )
    return [
        [name, show(value), show(median(here)), spread(here, show), f"{median(here) / value:.2f}"]
        for name, value, here, show in rows
    ]


def shares(figures: Figures) -> list[list[str]]:
    """Return the lengths of time that were chosen because something else is short beside them."""
    rows = []
    for name, value, what, figure in (
        ("running._STRIDE_FROM", running._STRIDE_FROM, "reading", "three clocks"),
        ("thread._FLUSH_AFTER", thread._FLUSH_AFTER, "handing on", "thread: queue full"),
        ("batching._SENT_FOR", batching._SENT_FOR, "sending", "process: in a map"),
        ("batching._LONG_CALL", batching._LONG_CALL, "waiting", "process: round trip"),
    ):
        percents = [100.0 * each / value for each in figures[figure]]
        share, around = f"{median(percents):.1f} %", spread(percents, "{:.1f} %".format)
        rows.append([name, duration(value), f"{what} ({figure})", share, around])
    return rows


def main() -> None:
    """Measure everything in turns, print it by topic, and what it says of the code last."""
    given = begin(options(__doc__, rounds=7))
    less = 100 if given.smoke else 1
    calls = 200_000 // less
    topics = {
        "start of a worker": starts(),
        "sending a batch": dispatches(2_000 // less),
        "around a call": loops(calls),
        "clocks": readings(10_000 // less),
        "copying": copies((64 << 20) // less),
        "a map in the caller, each call, start included": in_the_caller(calls),
        "throughput by calls in a batch": by_batch(less),
        "throughput by length of a batch": by_duration(less),
    }
    everything = {row.what: row.measure for topic in topics.values() for row in topic}
    interleaved(everything, rounds=1, seed=given.seed)
    figures = interleaved(everything, rounds=given.rounds, seed=given.seed)
    poolwise.shutdown()
    for headline, topic in topics.items():
        cells = [
            [row.what, row.show(median(values)), spread(values, row.show), row.how]
            for row in topic
            for values in [figures[row.what]]
        ]
        head = [headline, "median", "best – worst", "how"]
        print(f"\n{table(head, cells, left=(0, 3))}")
    head = ["against a bare loop", "ratio", "best – worst", "a call", f"{calls:,} calls", "in all"]
    print(f"\n{table(head, against_the_loop(figures, calls))}")
    head = ["constant", "value in the code", "measured here", "best – worst", "here / code"]
    print(f"\n{table(head, constants(figures))}")
    head = ["chosen length", "value in the code", "what it is to hide", "share", "best – worst"]
    print(f"\n{table(head, shares(figures), left=(0, 2))}")


if __name__ == "__main__":
    main()
