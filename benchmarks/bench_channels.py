"""Measure queues, pipes and locks beside those of the standard library.

Each topic has one base, which the ratios are relative to, round by round: all contestants take
turns, each round in another order. Besides the base stand, for orientation, what the machine can do
at most (a bare pipe, a copy in memory) and, where it is installed, faster-fifo, a queue in C++.

What it should show, as `base ÷ poolwise`:

- between two processes, messages of 64 bytes: 2.5 and more with put and get, 20 and more with
  put_many and get_many; arrays of 8 MB: 8 and more
- between threads: at most 4 times a ``queue.SimpleQueue``
- a lock that nobody else wants: at most 4 times a ``threading.Lock``, 10 times on Python 3.14

How to read it: other load on the machine makes two processes take turns instead of running at the
same time, and all ratios smaller. The limits show what of a figure is the machine's.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import warnings
from collections.abc import Callable
from functools import partial
from pickle import dumps, loads
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from _report import begin, interleaved, median, options, spread, table

import poolwise
from poolwise.units import duration

try:
    import faster_fifo
except ImportError:  # not a dependency; it is only there to compare
    faster_fifo = None

SMALL = b"x" * 64
LARGE = np.ones(1_000_000)

#: How many messages `put_many` and `get_many` move at once.
MANY = 1000


def timed(action: Callable[[], object]) -> float:
    """Return how long `action` takes."""
    began = perf_counter()
    action()
    return perf_counter() - began


def beside(produce: Callable[[], object], consume: Callable[[], object]) -> float:
    """Return how long it takes until all that a forked process produces is consumed here."""
    ready, go = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of a queue beside a fork
        child = os.fork()
    if child == 0:
        try:
            os.write(ready[1], b".")
            os.read(go[0], 1)
            produce()
        finally:
            os._exit(0)
    os.read(ready[0], 1)

    def run() -> None:
        os.write(go[1], b".")
        consume()

    took = timed(run)
    os.waitpid(child, 0)
    for descriptor in (*ready, *go):
        os.close(descriptor)
    return took


# ---- between two processes -----------------------------------------------------------------------


def one_by_one(make: Callable[[], Any], message: object, count: int) -> float:
    """Put and get, for each message."""
    channel = make()

    def produce() -> None:
        for _ in range(count):
            channel.put(message)
        if hasattr(channel, "join_thread"):  # else its last messages go with the process
            channel.close()
            channel.join_thread()

    def consume() -> None:
        for _ in range(count):
            channel.get()

    return beside(produce, consume) / count


def many_at_once(make: Callable[[], Any], count: int) -> float:
    """Put and get many at once, for each message."""
    channel = make()
    messages = [b"%064d" % number for number in range(MANY)]

    def produce() -> None:
        for _ in range(count // MANY):
            channel.put_many(messages)

    def consume() -> None:
        got = 0
        while got < count // MANY * MANY:
            if isinstance(channel, poolwise.Queue):
                got += len(channel.get_many(MANY))
            else:
                got += len(channel.get_many(block=True, timeout=30.0, max_messages_to_get=MANY))

    return beside(produce, consume) / count


def packets(count: int) -> float:
    """Write and read a pipe of packets, pickling included, for each message."""
    read, write = os.pipe2(os.O_DIRECT)
    took = beside(
        lambda: [os.write(write, dumps(SMALL, 5)) for _ in range(count)],
        lambda: [loads(os.read(read, 4096)) for _ in range(count)],
    )
    os.close(read)
    os.close(write)
    return took / count


def pipe(make: Callable[[], tuple[Any, Any]], message: object, count: int) -> float:
    """Send and receive, for each message."""
    one, other = make()

    def receive() -> None:
        for _ in range(count):
            other.recv()

    with one, other:
        return beside(lambda: [one.send(message) for _ in range(count)], receive) / count


def round_trip(make: Callable[[], tuple[Any, Any]], count: int) -> float:
    """Send a message and wait for the answer, for each."""
    one, other = make()

    def answer() -> None:
        for _ in range(count):
            one.send(one.recv())

    def ask() -> None:
        for _ in range(count):
            other.send(SMALL)
            other.recv()

    with one, other:
        return beside(answer, ask) / count


def copying(count: int) -> float:
    """Copy an array in memory, for each copy."""
    room = np.empty_like(LARGE)
    return timed(lambda: [np.copyto(room, LARGE) for _ in range(count)]) / count


def fifo() -> Any:
    """Return a queue of faster-fifo that holds all messages of a round."""
    return faster_fifo.Queue(100_000_000)


# ---- between threads -----------------------------------------------------------------------------


def between_threads(make: Callable[[], Any], count: int) -> float:
    """Put in one thread, get in another, for each message."""
    channel = make()

    def produce() -> None:
        for _ in range(count):
            channel.put(SMALL)

    def run() -> None:
        thread = threading.Thread(target=produce)
        thread.start()
        for _ in range(count):
            channel.get()
        thread.join()

    return timed(run) / count


# ---- locks ---------------------------------------------------------------------------------------


def alone(make: Callable[[], Any], count: int) -> float:
    """Take and release what nobody else wants, for each time."""
    lock = make()

    def run() -> None:
        for _ in range(count):
            with lock:
                pass

    return timed(run) / count


def wanted_by_two(make: Callable[[], Any], count: int) -> float:
    """Take and release what another process takes too, for each time."""
    lock = make()

    def run() -> None:
        for _ in range(count):
            with lock:
                pass

    return beside(run, run) / count


def until_interrupted(wait: Callable[[], object]) -> float:
    """Return how long a blocked wait takes to answer Ctrl-C."""
    sent: list[float] = []
    main = threading.get_ident()

    def interrupt() -> None:
        sent.append(perf_counter())
        signal.pthread_kill(main, signal.SIGINT)

    timer = threading.Timer(0.05, interrupt)
    timer.start()
    try:
        wait()
    except KeyboardInterrupt:
        took = perf_counter() - sent[0]
    timer.join()
    return took


def blocked() -> dict[str, Callable[[], object]]:
    """Return waits that do not end by themselves."""
    lock = poolwise.Lock()
    held, end = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            end.wait()

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    held.wait()
    shared = poolwise.Queue()
    shared._share()
    condition = poolwise.Condition()

    def wait_on_condition() -> None:
        with condition:
            condition.wait()

    return {
        "Lock.acquire": lock.acquire,
        "Queue.get": shared.get,
        "Event.wait": poolwise.Event().wait,
        "Semaphore.acquire": poolwise.Semaphore(0).acquire,
        "Condition.wait": wait_on_condition,
    }


# ---- what is printed -----------------------------------------------------------------------------


class Topic(NamedTuple):
    """Contestants for one thing, the first of which is the base."""

    headline: str
    contestants: dict[str, Callable[[], float]]


def topics(less: int) -> list[Topic]:
    """Return everything that is compared."""
    calls, few = 100_000 // less, max(2, 300 // less)
    processes = multiprocessing.get_context("fork")
    small = {
        "multiprocessing.Queue": partial(one_by_one, processes.Queue, SMALL, calls // 2),
        "poolwise.Queue": partial(one_by_one, poolwise.Queue, SMALL, calls),
        "poolwise.Queue(1000)": partial(one_by_one, partial(poolwise.Queue, 1000), SMALL, calls),
        "poolwise, many at once": partial(many_at_once, poolwise.Queue, 5 * calls // MANY * MANY),
        "limit: pipe of packets": partial(packets, calls),
    }
    if faster_fifo is not None:
        small["faster-fifo"] = partial(one_by_one, fifo, SMALL, calls)
        small["faster-fifo, many at once"] = partial(many_at_once, fifo, 5 * calls // MANY * MANY)
    large = {
        "multiprocessing.Queue": partial(one_by_one, processes.Queue, LARGE, few),
        "poolwise.Queue(4)": partial(one_by_one, partial(poolwise.Queue, 4), LARGE, few),
        "multiprocessing.Pipe": partial(pipe, processes.Pipe, LARGE, few),
        "poolwise.Pipe": partial(pipe, poolwise.Pipe, LARGE, few),
        "limit: one copy": partial(copying, few),
    }
    return [
        Topic("64 bytes between two processes", small),
        Topic("8 MB between two processes", large),
        Topic(
            "64 bytes through a pipe",
            {
                "multiprocessing.Pipe": partial(pipe, processes.Pipe, SMALL, calls),
                "poolwise.Pipe": partial(pipe, poolwise.Pipe, SMALL, calls),
            },
        ),
        Topic(
            "there and back through a pipe",
            {
                "multiprocessing.Pipe": partial(round_trip, processes.Pipe, calls // 10),
                "poolwise.Pipe": partial(round_trip, poolwise.Pipe, calls // 10),
            },
        ),
        Topic(
            "64 bytes between two threads",
            {
                "queue.SimpleQueue": partial(between_threads, queue.SimpleQueue, calls),
                "poolwise.Queue": partial(between_threads, poolwise.Queue, calls),
                "poolwise.Queue(1000)": partial(
                    between_threads, partial(poolwise.Queue, 1000), calls
                ),
                "queue.Queue": partial(between_threads, queue.Queue, calls),
                "queue.Queue(1000)": partial(between_threads, partial(queue.Queue, 1000), calls),
            },
        ),
        *(
            Topic(
                f"{name} that nobody else wants",
                {
                    f"threading.{name}": partial(alone, getattr(threading, name), calls),
                    f"poolwise.{name}": partial(alone, getattr(poolwise, name), calls),
                    f"multiprocessing.{name}": partial(alone, getattr(processes, name), calls),
                },
            )
            for name in ("Lock", "RLock", "Semaphore", "BoundedSemaphore")
        ),
        Topic(
            "a lock that two processes want",
            {
                "multiprocessing.Lock": partial(wanted_by_two, processes.Lock, calls // 5),
                "poolwise.Lock": partial(wanted_by_two, poolwise.Lock, calls // 5),
            },
        ),
    ]


def compared(topic: Topic, figures: dict[str, list[float]]) -> list[list[str]]:
    """Return the rows of a topic: each contestant, and base ÷ contestant."""
    base = figures[next(iter(topic.contestants))]
    rows = []
    for name in topic.contestants:
        ratios = [one / other for one, other in zip(base, figures[name], strict=True)]
        rows.append(
            [
                name,
                duration(median(figures[name])),
                spread(figures[name]),
                f"{median(ratios):.2f}",
                spread(ratios, "{:.2f}".format),
            ]
        )
    return rows


def main() -> None:
    """Measure each topic in turns, and print it."""
    given = begin(options(__doc__, rounds=7))
    for topic in topics(less=100 if given.smoke else 1):
        figures = interleaved(topic.contestants, rounds=given.rounds, seed=given.seed)
        each = "a time" if "want" in topic.headline else "a message"
        head = [topic.headline, each, "best – worst", "base ÷ it", "best – worst"]
        print(f"\n{table(head, compared(topic, figures))}")
    waits = {name: partial(until_interrupted, wait) for name, wait in blocked().items()}
    figures = interleaved(waits, rounds=given.rounds, seed=given.seed)
    cells = [[name, duration(median(each)), spread(each)] for name, each in figures.items()]
    print(f"\n{table(['until Ctrl-C is answered', 'median', 'best – worst'], cells)}")


if __name__ == "__main__":
    main()
