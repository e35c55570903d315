"""Before a sleep it is looked again and again only where what was waited for came at once."""

from __future__ import annotations

import os
import select
import socket
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from _poolwise_worker import spinning
from _poolwise_worker.intake import Intake
from _poolwise_worker.spinning import SOON, Spinner

READY = [(3, 1)]


class Poll:
    """Nothing is ready in the first looks; then something is."""

    def __init__(self, empty: int) -> None:
        self.looks = 0
        self._empty = empty

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        assert timeout == 0, "a look never sleeps"
        self.looks += 1
        return READY if self.looks > self._empty else []


@pytest.fixture(autouse=True)
def cpus(monkeypatch: pytest.MonkeyPatch) -> dict[int, set[int]]:
    """CPUs by process; 0 is this one."""
    several = {0: {0, 1}, 7: {0, 1}}
    monkeypatch.setattr(spinning, "_cpus_of", several.__getitem__)
    return several


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock on which each reading takes a 20th of the longest look."""
    now = [0.0]

    def read() -> float:
        now[0] += SOON / 20
        return now[0]

    monkeypatch.setattr(spinning, "perf_counter", read)
    return now


def look(spinner: Spinner, poll: Poll) -> list[tuple[int, int]]:
    return spinner.look(poll)  # type: ignore[arg-type]


def test_does_not_look_before_anything_has_come() -> None:
    poll = Poll(5)
    assert look(Spinner(), poll) == []
    assert not poll.looks


@pytest.mark.parametrize("empty", [0, 1, 10])
def test_looks_until_it_comes(empty: int, clock: list[float]) -> None:
    spinner, poll = Spinner(), Poll(empty)
    spinner.note(SOON / 2, 7)
    assert look(spinner, poll) == READY
    assert poll.looks == empty + 1


def test_looks_for_a_while_only(clock: list[float]) -> None:
    spinner, poll = Spinner(), Poll(10_000)
    spinner.note(SOON / 2, 7)
    assert look(spinner, poll) == []
    assert poll.looks in (20, 21)  # the rounding decides


@pytest.mark.parametrize("seconds", [SOON, 1.0])
def test_does_not_look_after_a_long_wait(seconds: float, clock: list[float]) -> None:
    spinner, poll = Spinner(), Poll(5)
    spinner.note(SOON / 2, 7)
    spinner.note(seconds, 7)
    assert look(spinner, poll) == []
    assert not poll.looks


@pytest.mark.parametrize(
    ("ours", "theirs", "looks"),
    [({0}, {0}, 0), ({0}, {1}, 6), ({0, 1}, {0}, 6), ({1}, set(), 0)],
    ids=["the only one", "one each", "several", "theirs unknown"],
)
def test_does_not_keep_the_only_cpu_from_whom_it_waits_for(
    ours: set[int], theirs: set[int], looks: int, cpus: dict[int, set[int]], clock: list[float]
) -> None:
    cpus[0], cpus[7] = ours, theirs
    spinner, poll = Spinner(), Poll(5)
    spinner.note(SOON / 2, 7)
    look(spinner, poll)
    assert poll.looks == looks


def test_asks_now_and_then_whether_there_is_another_cpu(
    cpus: dict[int, set[int]], clock: list[float]
) -> None:
    cpus[0] = cpus[7] = {0}
    spinner = Spinner()
    spinner.note(SOON / 2, 7)
    cpus[7] = {1}
    for _ in range(spinning._ASKED_AFTER):
        spinner.note(SOON / 2, 7)
    poll = Poll(5)
    look(spinner, poll)
    assert poll.looks == 6


def test_looks_again_after_one_long_wait(clock: list[float]) -> None:
    spinner, poll = Spinner(), Poll(5)
    for seconds in (SOON / 2, 1.0, SOON / 2):
        spinner.note(seconds, 7)
    assert look(spinner, poll) == READY


def test_a_worker_knows_who_has_made_its_sockets() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, str(spinning.maker_of(theirs)).encode())
            os._exit(0)
        os.waitpid(child, 0)
        told = int(os.read(read, 20))
        os.close(read)
        os.close(write)
    assert told == (os.getpid() if sys.platform == "linux" else 0)


class Looks:
    """In the place of a spinner: sees nothing, and keeps what it is told."""

    def __init__(self) -> None:
        self.looks, self.told = 0, list[int]()

    def look(self, poll: select.poll) -> list[tuple[int, int]]:
        self.looks += 1
        return []

    def note(self, seconds: float, process: int) -> None:
        self.told.append(process)


@pytest.mark.parametrize("alone", [True, False])
def test_a_worker_looks_before_it_sleeps_if_it_has_one_thread(alone: bool) -> None:
    """With more each look would take the GIL from a call."""
    ours, theirs = socket.socketpair()
    nothing: Any = SimpleNamespace(keeps=False)
    with ours, theirs:
        intake = Intake(theirs, nothing, nothing, nothing, 0, memoryview(b""), alone=alone)
        assert (intake._spinner is not None) == alone
        spinner = Looks()
        if alone:
            intake._spinner = spinner  # type: ignore[assignment]
        ours.send(b"x")
        assert intake._wait(None) == [(theirs.fileno(), select.POLLIN)]
        assert spinner.looks == alone
        assert len(spinner.told) == alone
        os.close(intake._bell_read)
        os.close(intake._bell_write)
