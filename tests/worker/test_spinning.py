"""Before a sleep it is looked again and again only where what was waited for came at once."""

from __future__ import annotations

import pytest

from _poolwise_worker import spinning
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
def _several_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spinning, "_OTHER_CPUS", True)


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


def test_looks_once_before_anything_has_come() -> None:
    poll = Poll(5)
    assert look(Spinner(), poll) == []
    assert poll.looks == 1


@pytest.mark.parametrize("empty", [0, 1, 10])
def test_looks_until_it_comes(empty: int, clock: list[float]) -> None:
    spinner, poll = Spinner(), Poll(empty)
    spinner.note(SOON / 2)
    assert look(spinner, poll) == READY
    assert poll.looks == empty + 1


def test_looks_for_a_while_only(clock: list[float]) -> None:
    spinner, poll = Spinner(), Poll(10_000)
    spinner.note(SOON / 2)
    assert look(spinner, poll) == []
    assert poll.looks in (20, 21)  # the rounding decides


@pytest.mark.parametrize("seconds", [SOON, 1.0])
def test_looks_once_after_a_long_wait(seconds: float, clock: list[float]) -> None:
    spinner, poll = Spinner(), Poll(5)
    spinner.note(SOON / 2)
    spinner.note(seconds)
    assert look(spinner, poll) == []
    assert poll.looks == 1


def test_never_keeps_the_only_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spinning, "_OTHER_CPUS", False)
    spinner, poll = Spinner(), Poll(5)
    spinner.note(SOON / 2)
    assert look(spinner, poll) == []
    assert poll.looks == 1
