"""Calls that take too long, use too much memory or are cancelled end for good, and alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from concurrent.futures import CancelledError, wait
from pathlib import Path
from typing import Any

import pytest
from fault_calls import hang, hold_the_gil, in_worker, log, started, stop

import poolwise
from poolwise.executor.guards import guards_of
from thorough import thorough

pytestmark = pytest.mark.fault

LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="no other system tells a worker's memory"
)
PLANS = pytest.mark.parametrize("plan", ["process:2", None, *thorough("process:1")])
ORDERS = pytest.mark.parametrize("ordered", [True, *thorough(False)])

#: Short, but a call that does nothing ends within it also beside a busy machine's other work.
LIMIT = 0.3


class Bad:
    """Gives its number back; some numbers do something bad instead."""

    def __init__(self, folder: Path, bad: Any, victims: set[int]) -> None:
        self.folder, self.bad, self.victims = str(folder), bad, victims

    def __call__(self, number: int) -> int:
        log(self.folder, number)
        assert in_worker()
        if number in self.victims:
            self.bad(number)
        return number


def grow(number: int) -> None:
    kept = [bytearray(b"x" * (1 << 20)) for _ in range(200)]
    hang(len(kept))


class HangsWhenRead:
    def __reduce__(self) -> Any:
        return hang, (0,)


class HangsWhenSent:
    def __getstate__(self) -> object:
        hang(0)
        return {}


@PLANS
@ORDERS
@pytest.mark.parametrize("bad", [hang, hold_the_gil, stop])
def test_a_call_that_takes_too_long_fails_alone(
    bad: Any, plan: str | None, ordered: bool, tmp_path: Path
) -> None:
    run = poolwise.map(
        Bad(tmp_path, bad, {2, 9}),
        range(12),
        plan=plan,
        ordered=ordered,
        task_timeout=LIMIT,
        on_error="return",
    )
    got = list(run)
    failed = [each for each in got if isinstance(each, BaseException)]
    assert {type(each) for each in failed} == {poolwise.TaskTimeout}
    assert sorted(each.index for each in failed) == [2, 9]
    assert "task_timeout=0.3 s" in str(failed[0])
    good = [each for each in got if isinstance(each, int)]
    assert sorted(good) == [each for each in range(12) if each not in (2, 9)]
    assert [started(tmp_path, each) for each in range(12)] == [1] * 12
    assert (run.record().lost_workers, run.record().retried) == (0, 0)


@pytest.mark.parametrize("mechanism", ["process", "auto"])
def test_futures_have_their_time_each(mechanism: str) -> None:
    with poolwise.Executor(2, mechanism=mechanism, task_timeout=LIMIT) as pool:
        futures = [pool.submit(hang, 0), pool.submit(abs, -1), pool.submit(hang, 1)]
        for future in (futures[0], futures[2]):
            with pytest.raises(TimeoutError, match="a call of hang took longer"):
                future.result()
        assert futures[1].result() == 1
        assert pool.submit(abs, -2).result() == 2


def test_what_waits_for_its_turn_has_all_its_time(tmp_path: Path) -> None:
    """The clock starts with the call, not when it was submitted."""
    with poolwise.Executor(1, task_timeout=2 * LIMIT) as pool:
        assert list(pool.map(time.sleep, [LIMIT] * 4)) == [None] * 4


def test_reading_and_sending_count(tmp_path: Path) -> None:
    inputs: list[Any] = [1, HangsWhenRead(), 2]
    got = list(poolwise.map(type, inputs, plan="process:1", task_timeout=LIMIT, on_error="return"))
    assert isinstance(got.pop(1), poolwise.TaskTimeout)
    assert got == [int, int]
    got = list(
        poolwise.map(
            _sent_slowly, range(3), plan="process:1", task_timeout=LIMIT, on_error="return"
        )
    )
    assert isinstance(got.pop(1), poolwise.TaskTimeout)
    assert got == [0, 2]


@pytest.mark.parametrize(
    ("again", "tries"),
    [
        (OSError, 1),
        (Exception, 1),
        ((OSError, poolwise.TaskTimeout), 3),
        (poolwise.PoolwiseError, 3),
    ],
    ids=str,
)
def test_a_time_out_is_for_good_unless_it_is_named(again: Any, tries: int, tmp_path: Path) -> None:
    def call() -> None:
        with open(tmp_path / "tries", "a") as file:
            file.write("x")
        hang(0)

    with poolwise.Executor(1, task_timeout=LIMIT, retries=2, retry_on=again) as pool:
        assert isinstance(pool.submit(call).exception(), poolwise.TaskTimeout)
    assert len((tmp_path / "tries").read_text()) == tries


def _sent_slowly(number: int) -> object:
    return HangsWhenSent() if number == 1 else number


def test_a_caller_that_is_away_costs_no_call_its_life() -> None:
    """A result that nobody takes is not a call that runs."""
    run = poolwise.map(bytes, [4_000_000] * 6, plan="process:2", task_timeout=LIMIT)
    first = next(run)
    time.sleep(2 * LIMIT)  # longer than any call may take
    assert [len(each) for each in [first, *run]] == [4_000_000] * 6


def test_a_stopped_worker_that_had_not_begun_costs_no_call() -> None:
    with poolwise.Executor(1, task_timeout=LIMIT) as pool:
        pid = pool.submit(os.getpid).result()
        os.kill(pid, signal.SIGSTOP)
        assert pool.submit(abs, -1).result() == 1
        assert pool.submit(os.getpid).result() != pid


def test_time_outs_run_again_only_if_they_are_listed(tmp_path: Path) -> None:
    bad = Bad(tmp_path, hang, {1})
    options: Any = {"plan": "process:1", "task_timeout": LIMIT, "on_error": "return"}
    list(poolwise.map(bad, range(3), retries=2, **options))
    assert started(tmp_path, 1) == 1
    run = poolwise.map(bad, range(1, 2), retries=1, retry_on=TimeoutError, **options)
    assert isinstance(next(run), poolwise.TaskTimeout)
    assert started(tmp_path, 1) == 3
    run.close()


@LINUX
@PLANS
@ORDERS
def test_a_call_that_uses_too_much_memory_fails_alone(
    plan: str | None, ordered: bool, tmp_path: Path
) -> None:
    run = poolwise.map(
        Bad(tmp_path, grow, {3}),
        range(8),
        plan=plan,
        ordered=ordered,
        memory_limit="100 MB",
        on_error="return",
    )
    got = list(run)
    failed = [each for each in got if isinstance(each, BaseException)]
    assert [type(each) for each in failed] == [poolwise.MemoryLimitExceeded]
    assert failed[0].index == 3
    assert isinstance(failed[0], MemoryError)
    assert "memory_limit=100 MB" in str(failed[0])
    assert sorted(each for each in got if isinstance(each, int)) == [0, 1, 2, 4, 5, 6, 7]


@LINUX
def test_what_is_shared_is_no_growth() -> None:
    data = poolwise.share(bytes(200_000_000))
    run = poolwise.map(_look_at, [data] * 4, plan="process:2", memory_limit="60 MB")
    assert list(run) == [200_000_000] * 4


def _look_at(data: Any) -> int:
    value = data.get() if hasattr(data, "get") else data.value
    time.sleep(0.1)
    return len(value)


@LINUX
def test_what_the_caller_has_is_no_growth() -> None:
    kept = b"x" * 150_000_000
    run = poolwise.map(
        lambda number: number + len(kept), [1, 2], plan="process:2", memory_limit=10**8
    )
    assert list(run) == [150_000_001, 150_000_002]


@pytest.mark.parametrize("mechanism", ["process", "auto"])
@pytest.mark.parametrize("bad", [hang, hold_the_gil])
def test_a_running_call_can_be_cancelled(bad: Any, mechanism: str, tmp_path: Path) -> None:
    with poolwise.Executor(2, mechanism=mechanism, kill_on_cancel=True) as pool:
        ended = threading.Event()
        running = pool.submit(Bad(tmp_path, bad, {0}), 0)
        others = [pool.submit(abs, -each) for each in range(20)]
        _wait_until_started(tmp_path, 0)
        running.add_done_callback(lambda _: ended.set())
        assert running.cancel()
        assert running.cancelled()
        assert ended.is_set()
        assert not running.running()
        assert running.cancel()  # as the standard ones say
        with pytest.raises(CancelledError):
            running.result()
        assert [each.result() for each in others] == list(range(20))
        assert wait([running, *others]).not_done == set()


def _wait_until_started(folder: Path, number: int) -> None:
    while not started(folder, number):
        time.sleep(0.005)


def test_without_it_a_running_call_goes_on(tmp_path: Path) -> None:
    with poolwise.Executor(1, mechanism="process") as pool:
        future = pool.submit(Bad(tmp_path, lambda _: time.sleep(0.1), {0}), 0)
        _wait_until_started(tmp_path, 0)
        assert not future.cancel()
        assert future.result() == 0


def test_cancelling_races_with_the_end_of_calls(tmp_path: Path) -> None:
    """Whoever wins: a cancelled call is cancelled, and no other call pays for it."""
    with poolwise.Executor(2, mechanism="process", kill_on_cancel=True) as pool:
        for delay in range(30):
            futures = [pool.submit(time.sleep, 0.003) for _ in range(4)]
            time.sleep(delay * 2e-4)
            cancelled = [each.cancel() for each in futures[:2]]
            assert [each.cancelled() for each in futures[:2]] == cancelled
            assert [each.result() for each in futures[2:]] == [None, None]


def test_wait_for_ends_the_call(tmp_path: Path) -> None:
    async def main() -> object:
        with poolwise.Executor(1, kill_on_cancel=True) as pool:
            loop = asyncio.get_running_loop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(loop.run_in_executor(pool, hang, 0), LIMIT)
            return await loop.run_in_executor(pool, abs, -3)

    assert asyncio.run(main()) == 3


def test_closing_a_map_ends_what_runs() -> None:
    """However long it would take: leaving the block kills."""
    before = signal.signal(signal.SIGUSR1, _interrupt)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(LIMIT, signal.pthread_kill, [main, signal.SIGUSR1])
    try:
        with poolwise.map(hang, range(2), kill_on_cancel=True) as run:
            timer.start()
            with pytest.raises(Interrupted):
                next(run)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)


class Interrupted(Exception):
    pass


def _interrupt(*_: object) -> None:
    raise Interrupted


def test_an_isolated_call_reaches_nothing_here() -> None:
    seen: list[int] = []
    assert list(poolwise.map(seen.append, range(5), isolate=True)) == [None] * 5
    assert seen == []
    with poolwise.Executor(2, isolate=True) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()


def test_the_death_of_the_guardian_is_one_of_its_workers(tmp_path: Path) -> None:
    with poolwise.Executor(1, task_timeout=30.0, start_method="forkserver") as pool:
        guardian = pool.submit(os.getppid).result()
        future = pool.submit(Bad(tmp_path, hang, {0}), 0)
        _wait_until_started(tmp_path, 0)  # a future runs earlier, and then the call moves on
        os.kill(guardian, signal.SIGKILL)
        with pytest.raises(poolwise.WorkerCrashed, match="kept its limits"):
            future.result()
        assert pool.submit(abs, -1).result() == 1


@pytest.mark.parametrize(
    "plan", [{"plan": "thread:4"}, {"plan": "inline"}, {"mechanism": "thread"}], ids=str
)
@pytest.mark.parametrize(
    "guard",
    [{"task_timeout": 1}, {"memory_limit": "1GB"}, {"kill_on_cancel": True}, {"isolate": True}],
    ids=lambda guard: next(iter(guard)),
)
def test_threads_are_refused(plan: Any, guard: Any) -> None:
    for make in (
        lambda: poolwise.map(abs, [1], **plan, **guard),
        lambda: poolwise.Executor(**plan, **guard),
    ):
        with pytest.raises(poolwise.PlanRefused, match=next(iter(guard))):
            make()


@pytest.mark.parametrize("plan", [{"plan": "process:2x3"}, {"threads_per_worker": 2}], ids=str)
def test_neighbours_in_a_process_are_refused(plan: Any) -> None:
    with pytest.raises(poolwise.PlanRefused, match="would die with it"):
        poolwise.map(abs, [1], **plan, task_timeout=1)
    assert list(poolwise.map(abs, [-1], **plan, isolate=True)) == [1]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"task_timeout": -1}, ValueError, "task_timeout takes seconds above 0"),
        ({"task_timeout": 0}, ValueError, "task_timeout takes seconds above 0"),
        ({"task_timeout": float("nan")}, ValueError, "task_timeout takes seconds above 0"),
        ({"task_timeout": "1s"}, TypeError, "task_timeout takes a number of seconds"),
        ({"memory_limit": "2 parsecs"}, ValueError, "memory_limit takes bytes above 0, or a text"),
        ({"memory_limit": -1}, ValueError, "memory_limit takes bytes above 0"),
        ({"memory_limit": 1.5}, TypeError, "memory_limit takes bytes above 0"),
        ({"kill_on_cancel": 1}, TypeError, "kill_on_cancel takes True or False"),
        ({"isolate": "yes"}, TypeError, "isolate takes True or False"),
    ],
)
def test_what_cannot_be_is_refused(options: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        poolwise.map(abs, [1], **options)
    with pytest.raises(error, match=words):
        poolwise.Executor(**options)


@LINUX
def test_sizes_are_read() -> None:
    assert guards_of(2, "2GB", False, False).memory == 2 * 10**9
    assert guards_of(None, "1.5 MiB", False, False).memory == 3 << 19
