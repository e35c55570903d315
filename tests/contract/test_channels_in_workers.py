"""Locks, queues and shared objects reach workers, however these start and however they travel."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import poolwise

DEADLINE = 20.0

#: Module-level, so functions find them by name. Here for these tests only: a fork in another would
#: share the queue, and so open descriptors.
LOCK: poolwise.Lock
QUEUE: poolwise.Queue


@pytest.fixture(autouse=True)
def _channels() -> Iterator[None]:
    global LOCK, QUEUE
    LOCK, QUEUE = poolwise.Lock(), poolwise.Queue()
    yield
    del LOCK, QUEUE
    list(
        poolwise.map(abs, [1])
    )  # the latest run is remembered, with its function and what it holds


methods = pytest.mark.parametrize("method", [None, "fork", "forkserver", "spawn"], ids=str)
plans = pytest.mark.parametrize("plan", ["process:2", "process:2x3", "thread:4"])


def count_up(shared: poolwise.Shared[Any], lock: poolwise.Lock) -> Callable[[int], int]:
    def call(number: int) -> int:
        with lock:
            counter = shared.value
            before = int(counter[0])
            os.sched_yield()  # to whoever would come between, without the lock
            counter[0] = before + 1
        return number

    return call


@methods
def test_a_closure_holds_them(method: str | None) -> None:
    shared = poolwise.share(np.zeros(1, dtype=np.int64), writable=True)
    call = count_up(shared, poolwise.Lock())
    for round in 1, 2:  # the second in workers that run already
        run = poolwise.map(call, range(100), plan="process:2", start_method=method)
        assert list(run) == list(range(100))
        assert shared.value[0] == 100 * round


def hold(lock: poolwise.Lock, number: int) -> int:
    with lock:
        return number


def put_with_pid(number: int) -> None:
    with LOCK:
        QUEUE.put((number, os.getpid()))


@methods
def test_they_are_arguments(method: str | None) -> None:
    lock = poolwise.Lock()
    run = poolwise.map(hold, [lock] * 20, range(20), plan="process:2", start_method=method)
    assert list(run) == list(range(20))


@methods
def test_functions_find_them_by_name(method: str | None) -> None:
    list(poolwise.map(put_with_pid, range(50), plan="process:2", start_method=method))
    got = [QUEUE.get(timeout=DEADLINE) for _ in range(50)]
    assert sorted(number for number, _ in got) == list(range(50))
    assert os.getpid() not in {pid for _, pid in got}


_mine: poolwise.Lock | None = None


def keep(lock: poolwise.Lock) -> None:
    global _mine
    _mine = lock


def use_kept(number: int) -> int:
    assert _mine is not None
    with _mine:
        return number


@methods
def test_an_initializer_is_given_them(method: str | None) -> None:
    options: dict[str, Any] = {"initializer": keep, "initargs": (poolwise.Lock(),)}
    run = poolwise.map(use_kept, range(9), plan="process:2", start_method=method, **options)
    assert list(run) == list(range(9))


def make_event(number: int) -> poolwise.Event:
    event = poolwise.Event()
    if number % 2:
        event.set()
    return event


@methods
def test_calls_return_them(method: str | None) -> None:
    run = poolwise.map(make_event, range(6), plan="process:2", start_method=method)
    assert [event.is_set() for event in run] == [False, True] * 3


@plans
def test_executors_take_them(plan: str) -> None:
    lock, queue = poolwise.Lock(), poolwise.Queue()
    with poolwise.Executor(plan=plan) as pool:
        futures = [pool.submit(hold, lock, number) for number in range(30)]
        assert [future.result(DEADLINE) for future in futures] == list(range(30))
        for number in range(30):
            pool.submit(queue.put, number)
        assert sorted(queue.get(timeout=DEADLINE) for _ in range(30)) == list(range(30))


def compute_and_put(number: int, queue: poolwise.Queue) -> int:
    queue.put(number)
    return sum(step * step for step in range(20_000))


def test_auto_may_take_processes_for_calls_that_have_them() -> None:
    queue = poolwise.Queue()
    list(poolwise.map(compute_and_put, range(200), itertools.repeat(queue)))
    assert sorted(queue.get(timeout=DEADLINE) for _ in range(200)) == list(range(200))


@pytest.mark.fault
def test_one_that_does_not_pickle_fails_alone() -> None:
    lock = poolwise.Lock()
    bad = (number for number in range(3))
    with pytest.raises(poolwise.TransferError):
        list(poolwise.map(hold, [lock], [bad], plan="process:1"))
    run = poolwise.map(
        hold, [lock] * 3, [1, bad, 3], plan="process:1", chunksize=3, on_error="return"
    )
    first, failed, last = run
    assert (first, last) == (1, 3)
    assert isinstance(failed, poolwise.TransferError)
