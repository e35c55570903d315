"""Each dimension in a program of its own: what dies there takes nothing along."""

from __future__ import annotations

import logging
import os
import signal
import threading
from functools import partial
from pathlib import Path

import pytest

from poolwise.machine import measuring, store
from poolwise.machine.measuring import measure_machine
from poolwise.machine.profile import DIMENSIONS
from poolwise.timing.repeat import QUICK


def dies(name: str, effort: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def raises(name: str, effort: object) -> None:
    raise RuntimeError(f"no {name}")


def waits(caller: int, name: str, effort: object) -> None:
    try:
        os.kill(caller, signal.SIGUSR1)
        signal.pause()
    finally:
        Path("ended").touch()


@pytest.fixture(autouse=True)
def _empty_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(store, "_kept", {})
    monkeypatch.setenv("POOLWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("fault", [dies, raises])
def test_a_dimension_that_cannot_be_measured_is_none_and_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: object
) -> None:
    monkeypatch.setattr(measuring, "_measure", fault)
    steps: list[tuple[str, int, int]] = []
    profile = measure_machine(QUICK, lambda *step: steps.append(step))
    assert all(getattr(profile, name) is None for name in DIMENSIONS)
    assert [(record.name, record.levelno) for record in caplog.records] == [
        ("poolwise", logging.WARNING)
    ] * len(DIMENSIONS)
    assert steps == [(name, number, 6) for number, name in enumerate(DIMENSIONS)]
    kinds = [verdict.kind for verdict in profile.claims]
    assert kinds.count("not_measured") > len(kinds) / 2


class Stop(BaseException):
    """What a signal handler of the caller's may raise."""


def test_an_interrupt_ends_the_program_and_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop(number: int, frame: object) -> None:
        raise Stop

    assert threading.current_thread() is threading.main_thread()
    usual = signal.signal(signal.SIGUSR1, stop)
    monkeypatch.setattr(measuring, "_measure", partial(waits, os.getpid()))
    try:
        with pytest.raises(Stop):
            measure_machine(QUICK)
    finally:
        signal.signal(signal.SIGUSR1, usual)
    assert (tmp_path / "ended").exists()  # it could clear up
    assert not (tmp_path / "cache").exists()


def test_what_the_report_raises_ends_it() -> None:
    def report(name: str, done: int, total: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        measure_machine(QUICK, report)
