"""Every wait takes the same time-outs: none, small, huge; and names what is no time-out."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import BrokenBarrierError
from typing import Any

import pytest
from channel_peer import DEADLINE
from test_locks import running

from poolwise import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    Pipe,
    PipeEnd,
    Queue,
    RLock,
    Semaphore,
)


class Wait:
    """Something to wait for, and how another thread ends the wait."""

    def __init__(self, wait: Callable[[Any], object], end: Callable[[], object]) -> None:
        self.wait = wait
        self.end = end


@contextmanager
def lock(make: Callable[[], Any]) -> Iterator[Wait]:
    made, free = make(), threading.Event()
    held = threading.Event()

    def hold() -> None:
        with made:
            held.set()
            assert free.wait(DEADLINE)

    with running(hold):
        assert held.wait(DEADLINE)
        yield Wait(lambda timeout: made.acquire(timeout=timeout), free.set)
        free.set()


@contextmanager
def semaphore(make: Callable[[], Any]) -> Iterator[Wait]:
    made = make()
    made.acquire()
    yield Wait(lambda timeout: made.acquire(timeout=timeout), made.release)


@contextmanager
def event(_: object) -> Iterator[Wait]:
    made = Event()
    yield Wait(made.wait, made.set)


@contextmanager
def condition(method: str) -> Iterator[Wait]:
    made, ready, over = Condition(), threading.Event(), threading.Event()

    def wait(timeout: Any) -> object:
        with made:
            told = made.wait(timeout) if method == "wait" else made.wait_for(ready.is_set, timeout)
            over.set()
            return told

    def end() -> None:
        ready.set()
        while not over.is_set():
            with made:
                made.notify_all()

    yield Wait(wait, end)


@contextmanager
def barrier(_: object) -> Iterator[Wait]:
    made = Barrier(2)
    yield Wait(made.wait, lambda: made.wait(DEADLINE))


def a_queue(*, shared: bool, full: bool) -> Queue:
    made = Queue(1)
    if shared:
        made._share()
    if full:
        made.put(0)
    return made


@contextmanager
def getting(many_of_shared: tuple[bool, bool]) -> Iterator[Wait]:
    many, shared = many_of_shared
    made = a_queue(shared=shared, full=False)
    get: Callable[[Any], object] = lambda timeout: made.get(timeout=timeout)  # noqa: E731
    yield Wait((lambda timeout: made.get_many(2, timeout)) if many else get, lambda: made.put(1))


@contextmanager
def putting(shared: bool) -> Iterator[Wait]:
    made = a_queue(shared=shared, full=True)
    yield Wait(lambda timeout: made.put(1, timeout=timeout), made.get)


@contextmanager
def pipe(method: str) -> Iterator[Wait]:
    ends: tuple[PipeEnd, PipeEnd] = Pipe()
    with ends[0], ends[1]:
        yield Wait(getattr(ends[0], method), lambda: ends[1].send(1))


WAITS = [
    pytest.param(kind, of, id=f"{kind.__name__} {getattr(of, '__name__', of)}")
    for kind, of in [
        (lock, Lock),
        (lock, RLock),
        (semaphore, Semaphore),
        (semaphore, BoundedSemaphore),
        (event, None),
        (condition, "wait"),
        (condition, "wait_for"),
        (barrier, None),
        (getting, (False, False)),
        (getting, (False, True)),
        (getting, (True, False)),
        (getting, (True, True)),
        (putting, False),
        (putting, True),
        (pipe, "recv"),
        (pipe, "poll"),
    ]
]


@pytest.mark.parametrize(("kind", "of"), WAITS)
@pytest.mark.parametrize(
    "timeout", [None, 1e9, 1e300, math.inf, 10**400], ids=["none", "1e9", "1e300", "inf", "int"]
)
def test_a_huge_time_out_waits_for_the_end(kind: Any, of: Any, timeout: Any) -> None:
    with kind(of) as it, running(it.end):
        assert it.wait(timeout) is not False


@pytest.mark.parametrize(("kind", "of"), WAITS)
@pytest.mark.parametrize("timeout", [0, 1e-12, -0.0])
def test_a_small_time_out_ends(kind: Any, of: Any, timeout: Any) -> None:
    told = False
    with kind(of) as it, suppress(queue.Empty, queue.Full, TimeoutError, BrokenBarrierError):
        told = it.wait(timeout)
    assert told is False


@pytest.mark.parametrize(("kind", "of"), WAITS)
@pytest.mark.parametrize("timeout", [-2, -math.inf, math.nan, "a", True, 1j])
def test_what_is_no_time_out_is_named(kind: Any, of: Any, timeout: Any) -> None:
    with kind(of) as it, pytest.raises((TypeError, ValueError), match="timeout="):
        it.wait(timeout)
