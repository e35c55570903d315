"""Worker: the same interface for a thread and a process, and honest where they differ."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from interruption import ends_by_a_signal
from poolwise import (
    Event,
    Lock,
    Pipe,
    PlanRefused,
    Queue,
    TransferError,
    Worker,
    WorkerCrashed,
)

DEADLINE = 30.0
BOTH = pytest.mark.parametrize("mechanism", ["thread", "process"])
QUIET = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def made(mechanism: Any, target: Any, *args: Any, **kwargs: Any) -> Worker[Any]:
    worker: Worker[Any] = Worker(target, args, kwargs, mechanism=mechanism)
    worker.start()
    return worker


@BOTH
def test_it_returns_what_the_call_returns(mechanism: str) -> None:
    worker = made(mechanism, divmod, 17, 5)
    assert worker.result(DEADLINE) == (3, 2)
    assert worker.exception() is None
    assert not worker.is_alive()
    assert worker.exitcode == 0
    worker.join()


@BOTH
def test_closures_and_their_channels_go_along(mechanism: str) -> None:
    queue, lock, event = Queue(), Lock(), Event()
    ours, theirs = Pipe()

    def call(number: int, *, more: int) -> int:
        event.wait(DEADLINE)
        with lock:
            queue.put(number + more)
        theirs.send(os.getpid())
        return theirs.recv(DEADLINE)

    with ours, theirs:
        worker = made(mechanism, call, 1, more=41)
        assert worker.is_alive()
        assert worker.exitcode is None
        with lock:
            event.set()
            assert queue.empty()
        assert queue.get(timeout=DEADLINE) == 42
        pid = ours.recv(DEADLINE)
        assert pid == worker.pid
        assert (pid == os.getpid()) == (mechanism == "thread")
        ours.send("done")
        assert worker.result(DEADLINE) == "done"


def test_a_lock_may_come_back_from_a_process() -> None:
    worker = made("process", lambda: Lock())
    with worker.result(DEADLINE) as had:
        assert had


@BOTH
@QUIET
def test_it_raises_what_the_call_raised(mechanism: str, capfd: Any) -> None:
    worker = made(mechanism, lambda: [].pop())
    with pytest.raises(IndexError, match="pop from empty list") as raised:
        worker.result(DEADLINE)
    assert isinstance(worker.exception(), IndexError)
    assert worker.exitcode == 1
    if mechanism == "process":
        assert "in <lambda>" in str(raised.value.__cause__)
        assert "IndexError" in capfd.readouterr().err


@BOTH
@QUIET
def test_a_cause_comes_along(mechanism: str) -> None:
    def fail() -> None:
        try:
            [].pop()
        except IndexError as cause:
            raise LookupError("nothing left") from cause

    error = made(mechanism, fail).exception(DEADLINE)
    assert isinstance(error, LookupError)
    assert isinstance(error.__cause__, IndexError)


def test_a_result_of_the_main_script_changes_nothing_there(tmp_path: Path) -> None:
    # Its class travels with the globals of its methods, and in the process these are others.
    script = tmp_path / "script.py"
    script.write_text(
        """
import poolwise
COUNT = 1
class Thing:
    def count(self):
        return COUNT
def make(_=None):
    global COUNT
    COUNT = 99
    return Thing()
worker = poolwise.Worker(make, mechanism="process")
worker.start()
things = [worker.result(30)]
for method in "forkserver", "spawn", "fork", None:
    things += poolwise.map(make, [0], plan="process:1", start_method=method)
with poolwise.Executor(plan="process:1") as executor:
    things.append(executor.submit(make).result(30))
assert all(type(thing) is Thing and thing.count() == 1 for thing in things)
assert COUNT == 1
"""
    )
    subprocess.run([sys.executable, "-W", "error", str(script)], timeout=DEADLINE, check=True)


def test_the_call_runs_in_the_main_thread_of_a_process() -> None:
    def in_main() -> bool:
        return threading.current_thread() is threading.main_thread()

    assert made("process", in_main).result(DEADLINE) is True


@pytest.mark.fault
def test_a_killed_process_says_by_what() -> None:
    worker = made("process", time.sleep, 60)
    worker.kill()
    with pytest.raises(WorkerCrashed, match="ran sleep was killed by SIGKILL") as raised:
        worker.result(DEADLINE)
    assert "retries" not in str(raised.value)  # a worker has none
    assert worker.exitcode == -signal.SIGKILL
    worker.kill()  # nothing happens to who has ended


@pytest.mark.fault
def test_an_exit_inside_says_with_what() -> None:
    worker = made("process", os._exit, 7)
    with pytest.raises(WorkerCrashed, match="ended with exit code 7"):
        worker.result(DEADLINE)


@pytest.mark.fault
def test_a_process_receives_signals() -> None:
    ours, theirs = Pipe()

    def call() -> str:
        signal.signal(signal.SIGUSR1, lambda *_: theirs.send("heard"))
        theirs.send("ready")
        return str(theirs.recv(DEADLINE))

    with ours, theirs:
        worker = made("process", call)
        assert ours.recv(DEADLINE) == "ready"
        worker.send_signal(signal.SIGUSR1)
        assert ours.recv(DEADLINE) == "heard"
        ours.send("enough")
        assert worker.result(DEADLINE) == "enough"
    worker = made("process", time.sleep, 60)
    worker.terminate()
    worker.join(DEADLINE)
    assert worker.exitcode == -signal.SIGTERM


@pytest.mark.fault
def test_what_a_thread_cannot_do_is_refused_with_the_reason() -> None:
    worker: Worker[None] = Worker(lambda: None)
    for action in (worker.kill, worker.terminate, lambda: worker.send_signal(signal.SIGINT)):
        with pytest.raises(PlanRefused, match=r"a thread receives no signals.*mechanism='process'"):
            action()


@BOTH
def test_use_before_the_start_says_so(mechanism: Any) -> None:
    worker: Worker[int] = Worker(int, mechanism=mechanism)
    assert not worker.is_alive()
    assert worker.exitcode is None
    for use in (worker.join, worker.result, worker.exception):
        with pytest.raises(RuntimeError, match="was not started"):
            use()
    worker.start()
    with pytest.raises(RuntimeError, match="was started before"):
        worker.start()
    assert worker.result(DEADLINE) == 0


@BOTH
@pytest.mark.fault
def test_time_outs(mechanism: str) -> None:
    event = Event()
    worker = made(mechanism, event.wait, DEADLINE)
    worker.join(0.01)
    assert worker.is_alive()
    with pytest.raises(TimeoutError, match=r"has not ended after 0\.01 s"):
        worker.result(0.01)
    event.set()
    assert worker.result(DEADLINE) is True


@BOTH
@pytest.mark.fault
def test_an_interrupted_wait_does_not_end_it(mechanism: str) -> None:
    class Stop(BaseException):
        pass

    def stop(number: int, frame: object) -> None:
        raise Stop

    def wait() -> None:
        signal.setitimer(signal.ITIMER_REAL, 1e-3)  # which may ring before the wait
        worker.join(DEADLINE)

    event = Event()
    worker = made(mechanism, lambda: event.wait(DEADLINE))
    usual = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(Stop):
            wait()
    finally:
        signal.signal(signal.SIGALRM, usual)
    assert worker.is_alive()
    assert worker.exitcode is None
    event.set()
    assert worker.result(DEADLINE) is True


@BOTH
@pytest.mark.fault
def test_waiting_ends_by_a_signal_that_another_thread_was_given(mechanism: str) -> None:
    event = Event()
    worker = made(mechanism, event.wait)
    try:
        assert ends_by_a_signal(worker.join, Worker.join.__code__, event.set)
        assert worker.is_alive()
    finally:
        event.set()
    assert worker.result(DEADLINE) is True


def test_what_cannot_be_sent_is_named() -> None:
    args = [Lock(), {"a": threading.Lock()}]
    worker: Worker[Any] = Worker(print, args, mechanism="process")
    with pytest.raises(TransferError, match=r"args\[1\]\['a'\] .* is a lock that cannot"):
        worker.start()
    assert not worker.is_alive()
    worker = made("process", lambda: threading.Lock())
    with pytest.raises(TransferError, match="its result cannot be pickled"):
        worker.result(DEADLINE)


def test_bad_input_is_named() -> None:
    with pytest.raises(TypeError, match="target=3"):
        Worker(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"mechanism='fibre'.*'thread', 'process'"):
        Worker(int, mechanism="fibre")  # type: ignore[arg-type]


def test_large_results_do_not_block_the_end() -> None:
    worker = made("process", bytes, 5_000_000)
    worker.join(DEADLINE)
    assert worker.exitcode == 0
    assert worker.result() == bytes(5_000_000)


@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), 9)"])
@pytest.mark.fault
def test_a_process_lives_no_longer_than_its_caller(end: str, tmp_path: Path) -> None:
    program = f"""
import os, sys, time, poolwise
read, write = poolwise.Pipe()
def call():
    write.send(os.getpid())
    time.sleep(60)
worker = poolwise.Worker(call, mechanism="process", daemon=True)
worker.start()
print(read.recv(), flush=True)
{end}
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    pid = int(run.stdout)
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                break
        except FileNotFoundError:
            break
        time.sleep(0.005)
    else:
        raise AssertionError("the worker outlived its caller")
    assert run.stderr == ""
