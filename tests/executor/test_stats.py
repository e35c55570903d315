"""What an operator sees: counts and times of an executor, and what goes to the logger."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fault_calls import Deadly, hang

import poolwise
from poolwise.executor.stats import ExecutorStats, Times, percentiles

pytestmark = pytest.mark.fault

PLANS = pytest.mark.parametrize("plan", ["thread:2", "process:2", "process:1x2", "inline", None])


def fail(number: int) -> None:
    raise KeyError(number)


def test_nothing_yet() -> None:
    with poolwise.Executor(2) as pool:
        assert pool.stats() == ExecutorStats()


@PLANS
def test_every_call_is_counted_once(plan: str | None) -> None:
    with poolwise.Executor(plan=plan) as pool:
        good = [pool.submit(time.sleep, 0.01) for _ in range(8)]
        bad = [pool.submit(fail, each) for each in range(3)]
        for each in [*good, *bad]:
            each.exception()
        workers = pool.stats().workers
    stats = pool.stats()
    assert (stats.done, stats.failed, stats.cancelled) == (8, 3, 0)
    assert (stats.queued, stats.running, stats.restarts, stats.killed) == (0, 0, 0, 0)
    assert workers >= 1
    assert stats.workers == 0
    assert 0.01 / 1.1 <= stats.service_p99 < 10
    assert 0 < stats.wait_p50 <= stats.wait_p99 < 10
    assert stats.plan is not None
    assert plan in (None, "inline", stats.plan.spec)


@pytest.mark.parametrize("plan", ["thread:1", "process:1"])
def test_what_waits_and_what_runs(plan: str, tmp_path: Path) -> None:
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    with poolwise.Executor(plan=plan) as pool:
        first = pool.submit(_wait_at, path)
        with open(path, "wb"):  # it has begun
            waiting = [pool.submit(_wait_at, path) for _ in range(3)]
            stats = pool.stats()
            assert (stats.running, stats.queued + stats.running) in [(1, 4), (2, 4)]
            for each in waiting[1:]:
                each.cancel()
        first.result()
        with open(path, "wb"):
            pass
        pool.shutdown()
        stats = pool.stats()
        assert stats.done + stats.cancelled == 4
        assert stats.done in (2, 3)  # one may have been sent ahead, which cannot be cancelled


def _wait_at(path: str) -> None:
    with open(path, "rb") as file:
        file.read()


def test_deaths_tries_and_kills_are_counted(tmp_path: Path) -> None:
    with poolwise.Executor(plan="process:2", retries=2) as pool:
        futures = [pool.submit(Deadly(tmp_path, "exit", {1: 9, 3: 1}), each) for each in range(5)]
        for each in futures:
            each.exception()
        stats = pool.stats()
    assert (stats.done, stats.failed, stats.retried, stats.restarts) == (4, 1, 3, 4)
    with poolwise.Executor(1, task_timeout=0.2) as pool:
        pool.submit(hang, 0).exception()
        stats = pool.stats()
    assert (stats.failed, stats.killed, stats.restarts) == (1, 1, 1)


@pytest.mark.parametrize("plan", ["process:1", "thread:1"])
def test_calls_that_fail_with_their_executor_have_failed(plan: str) -> None:
    with poolwise.Executor(plan=plan, initializer=int, initargs=("none",)) as pool:
        futures = [pool.submit(abs, -1)]
        with suppress(poolwise.InitializerFailed):  # one that comes too late is refused
            futures += [pool.submit(abs, -1) for _ in range(3)]
        for each in futures:
            assert isinstance(each.exception(), poolwise.InitializerFailed)
        stats = pool.stats()
    assert (stats.done, stats.failed, stats.cancelled) == (0, len(futures), 0)


def test_calls_that_are_killed_with_their_executor_have_an_end_in_the_figures(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "pipe")
    pool = poolwise.Executor(plan="process:1")
    futures = [pool.submit(_wait_at, str(tmp_path / "pipe")) for _ in range(4)]
    with open(tmp_path / "pipe", "wb"):  # the first has begun
        pool.kill_workers()
        wait(futures)
    pool.shutdown()
    stats = pool.stats()
    killed = 4 - sum(each.cancelled() for each in futures)
    assert (stats.done, stats.failed, stats.cancelled) == (0, killed, 4 - killed)
    assert killed


def test_it_may_be_asked_at_any_time() -> None:
    over = threading.Event()
    with poolwise.Executor(2, retries=1) as pool:
        seen: list[ExecutorStats] = []

        def ask() -> None:
            while not over.is_set():
                seen.append(pool.stats())

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            assert list(pool.map(abs, range(2000))) == list(range(2000))
        finally:
            over.set()
            asking.join()
    done = [each.done for each in seen]
    assert done == sorted(done)
    assert pool.stats().done == 2000


def test_percentiles_are_right_within_a_tenth() -> None:
    times = Times()
    for each in range(1, 1001):
        times.add(each / 1000)
    half, most = percentiles([times, Times()])
    assert 0.5 <= half <= 0.55
    assert 0.99 <= most <= 1.09
    assert percentiles([]) == (0.0, 0.0)


# ---- the logger ----------------------------------------------------------------------------------


def test_deaths_are_warnings_with_fields(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "poolwise")
    list(poolwise.map(Deadly(tmp_path, "SIGKILL", {1: 1}), range(3), plan="process:1", retries=1))
    plan, death = caplog.records
    fields: Any = vars(death)
    assert (plan.levelname, vars(plan)["plan"], vars(plan)["plan_before"]) == (
        "INFO",
        "process:1",
        None,
    )
    assert death.levelname == "WARNING"
    assert (fields["exit_signal"], fields["exit_code"], fields["reason"]) == (9, None, None)
    assert (fields["plan"], fields["deaths"]) == ("process:1", 1)
    assert str(fields["worker_pid"]) in death.getMessage()


def test_a_kill_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with poolwise.Executor(1, task_timeout=0.2) as pool:
        pool.submit(hang, 0).exception()
    death = next(each for each in caplog.records if each.levelname == "WARNING")
    assert vars(death)["reason"] == "overtime"
    assert "took too long" in death.getMessage()


@pytest.mark.parametrize("setup", ["", "import logging"])
def test_it_is_silent_by_default(setup: str, tmp_path: Path) -> None:
    program = f"""
import os
{setup}
import poolwise
list(poolwise.map(lambda n: n or os._exit(3), range(3), plan="process:1", on_error="return"))
"""
    script = tmp_path / "script.py"
    script.write_text(program)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_workers_that_are_replaced_after_their_calls_are_counted_once() -> None:
    with poolwise.Executor(2, max_tasks_per_child=1) as pool:
        for each in [pool.submit(abs, number) for number in range(40)]:
            each.result()
            assert pool.stats().workers <= 2
        assert pool.stats().restarts == 0  # none was lost
