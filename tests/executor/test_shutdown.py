"""The end of executors: with a grace, with the program, and with work that is pending."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_calls import hang, hold_the_gil, log, started, stop

import poolwise
from interruption import ends_by_a_signal
from poolwise.executor.dispatcher import Dispatcher
from thorough import thorough

pytestmark = pytest.mark.fault

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


@pytest.mark.parametrize("plan", ["process:1x2", *thorough("process:1", "process:2")])
@pytest.mark.parametrize("bad", [hang, hold_the_gil, stop])
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


@pytest.mark.parametrize("orphan", [False, True])
def test_a_worker_that_is_stopped_without_a_call_is_ended_too(orphan: bool) -> None:
    pool = poolwise.Executor(plan="process:1", start_method="forkserver")
    pid, server = pool.submit(os.getpid).result(), pool.submit(os.getppid).result()
    if orphan:  # nobody is there who could continue it
        os.kill(server, signal.SIGKILL)
    os.kill(pid, signal.SIGSTOP)
    pool.shutdown(grace=0.1 if orphan else None)
    assert pool.stats().workers == 0


def test_what_ends_in_time_is_not_touched() -> None:
    pool = poolwise.Executor(2)
    futures = [pool.submit(abs, -each) for each in range(50)]
    pool.shutdown(grace=20.0)
    assert [each.result() for each in futures] == list(range(50))


@pytest.mark.parametrize("plan", ["thread:1", "process:1"])
def test_waiting_for_the_end_ends_by_a_signal_that_another_thread_was_given(plan: str) -> None:
    begun, end = poolwise.Event(), poolwise.Event()

    def wait() -> None:
        begun.set()
        end.wait()

    pool = poolwise.Executor(plan=plan)
    call = pool.submit(wait)
    begun.wait()
    try:
        assert ends_by_a_signal(pool.shutdown, Dispatcher.join.__code__, end.set)
        assert not call.done()
    finally:
        end.set()
        pool.shutdown()
    assert call.done()


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


@pytest.mark.parametrize("victim", ["worker", "server"])
@pytest.mark.parametrize("plan", ["process:1", "process:1x4", *thorough("process:2")])
def test_workers_are_replaced_while_the_program_ends(
    plan: str, victim: str, tmp_path: Path
) -> None:
    """Since 3.12 an interpreter that ends starts no thread and forks nothing. The process that
    starts workers may have to be replaced, too.
    """
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
        if {victim!r} == "server":
            kill_server()
        os._exit(1)
    return n
def kill_server():
    server = os.getppid()
    try:
        if pathlib.Path(f"/proc/{{server}}/stat").read_text().split()[3] == str(main):
            os.kill(server, 9)
    except OSError:
        pass  # a neighbour was faster
main = os.getpid()
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


@pytest.mark.parametrize("ending", ["block", "exit"])
@pytest.mark.parametrize(
    "bad", ["time.sleep(3600)", "ctypes.PyDLL(None).pause()", "os.kill(os.getpid(), 19)"]
)
@pytest.mark.parametrize("plan", ["process:2", None, *thorough("process:1x2")])
def test_ctrl_c_ends_a_program_whatever_its_calls_do(
    plan: str | None, bad: str, ending: str, tmp_path: Path
) -> None:
    if plan is None and "time" not in bad:
        pytest.skip("a thread that holds the GIL, or stops its process, is beyond help")
    program = f"""
import ctypes, os, sys, time
import poolwise
def call(n):
    os.write(1, b"begun\\n")
    {bad}
def use(pool):
    futures = [pool.submit(call, n) for n in range(5)]
    futures[0].result()
if {ending!r} == "block":
    with poolwise.Executor(plan={plan!r}) as pool:
        use(pool)
else:
    pool = poolwise.Executor(plan={plan!r})
    use(pool)
"""
    script = tmp_path / "script.py"
    script.write_text(program)
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            # Not while a thread starts: it takes the signal from the main thread, as any may in
            # Linux, and that one waits on; so it is with the standard executors.
            for _ in range(5 if plan is None else 2):
                assert process.stdout.readline() == "begun\n"
            os.killpg(process.pid, signal.SIGINT)
            _, complaint = process.communicate(timeout=PROGRAM_ENDS)
        finally:
            process.kill()  # or nothing, if it has been waited for
    assert complaint.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode == -signal.SIGINT
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # nothing is left of its group
