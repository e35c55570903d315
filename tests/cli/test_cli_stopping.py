"""Ctrl-C and SIGTERM: what runs may end, lines are whole, nothing is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress

import pytest
from cli_command import Command, read_lines, wait_for_line, wait_until_gone

from thorough import thorough

pytestmark = pytest.mark.fault

ENDLESS = ("--expr", "__import__('itertools').count()", "--no-progress")
PLANS = ["auto", "process:2", *thorough("inline", "thread:2", "process:2x2")]
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def _pin(plan: str) -> tuple[str, ...]:
    return () if plan == "auto" else ("--plan", plan)


@pytest.mark.parametrize(("plan", "at"), [("thread:2", 1), ("thread:2/4", 4), ("inline/4", 0)])
@pytest.mark.parametrize("order", [(), ("--unordered",)])
def test_what_has_not_begun_does_not_begin(
    command: Command, plan: str, at: int, order: tuple[str, ...]
) -> None:
    """But for calls before one that has: what was computed has no gaps."""
    inputs = f"((n, {at}) for n in range(1_000_000))"
    run = command("map", "work:stopped_at", "--expr", inputs, "--plan", plan, *order)
    assert run.code == 143
    assert sorted(run.results) == list(range(at + 1))
    word = "inputs" if at else "input"
    assert run.err.splitlines()[-1] == f"poolwise: stopped by SIGTERM after {at + 1} {word}"


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_what_runs_may_end(command: Command, plan: str, number: signal.Signals, code: int) -> None:
    process = command.start("map", "work:pid", *ENDLESS, *_pin(plan))
    read = read_lines(process, 5)
    process.send_signal(number)
    run = command.finish(process, read)
    assert run.code == code
    assert [line["index"] for line in run.lines] == list(range(len(run.lines)))
    assert run.err == f"poolwise: stopped by {number.name} after {len(run.lines)} inputs\n"
    for worker in {*run.results} - {process.pid}:
        wait_until_gone(worker)


@pytest.mark.parametrize("plan", PLANS)
def test_what_does_not_end_within_the_grace_is_ended(command: Command, plan: str) -> None:
    process = command.start("map", "work:stuck_at_3", *ENDLESS, *_pin(plan), "--grace", "0.2")
    wait_for_line(process, b"stuck\n")
    process.send_signal(signal.SIGTERM)
    run = command.finish(process)
    assert run.code == 143
    assert [line["index"] for line in run.lines] == list(range(len(run.lines)))
    assert "Traceback" not in run.err
    for worker in {*run.results} - {process.pid}:
        wait_until_gone(worker)


@pytest.mark.parametrize("plan", PLANS)
def test_a_second_signal_ends_it_now(command: Command, plan: str) -> None:
    process = command.start("map", "work:stuck_at_3", *ENDLESS, *_pin(plan), "--grace", "9999")
    wait_for_line(process, b"stuck\n")
    while process.poll() is None:  # two that come at the same moment are one
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.005)
    run = command.finish(process)
    # The interpreter has no handlers any more at its very end: to a shell both are the same.
    assert run.code in (130, -signal.SIGINT)
    assert "Traceback" not in run.err
    assert "KeyboardInterrupt" not in run.err


def test_a_call_that_swallows_everything_does_not_keep_it(command: Command) -> None:
    process = command.start(
        "map", "work:stuck_and_deaf_at_3", *ENDLESS, "--plan", "inline", "--grace", "0.1"
    )
    wait_for_line(process, b"stuck\n")
    process.send_signal(signal.SIGTERM)
    assert command.finish(process).code == 143


@pytest.mark.parametrize("plan", ["inline", "process:1"])
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_waiting_for_standard_input_ends(
    command: Command, plan: str, number: signal.Signals, code: int
) -> None:
    process = command.start("map", "work:prints", "--lines", "-", "--plan", plan, "--no-progress")
    assert process.stdin is not None
    process.stdin.write(b"one\n")
    process.stdin.flush()
    if plan == "inline":
        wait_for_line(process, b"printed one\n")
    else:
        _wait_until_all_is_read(process)
        # What has been read may be given up as long as it is not a line of its own; that it is, is
        # sure when the next is read.
        process.stdin.write(b"two\n")
        process.stdin.flush()
        _wait_until_all_is_read(process)
    process.send_signal(number)
    run = command.finish(process)
    assert run.code == code
    assert run.results in (["one"], ["one", "two"][: 1 if plan == "inline" else 2])


def _wait_until_all_is_read(process: subprocess.Popen[bytes]) -> None:
    """Wait until the process has taken everything out of its standard input."""
    import fcntl
    import struct
    import termios
    import time

    assert process.stdin is not None
    while struct.unpack("i", fcntl.ioctl(process.stdin, termios.FIONREAD, b"\0\0\0\0"))[0]:
        time.sleep(0.001)  # bounded by the time-out of the test


def test_ctrl_c_in_a_terminal_reaches_the_whole_group(command: Command) -> None:
    process = command.start(
        "map", "work:pid", *ENDLESS, "--plan", "process:2", start_new_session=True
    )
    read = read_lines(process, 5)
    os.killpg(process.pid, signal.SIGINT)
    run = command.finish(process, read)
    assert run.code == 130
    assert "error" not in run.out
    assert "Traceback" not in run.err


def test_what_was_ignored_before_stays_ignored(command: Command) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    process = command.start("map", "work:pid", *ENDLESS, preexec_fn=ignore)
    read = read_lines(process, 3)
    process.send_signal(signal.SIGINT)
    read += read_lines(process, 50)
    process.send_signal(signal.SIGTERM)
    assert command.finish(process, read).code == 143


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_while_the_target_is_imported(command: Command, number: signal.Signals, code: int) -> None:
    (command.folder / "long.py").write_text(
        "import os, time\nos.write(2, b'importing\\n')\ntime.sleep(600)\n"
    )
    process = command.start("map", "long.py:f", "--expr", "[1]")
    wait_for_line(process, b"importing\n")
    process.send_signal(number)
    run = command.finish(process)
    assert (run.code, run.out, run.err) == (code, "", "")


def test_advise_ends_at_once(command: Command) -> None:
    # All are stuck: if others ended, there might be an advice already.
    process = command.start("advise", "work:stuck_at_3", "--expr", "[3] * 6")
    wait_for_line(process, b"stuck\n")
    process.send_signal(signal.SIGINT)
    run = command.finish(process)
    assert (run.code, run.out, run.err.replace("stuck\n", "")) == (130, "", "")


def _can_be_process_1() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    probe = [unshare, "-pf", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _can_be_process_1(), reason="no new process namespace can be made here")
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_as_process_1_of_a_container(command: Command, number: signal.Signals, code: int) -> None:
    before = ["unshare", "-pf", "--mount-proc"]
    process = command.start("map", "work:briefly", *ENDLESS, "--plan", "process:2", before=before)
    read = read_lines(process, 3)
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    with open(children) as listing:
        (inside,) = map(int, listing.read().split())
    os.kill(inside, number)
    run = command.finish(process, read)
    assert run.code == code
    assert [line["index"] for line in run.lines] == list(range(len(run.lines)))


def test_lines_stay_whole_when_the_reader_is_slow(command: Command) -> None:
    """The signal comes while the command waits for room in the pipe."""
    process = command.start("map", "work:same", *ENDLESS, "--plan", "inline", "-q")
    read = read_lines(process, 1)
    process.send_signal(signal.SIGTERM)
    run = command.finish(process, read)
    assert run.code == 143
    assert [line["index"] for line in run.lines] == list(range(len(run.lines)))
