"""Short calls go to a thread several at a time, and none waits behind one that waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import poolwise
from poolwise.executor.offers import Offers

WORKERS = 4


def step(wait_for: threading.Event | None = None, then: threading.Event | None = None) -> None:
    """One function for all calls, so that it is known to be short."""
    if wait_for is not None:
        wait_for.wait()
    if then is not None:
        then.set()


@pytest.fixture
def crowds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tickets were sent together, for all batches of threads."""
    sent: list[int] = []
    draw = Offers.draw

    def drawn(self, limit, queue):
        taken = draw(self, limit, queue)
        if taken is not None:
            sent.append(len(taken[1][0]))
        return taken

    monkeypatch.setattr(Offers, "draw", drawn)
    return sent


@pytest.fixture
def pool() -> Iterator[poolwise.Executor]:
    """An executor that knows `step` to be short."""
    with poolwise.Executor(WORKERS) as pool:
        for future in [pool.submit(step) for _ in range(3_000)]:
            future.result(timeout=30)
        yield pool


def test_short_calls_travel_together(crowds: list[int], pool: poolwise.Executor) -> None:
    assert max(crowds) > 10


@pytest.mark.parametrize("behind", [1, WORKERS - 1])
def test_calls_that_wait_for_later_ones_end(
    crowds: list[int], pool: poolwise.Executor, behind: int
) -> None:
    """Each waits for the one `behind` places after it: the standard thread pool gets by."""
    futures = []
    for _ in range(100):
        events = [threading.Event() for _ in range(behind)]
        futures += [pool.submit(step, event) for event in events]
        futures += [pool.submit(step, None, event) for event in events]
    for future in futures:
        future.result(timeout=60)
    assert max(crowds) > 1


def test_no_more_calls_run_at_once_than_allowed(pool: poolwise.Executor) -> None:
    """Also where one of several in a thread holds the others up, and tickets are sent again."""
    lock, now, most = threading.Lock(), 0, 0
    release = threading.Event()

    def count(wait: bool) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        if wait:
            release.wait()
        with lock:
            now -= 1

    for future in [pool.submit(count, False) for _ in range(3_000)]:
        future.result(timeout=30)
    futures = [pool.submit(count, number % 50 == 0) for number in range(50 * (WORKERS - 1))]
    for number, future in enumerate(futures):
        if number % 50:
            future.result(timeout=60)
    release.set()
    for future in futures:
        future.result(timeout=60)
    assert most <= WORKERS


@pytest.mark.fault
def test_what_waits_behind_another_can_be_cancelled(pool: poolwise.Executor) -> None:
    release = threading.Event()
    blocked = [pool.submit(step, release) for _ in range(WORKERS)]
    behind = [pool.submit(step) for _ in range(500)]
    assert all(future.cancel() for future in behind)
    release.set()
    for future in blocked:
        future.result(timeout=30)
    assert pool.submit(pow, 2, 5).result(timeout=30) == 32


@pytest.mark.fault
@pytest.mark.parametrize("workers", [1, WORKERS])
def test_cancelled_calls_hold_up_none_of_another_function(workers: int) -> None:
    """Also where nothing else is left that would have the dispatcher look again."""
    with poolwise.Executor(plan=f"thread:{workers}") as pool:
        for _ in range(20):
            release = threading.Event()
            blocked = [pool.submit(step, release) for _ in range(workers)]
            behind = [pool.submit(step) for _ in range(500)]
            assert all(future.cancel() for future in behind)
            other = pool.submit(pow, 2, 5)
            release.set()
            assert other.result(timeout=30) == 32
            assert all(future.result(timeout=30) is None for future in blocked)


@pytest.mark.fault
def test_shutting_down_cancels_what_was_offered() -> None:
    release = threading.Event()
    with poolwise.Executor(WORKERS) as pool:
        for future in [pool.submit(step) for _ in range(3_000)]:
            future.result(timeout=30)
        started = threading.Event()
        blocked = [pool.submit(lambda: (started.set(), release.wait()))]
        started.wait(30)
        blocked += [pool.submit(step, release) for _ in range(WORKERS - 1)]
        behind = [pool.submit(step) for _ in range(500)]
        pool.shutdown(wait=False, cancel_futures=True)
        release.set()
    assert all(future.done() for future in blocked + behind)
