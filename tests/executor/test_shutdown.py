"""The end of executors: with a grace, with the program, and with work that is pending."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_calls import hang, hold_the_gil, log, started

import poolwise

PROGRAM_ENDS = 30.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def begun(folder: Path, bad: Any) -> Any:
    def call(number: int) -> int:
        log(str(folder), number)
        bad(number)
        return number

    return call


def wait_for(folder: Path, number: int) -> None:
    while not started(folder, number):
        threading.Event().wait(0.005)


@pytest.mark.parametrize("plan", ["process:1", "process:2", "process:1x2"])
@pytest.mark.parametrize("bad", [hang, hold_the_gil])
@pytest.mark.parametrize("wait", [True, False])
def test_what_outlasts_the_grace_is_ended(wait: bool, bad: Any, plan: str, tmp_path: Path) -> None:
    pool = poolwise.Executor(plan=plan)
    first = pool.submit(begun(tmp_path, bad), 0)
    wait_for(tmp_path, 0)
    waiting = [pool.submit(begun(tmp_path, bad), each) for each in range(1, 9)]
    pool.shutdown(wait, grace=0.1)
    with pytest.raises(poolwise.WorkersKilled, match="grace"):
        first.result()
    pool.shutdown()
    assert all(each.done() for each in waiting)
    assert waiting[-1].cancelled()


def test_what_ends_in_time_is_not_touched() -> None:
    pool = poolwise.Executor(2)
    futures = [pool.submit(abs, -each) for each in range(50)]
    pool.shutdown(grace=20.0)
    assert [each.result() for each in futures] == list(range(50))


def test_nobody_waits_for_threads(gate: threading.Event) -> None:
    pool = poolwise.Executor(plan="thread:1")
    future = pool.submit(gate.wait)
    pool.shutdown(grace=0.05)
    with pytest.raises(poolwise.WorkersKilled):
        future.result()


@pytest.mark.parametrize("grace", [-1, float("nan"), "1", True])
def test_a_grace_is_checked(grace: Any) -> None:
    pool = poolwise.Executor(1)
    with pytest.raises((TypeError, ValueError), match="grace takes"):
        pool.shutdown(grace=grace)
    pool.shutdown()


@pytest.mark.parametrize("plan", ["process:1", "process:2", "process:1x4"])
def test_workers_are_replaced_while_the_program_ends(plan: str, tmp_path: Path) -> None:
    """Since 3.12 an interpreter that ends starts no thread and forks nothing."""
    program = f"""
import os, sys, pathlib
import poolwise
folder = pathlib.Path({str(tmp_path)!r})
def call(n):
    try:
        (folder / str(n)).touch(exist_ok=False)
    except FileExistsError:
        return n
    if n % 3 == 0:
        os._exit(1)
    return n
pool = poolwise.Executor(plan={plan!r}, retries=9)
def show(future):
    print(future.result(), flush=True)
for n in range(12):
    pool.submit(call, n).add_done_callback(show)
"""
    script = tmp_path / "script.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=PROGRAM_ENDS,
        check=False,
        env={**os.environ, "POOLWISE_TEST_CALLER": "0"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(map(int, done.stdout.split())) == list(range(12))
