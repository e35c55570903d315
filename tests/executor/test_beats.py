"""What the owner hears beside calls that hold the GIL, release it, or keep it from a CPU."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable

import pytest

from poolwise.executor.beats import BEAT, Heartbeat
from poolwise.ipc import Inbox
from poolwise.timing.clock import SystemClock
from probe.fake_clock import FakeClock

TURN = sys.getswitchinterval()

#: Where other work kept the listener from a CPU for more than this share of the time, it listens
#: again, up to so many times.
_BUSY, _TRIES = 0.05, 20


class Late:
    """An inbox in which nothing is ever posted; each wait takes longer than it should."""

    def __init__(self, clock: FakeClock, *, by: float, queued: float = 0.0) -> None:
        self._clock, self._by, self._queued = clock, by, queued

    def wait(self, timeout: float) -> bool:
        assert timeout == 0
        return False

    def sleep(self, seconds: float) -> None:
        self._clock.spend(wait=seconds + self._by, queued=self._queued)


class Posted(Late):
    """The same, but in each beat something is posted."""

    _posted = False

    def wait(self, timeout: float) -> bool:
        posted, self._posted = self._posted, False
        return posted

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._posted = True


def heard(beats: int, **late: float) -> Heartbeat:
    clock = FakeClock()
    heartbeat = Heartbeat(clock)
    with heartbeat.beating(Late(clock, **late)) as wait:  # type: ignore[arg-type]
        for _ in range(beats):
            wait(1.0)
    return heartbeat


def test_who_waits_for_a_turn_each_time_hears_that_the_gil_is_held() -> None:
    assert heard(6, by=6e-4).held == 1.0
    assert heard(6, by=6e-4).enough


def test_who_goes_on_at_once_hears_that_it_is_free() -> None:
    assert heard(7, by=1e-4).held == 0.0
    assert heard(7, by=1e-4).enough
    assert not heard(6, by=1e-4).enough  # the first may come before the call begins


def test_waiting_for_a_cpu_does_not_count() -> None:
    assert heard(6, by=1e-4, queued=5e-3).held == 0.0


def test_few_beats_say_nothing() -> None:
    assert heard(2, by=6e-4).held is None
    assert not heard(2, by=6e-4).enough
    assert not heard(5, by=1e-4).enough


@pytest.mark.parametrize(
    ("late", "enough"),
    [
        ("LLL", True),
        ("OLL", False),
        ("OLLL", True),
        ("LLOL", True),
        ("OLOLL", True),
        ("LOLO", False),
    ],
)
def test_where_all_but_one_are_late_few_beats_are_enough(late: str, enough: bool) -> None:
    clock = FakeClock()
    heartbeat = Heartbeat(clock)
    for each in late:
        beat = Late(clock, by=6e-4 if each == "L" else 1e-4)
        with heartbeat.beating(beat) as wait:  # type: ignore[arg-type]
            wait(BEAT)
    assert heartbeat.enough == enough


def test_what_is_divided_is_listened_to_for_longer() -> None:
    clock = FakeClock()
    heartbeat = Heartbeat(clock)
    for by in (6e-4, 1e-4) * 3:
        with heartbeat.beating(Late(clock, by=by)) as wait:  # type: ignore[arg-type]
            wait(BEAT)
    assert heartbeat.held == 0.5
    assert not heartbeat.enough


@pytest.mark.parametrize(
    ("late", "enough"),
    [("LOLO", True), ("OLOL", False), ("OLOLO", True), ("LOOO", False), ("OOOOO", False)],
)
def test_nobody_listens_on_where_it_does_not_matter_how_it_is_divided(
    late: str, enough: bool
) -> None:
    clock = FakeClock()
    heartbeat = Heartbeat(clock, 4)
    for each in late:
        beat = Late(clock, by=6e-4 if each == "L" else 1e-4)
        with heartbeat.beating(beat) as wait:  # type: ignore[arg-type]
            wait(BEAT)
    assert heartbeat.enough == enough


def test_listening_has_an_end_whatever_is_heard() -> None:
    assert heard(1, by=31e-3).enough


def test_where_turns_are_as_short_as_timers_are_late_nothing_is_known() -> None:
    sys.setswitchinterval(1e-4)
    try:
        assert heard(6, by=6e-4).held is None
    finally:
        sys.setswitchinterval(TURN)


def test_what_comes_in_a_beat_does_not_hide_it() -> None:
    """A call that holds the GIL often ends in the very turn for which the owner waits."""
    clock = FakeClock()
    heartbeat = Heartbeat(clock)
    with heartbeat.beating(Posted(clock, by=6e-4)) as wait:  # type: ignore[arg-type]
        for _ in range(2 * 6):
            wait(1.0)
    assert heartbeat.held == 1.0


def test_what_is_there_before_is_no_beat() -> None:
    inbox = Inbox()
    heartbeat = Heartbeat(SystemClock())
    with heartbeat.beating(inbox) as wait:
        for _ in range(10):
            inbox.post(lambda: None)
            wait(BEAT)
    assert heartbeat.held is None


def beside(call: Callable[[], object]) -> float:
    """Listen beside a thread that makes calls again and again."""
    end = threading.Event()

    def calls() -> None:
        while not end.is_set():
            call()

    thread = threading.Thread(target=calls)
    thread.start()
    clock, tries = SystemClock(), 0
    try:
        with clock.watch_queue() as queued:
            while True:  # a machine on which other load keeps all beats away says nothing
                tries += 1
                began, before = clock.now(), queued()
                heartbeat = Heartbeat(clock)
                with heartbeat.beating(Inbox()) as wait:
                    while not heartbeat.enough:
                        wait(BEAT)
                quiet = queued() - before < _BUSY * (clock.now() - began)
                if heartbeat.held is not None and (quiet or tries >= _TRIES):
                    return heartbeat.held
    finally:
        end.set()
        thread.join()


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="there is no GIL to be held"
)
def test_python_code_is_heard() -> None:
    assert max(beside(lambda: sum(range(100_000))) for _ in range(5)) >= 0.7


def test_c_code_that_lets_go_is_not() -> None:
    data = bytes(4_000_000)
    assert min(beside(lambda: hashlib.sha256(data).digest()) for _ in range(5)) <= 0.2


def test_calls_that_wait_are_not() -> None:
    assert min(beside(lambda: time.sleep(0.01)) for _ in range(5)) <= 0.2
