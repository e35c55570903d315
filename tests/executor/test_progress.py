"""Progress: what is asked for, when something is shown, what it costs."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import threading

import pytest

import poolwise
from poolwise.executor.progress import LINE_EVERY, Bar, Lines, Shown, Told, make_progress
from poolwise.plan import Plan


class HandClock:
    """A clock that the test moves."""

    time = 0.0

    def now(self) -> float:
        return self.time

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"progress reads {name}")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


# ---- what is asked for --------------------------------------------------------------------


def test_what_is_asked_for() -> None:
    assert make_progress(False) is None
    assert isinstance(make_progress(True), Shown)
    assert isinstance(make_progress(lambda done, total: None), Told)


@pytest.mark.parametrize("wrong", ["yes", 1, None, []])
def test_anything_else_is_a_type_error_that_names_it(wrong: object) -> None:
    with pytest.raises(TypeError, match=r"^progress takes True, False or a function") as caught:
        make_progress(wrong)  # type: ignore[arg-type]
    assert repr(wrong) in str(caught.value)
    with pytest.raises(TypeError, match=r"^progress takes"):
        poolwise.map(abs, [1], progress=wrong)


# ---- a function of the user's -------------------------------------------------------------


@pytest.mark.parametrize("plan", ["inline", "thread:2", "process:2"])
def test_a_function_is_told_inputs_not_batches(plan: str) -> None:
    told: list[tuple[int, int | None]] = []
    run = poolwise.map(
        abs, range(500), plan=plan, progress=lambda done, total: told.append((done, total))
    )
    assert told == []  # nothing has run
    assert run.results() == list(range(500))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (500, 500)
    assert {total for _, total in told} == {500}


def test_an_unknown_length_is_none() -> None:
    told: list[tuple[int, int | None]] = []
    inputs = (number for number in range(5))
    list(poolwise.map(abs, inputs, plan="inline", progress=lambda *pair: told.append(pair)))
    assert told[-1] == (5, None)


def test_failures_are_done_too() -> None:
    told: list[int] = []
    run = poolwise.map(
        lambda number: 1 // number,
        [1, 0, 2],
        plan="inline",
        on_error="return",
        progress=lambda done, total: told.append(done),
    )
    assert len(run.results()) == 3
    assert told[-1] == 3


@pytest.mark.parametrize("plan", ["inline", "thread:2"])
def test_what_the_function_raises_ends_the_run(plan: str) -> None:
    def enough(done: int, total: int | None) -> None:
        raise RuntimeError("enough")

    run = poolwise.map(abs, range(100), plan=plan, progress=enough)
    with pytest.raises(RuntimeError, match="enough"):
        run.results()
    assert list(run) == []


# ---- lines --------------------------------------------------------------------------------


def test_no_line_before_its_time(clock: HandClock) -> None:
    log = io.StringIO()
    lines = Lines(clock, log)
    lines.start(100)
    clock.time = LINE_EVERY - 0.1
    lines.update(10, 0)
    lines.show_plan(Plan("inline"))
    lines.close()
    assert log.getvalue() == ""


def test_a_line_tells_done_rate_time_left_and_plan(clock: HandClock) -> None:
    log = io.StringIO()
    lines = Lines(clock, log)
    lines.start(4_000)
    lines.show_plan(Plan("process", 2, 8))
    for _ in range(10):
        clock.time += LINE_EVERY / 10
        lines.update(100, 0)
    expected = "1,000 of 4,000 inputs, 100/s, 30 s left, 2 processes × 8 threads"
    assert log.getvalue() == f"poolwise: {expected}\n"


def test_the_rate_is_that_of_the_last_seconds(clock: HandClock) -> None:
    log = io.StringIO()
    lines = Lines(clock, log)
    lines.start(1_000)
    clock.time = LINE_EVERY
    lines.update(100, 0)
    clock.time = 2 * LINE_EVERY
    lines.update(200, 0)
    first, second = log.getvalue().splitlines()
    assert first == "poolwise: 100 of 1,000 inputs, 10/s, 90 s left"
    assert second == "poolwise: 300 of 1,000 inputs, 20/s, 35 s left"


def test_an_unknown_length_has_no_time_left(clock: HandClock) -> None:
    log = io.StringIO()
    lines = Lines(clock, log)
    lines.start(None)
    clock.time = LINE_EVERY
    lines.update(50, 0)
    assert log.getvalue() == "poolwise: 50 inputs, 5/s\n"


def test_failures_are_shown_if_there_are_any(clock: HandClock) -> None:
    log = io.StringIO()
    lines = Lines(clock, log)
    lines.start(100)
    clock.time = LINE_EVERY
    lines.update(50, 3)
    assert log.getvalue() == "poolwise: 50 of 100 inputs, 5/s, 10 s left, 3 failed\n"


def test_a_line_comes_also_while_nothing_is_done(clock: HandClock) -> None:
    log = io.StringIO()
    lines = Lines(clock, log)
    lines.start(100)
    clock.time = LINE_EVERY
    lines.show_plan(Plan("thread", 2))
    assert log.getvalue() == "poolwise: 0 of 100 inputs, 0/s, 2 threads\n"


def test_a_long_run_ends_with_a_line(clock: HandClock) -> None:
    log = io.StringIO()
    lines = Lines(clock, log)
    lines.start(100)
    clock.time = LINE_EVERY
    lines.update(90, 0)
    clock.time += 1.0
    lines.update(10, 0)
    lines.close()
    assert log.getvalue().splitlines()[1:] == ["poolwise: 100 of 100 inputs, 10/s"]


# ---- where it is shown --------------------------------------------------------------------


def test_closing_before_the_start_is_harmless(clock: HandClock) -> None:
    for progress in (Shown(), Bar(), Lines(clock, io.StringIO()), Told(print)):
        progress.close()


def test_without_standard_error_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert list(poolwise.map(abs, [-1], plan="inline", progress=True)) == [1]


def test_in_a_log_there_is_no_bar(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(poolwise.map(abs, range(50), plan="inline", progress=True)) == list(range(50))
    assert capfd.readouterr().err == ""


PROGRAM = """
import sys, threading, poolwise

def call(number):
    if number % 10 == 3:
        raise ValueError(number)
    return number

inputs = range(50) if sys.argv[1] == "known" else (n for n in range(50))
run = poolwise.map(call, inputs, plan="thread:2", on_error="return", progress=True)
assert "tqdm" not in sys.modules, "loaded before it is used"
assert len(run.results()) == 50
assert "tqdm" in sys.modules
names = [type(each).__name__ for each in threading.enumerate()]
assert "TMonitor" not in names, names
assert "asyncio" not in sys.modules
assert "multiprocessing" not in sys.modules
"""


def _show(argument: str) -> str:
    screen, terminal = pty.openpty()
    try:
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, argument],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=terminal,
            timeout=30,
            check=False,
        )
        shown = os.read(screen, 1 << 16).decode()
        assert run.returncode == 0, shown
        return shown
    finally:
        os.close(screen)
        os.close(terminal)


def test_a_bar_in_a_terminal() -> None:
    shown = _show("known")
    assert "50/50" in shown
    assert "100%" in shown
    assert "inputs/s" in shown
    assert "5 failed, 2 threads" in shown


def test_a_bar_of_unknown_length() -> None:
    shown = _show("unknown")
    assert "50 inputs [" in shown
    assert "%" not in shown


def test_a_bar_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    before = threading.active_count()
    bar = Bar()
    bar.start(10)
    bar.update(5, 0)
    assert threading.active_count() == before
    bar.close()
