"""What does poolwise itself cost? The constants that the code cites, measured here.

Mechanisms are driven as the executor drives them: opened with a sink and an inbox, sent real
batches. Their sink only counts: one that remembers every call would be measured too. All figures
come from one run that takes them in turns, each round in another order, after a round that is not
counted; each is the median of the rounds.

What it should show:

- a thread starts in a small part of a millisecond, a process in some, the fork server in tens
- a batch costs tens of microseconds, so calls that are shorter travel together: throughput grows
  with the batch, and hardly any more from the length that ``planner/batching.py`` takes
- the loop of a worker costs a call some 100 ns, the loop of the caller much less
- on work that is too small for any worker, ``auto`` costs milliseconds once and then what a loop does

How to read it: the last table puts each constant beside what this machine says. Forecasts only
need these to be right within a factor of two; a wrong one opens workers that do not pay, or stays in
the loop for longer than is good.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import NoReturn

from _report import begin, interleaved, median, options, spread, table

import poolwise
from poolwise.ipc import Inbox
from poolwise.machine import PoolCosts
from poolwise.mechanisms import WorkerOptions, mechanism, running, thread
from poolwise.planner import batching
from poolwise.probe import payload
from poolwise.task import Batch, BatchId, Exit, Outcomes, Task, WorkerId
from poolwise.timing.clock import SystemClock
from poolwise.units import duration, rate


def nothing(_: object) -> None:
    """Do nothing: what a call costs is then what is around it."""


def square(number: int) -> int:
    """Do next to nothing."""
    return number * number


def work(number: int) -> int:
    """Compute for a part of a millisecond."""
    return sum(range(number % 2 + 4_000))


NOTHING = Task(nothing)


class Door:
    """An open pool of one mechanism. Is its own sink, and counts what it is told."""

    def __init__(self, name: str) -> None:
        self.inbox = Inbox()
        self.ready_workers = 0
        self.ended = 0
        self.pool = mechanism(name).open(WorkerOptions(1, (NOTHING,)), self, self.inbox)

    def __enter__(self) -> Door:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.pool.close(grace=None)
        self.inbox.close()

    def start(self, workers: int = 1) -> Door:
        """Start so many more, and wait until they are ready."""
        wanted = self.ready_workers + workers
        self.pool.grow(workers)
        while self.ready_workers < wanted:
            self.inbox.wait()
        return self

    def run(self, task: Task, batches: int, ahead: int = 1, argument: object = None) -> None:
        """Run batches of one call, `ahead` of them under way at once."""
        sent, before = 0, self.ended
        while self.ended - before < batches:
            while sent < batches and sent - (self.ended - before) < ahead:
                self.pool.send(Batch(task, ([argument],)))
                sent += 1
            self.inbox.wait()

    def ready(self, worker: WorkerId) -> None:
        """Count it."""
        self.ready_workers += 1

    def done(self, batch: BatchId, first: int, outcomes: Outcomes) -> None:
        """Count the calls."""
        assert not outcomes.errors, outcomes.errors
        self.ended += len(outcomes.values)

    def returned(self, batch: BatchId, first: int, count: int) -> NoReturn:
        """Complain: nothing is taken back here."""
        raise AssertionError(f"{count} calls of batch {batch} were returned")

    def lost(self, batch: BatchId, first: int, count: int, exit: Exit) -> NoReturn:
        """Complain: nobody dies here."""
        raise AssertionError(f"{count} calls of batch {batch} were lost: {exit}")

    def gone(self, worker: WorkerId, exit: Exit) -> NoReturn:
        """Complain: nobody dies here."""
        raise AssertionError(f"worker {worker} died: {exit}")

    def failed(self, error: BaseException) -> NoReturn:
        """Complain: a pool that cannot be opened has no costs."""
        raise error


def seconds(action: Callable[[], object]) -> float:
    """Return how long `action` takes."""
    began = perf_counter()
    action()
    return perf_counter() - began


# ---- what is measured: each returns one figure -------------------------------------------------


def start(name: str, *, cold: bool = False, workers: int = 1, answer: bool = False) -> float:
    """Start workers, for each of them; where the server is not to be `cold`, beside another."""
    if cold:
        poolwise.shutdown()
    with Door(name) as door:
        if not cold:
            door.start()
        took = seconds(partial(door.start, workers))
        return took / workers + (seconds(partial(door.run, NOTHING, 1)) if answer else 0.0)


def dispatch(name: str, batches: int, ahead: int) -> float:
    """Send batches of one call that does nothing to one worker, for each of them."""
    with Door(name).start() as door:
        door.run(NOTHING, 10)
        return seconds(partial(door.run, NOTHING, batches, ahead)) / batches


def mapped(plan: str | None, calls: int, function: Callable[[int], object] = nothing) -> float:
    """Map over a range, for each call; workers are there when the clock starts."""
    run = poolwise.map(function, range(-1, calls), plan=plan)
    next(run)
    return seconds(lambda: list(run)) / calls


def whole_map(plan: str | None, calls: int, function: Callable[[int], object]) -> float:
    """Map over a range, for each call, start included."""
    return seconds(lambda: list(poolwise.map(function, range(calls), plan=plan))) / calls


def loop(calls: int, function: Callable[[int], object]) -> float:
    """Run a bare loop, for each call."""
    return seconds(lambda: [function(each) for each in range(calls)]) / calls


def thread_loop(calls: int) -> float:
    """Run the loop of a worker thread, for each call."""
    batch = Batch(NOTHING, (list(range(calls)),))
    under_way = running.Running(batch, SystemClock())
    return seconds(lambda: under_way.run(lambda *_: None, thread._FLUSH_AFTER)) / calls


def process_loop(calls: int) -> float:
    """Return what the loop of a worker process took for each call, as it says itself."""
    run = poolwise.map(nothing, range(calls), plan="process:1/10000")
    run.results()
    uses = run.record().uses
    return sum(use.service for use in uses) / sum(use.calls for use in uses)


def clocks(readings: int, *names: str) -> float:
    """Read clocks, for each reading of all of them."""
    clock = SystemClock()
    read = [getattr(clock, name) for name in names]
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
        room, left, began = bytearray(1 << 18), size, perf_counter()
        sender.start()
        while left:
            left -= theirs.recv_into(room)
        took = perf_counter() - began
        sender.join()
    return took / size


def large_argument(size: int) -> float:
    """Send one large argument to a worker process, for each byte; it is pickled and unpickled."""
    with Door("process").start() as door:
        door.run(NOTHING, 10)
        return seconds(partial(door.run, NOTHING, 1, 1, bytes(size))) / size


# ---- what is printed ---------------------------------------------------------------------------


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


def calls_a_second(seconds_per_call: float) -> str:
    """Write the time of a call as a throughput."""
    return f"{rate(1.0 / seconds_per_call)}/s"


#: Batches are compared by the number of calls that do nothing, and by how long they last.
LENGTHS = (1, 10, 100, 1_000, 10_000)
LASTING = (1, 3, 10, 30, 100, 300)


def rows(less: int) -> dict[str, list[Row]]:
    """Return all figures by the headline over them; with `less` times fewer calls."""
    batches, calls, size = 2_000 // less, 200_000 // less, (64 << 20) // less
    window = {
        name: batching.in_flight_batches(poolwise.Plan(name), 1, None)
        for name in ("thread", "process")
    }
    starts = [
        Row("thread: start", "grow(1) to ready", partial(start, "thread")),
        Row(
            "thread: first answer",
            "grow(1) to the end of one call",
            partial(start, "thread", answer=True),
        ),
        Row("thread: each of 8", "grow(8) to all ready", partial(start, "thread", workers=8)),
        Row(
            "process: cold start",
            "shutdown(), then grow(1) to ready",
            partial(start, "process", cold=True),
        ),
        Row(
            "process: cold first answer",
            "shutdown(), then grow(1) to the end of one call",
            partial(start, "process", cold=True, answer=True),
        ),
        Row(
            "process: start",
            "grow(1) to ready, beside another worker",
            partial(start, "process"),
        ),
        Row(
            "process: each of 4",
            "grow(4) to all ready, beside another worker",
            partial(start, "process", workers=4),
        ),
    ]
    dispatches = []
    for name in ("thread", "process"):
        ahead = window[name]
        dispatches += [
            Row(
                f"{name}: round trip",
                "batches of one call, one at a time",
                partial(dispatch, name, batches, 1),
            ),
            Row(
                f"{name}: queue full",
                f"the same, {ahead} under way, as the executor sends them",
                partial(dispatch, name, batches, ahead),
            ),
            Row(
                f"{name}: in a map",
                f'map(nothing, plan="{name}:1/1"), each call',
                partial(mapped, f"{name}:1/1", batches),
            ),
        ]
    loops = [
        Row("bare loop", "[nothing(x) for x in …], each call", partial(loop, calls, nothing)),
        Row(
            "loop of a thread",
            "mechanisms/running.py, one batch, each call",
            partial(thread_loop, calls),
        ),
        Row(
            "loop of a process",
            "service of process:1/10000, each call",
            partial(process_loop, calls),
        ),
        Row(
            "a call in a process",
            'map(nothing, plan="process:1/10000"), each call',
            partial(mapped, "process:1/10000", calls),
        ),
    ]
    names = ("now", "thread_cpu", "process_cpu")
    reading = [
        *(
            Row(f"clock: {name}", "SystemClock, each reading", partial(clocks, batches * 5, name))
            for name in (*names, "children_cpu", "queued")
        ),
        Row("three clocks", ", ".join(names), partial(clocks, batches * 5, *names)),
    ]
    copies = [
        Row("socket pair", "sendall in a thread", partial(socket_pair, size), gigabytes),
        Row(
            "large argument",
            "one call of a process pool, pickled",
            partial(large_argument, size // 4),
            gigabytes,
        ),
    ]
    inline = []
    for function in (nothing, square):
        word = function.__name__
        inline += [
            Row(f"{word}: loop", "[f(x) for x in …], each call", partial(loop, calls, function)),
            Row(
                f"{word}: inline",
                'list(map(f, …, plan="inline")), each call',
                partial(whole_map, "inline", calls, function),
            ),
            Row(
                f"{word}: auto",
                "list(map(f, …)), each call",
                partial(whole_map, None, calls, function),
            ),
        ]
    short = [
        Row(
            f"{name}:2/{length}",
            "calls that do nothing",
            partial(mapped, f"{name}:2/{length}", max(4 * length, min(batches * length, calls))),
            calls_a_second,
        )
        for name in ("thread", "process")
        for length in LENGTHS
        if length * less <= 10_000
    ]
    long = [
        Row("work: loop", "[work(x) for x in …]", partial(loop, batches, work), calls_a_second),
        *(
            Row(
                f"process:2/{length}: work",
                "calls of a part of a millisecond",
                partial(mapped, f"process:2/{length}", batches, work),
                calls_a_second,
            )
            for length in LASTING
            if length * less <= 300
        ),
    ]
    return {
        "start of workers": starts,
        "dispatch of a batch": dispatches,
        "overhead of a call": loops,
        "clocks": reading,
        "copying to another process": copies,
        "a map in the caller, start included": inline,
        "throughput by calls in a batch": short,
        "throughput by length of a batch": long,
    }


def constants(figures: dict[str, list[float]]) -> list[list[str]]:
    """Return the constants of the code beside what was measured."""
    costs = PoolCosts()

    def less(more: str, base: str) -> list[float]:
        return [one - other for one, other in zip(figures[more], figures[base], strict=True)]

    measured = {
        "thread_start": figures["thread: each of 8"],
        "server_start": less("process: cold start", "process: start"),
        "process_start": figures["process: each of 4"],
        "thread_dispatch": figures["thread: in a map"],
        "process_dispatch": figures["process: in a map"],
        "call_overhead": less("loop of a thread", "bare loop"),
    }
    result = []
    for each in fields(PoolCosts):
        values = measured[each.name]
        value = getattr(costs, each.name)
        result.append(
            [
                f"PoolCosts.{each.name}",
                duration(value),
                duration(median(values)),
                spread(values),
                f"{median(values) / value:.2f}",
            ]
        )
    copy = payload._COPY_SECONDS_PER_BYTE
    pair = figures["socket pair"]
    result.append(
        [
            "payload._COPY_SECONDS_PER_BYTE",
            gigabytes(copy),
            gigabytes(median(pair)),
            spread(pair, gigabytes),
            f"{median(pair) / copy:.2f}",
        ]
    )
    return result


def shares(figures: dict[str, list[float]]) -> list[list[str]]:
    """Return the lengths of time that the code chose because something else is short beside it."""
    result = []
    for name, value, what, figure in (
        ("running._STRIDE_FROM", running._STRIDE_FROM, "three clocks", "three clocks"),
        ("batching._BATCH_FOR", batching._BATCH_FOR, "a batch in a map", "process: in a map"),
        ("batching._LONG_CALL", batching._LONG_CALL, "a round trip", "process: round trip"),
        ("thread._FLUSH_AFTER", thread._FLUSH_AFTER, "a batch, queue full", "thread: queue full"),
    ):
        percents = [100.0 * each / value for each in figures[figure]]
        shown = [f"{median(percents):.2g} %", spread(percents, "{:.2g} %".format)]
        result.append([name, duration(value), what, *shown])
    return result


def main() -> None:
    """Measure everything in turns, print it by topic, and the constants last."""
    given = begin(options(__doc__, rounds=7))
    topics = rows(100 if given.smoke else 1)
    everything = {row.what: row.measure for topic in topics.values() for row in topic}
    interleaved(everything, rounds=1, seed=given.seed)
    figures = interleaved(everything, rounds=given.rounds, seed=given.seed)
    poolwise.shutdown()
    for headline, topic in topics.items():
        print(f"\n{headline}")
        cells = [
            [row.what, row.show(median(values)), spread(values, row.show), row.how]
            for row in topic
            for values in [figures[row.what]]
        ]
        print(table(["", "median", "min – max", "how"], cells))
    print(f"\n{tiny(figures, given.smoke)}")
    print("\nconstants of the code")
    head = ["constant", "in the code", "measured here", "min – max", "here / code"]
    print(table(head, constants(figures)))
    print("\nlengths of time, and the share of them that goes to what they are to hide")
    print(table(["constant", "in the code", "what", "share", "min – max"], shares(figures)))


if __name__ == "__main__":
    main()
