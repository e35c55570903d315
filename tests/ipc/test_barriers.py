"""Barrier: like its twin, between processes too, and robust."""

from __future__ import annotations

import threading
from contextlib import suppress
from threading import BrokenBarrierError
from typing import Any

import channel_calls
import pytest
from channel_peer import DEADLINE, peers
from test_locks import answers_ctrl_c, running, wait_until_asleep

from poolwise import Barrier, Event


def wait_until_waiting(barrier: Barrier, count: int) -> None:
    until = threading.Event()
    for _ in range(int(DEADLINE * 1000)):
        if barrier.n_waiting == count:
            return
        until.wait(0.001)
    raise AssertionError(f"{barrier.n_waiting} wait, not {count}")


@pytest.mark.parametrize("parties", [0, -1, "a", 1.5])
def test_a_bad_number_of_parties_is_named(parties: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="parties="):
        Barrier(parties)


def test_other_bad_input_is_named() -> None:
    with pytest.raises(TypeError, match="action=3"):
        Barrier(2, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout=-1"):
        Barrier(2, timeout=-1)
    with pytest.raises(ValueError, match="timeout=-1"):
        Barrier(2).wait(-1)


@pytest.mark.parametrize("kind", ["fork", "exec"])
def test_nobody_goes_on_before_all_have_come(kind: str) -> None:
    barrier, steps = Barrier(4), channel_calls.Shared.create()
    with peers(kind, "fork", "fork") as some:
        for place, peer in enumerate(some):
            peer.start(channel_calls.march, barrier, steps, place, 4, 100)
        mine = channel_calls.march(barrier, steps, 3, 4, 100)
        places = [peer.result() for peer in some] + [mine]
    # In each step each place was given once.
    assert [sorted(step) for step in zip(*places, strict=True)] == [[0, 1, 2, 3]] * 100


def test_the_action_is_called_once_before_anybody_goes_on() -> None:
    called: list[int] = []
    seen: list[int] = []
    barrier = Barrier(3, action=lambda: called.append(1))

    def pass_by() -> None:
        barrier.wait(DEADLINE)
        seen.append(len(called))

    with running(pass_by), running(pass_by), running(pass_by):
        pass
    assert called == [1]
    assert seen == [1, 1, 1]


def test_an_action_that_fails_breaks_it() -> None:
    def fail() -> None:
        raise LookupError("mine")

    barrier = Barrier(1, action=fail)
    with pytest.raises(LookupError, match="mine"):
        barrier.wait()
    assert barrier.broken
    with pytest.raises(BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken


def test_more_than_its_parties_pass_in_turns() -> None:
    barrier = Barrier(2)
    places: list[int] = []
    enough = threading.Event()

    def pass_by() -> None:
        with suppress(BrokenBarrierError):
            while True:
                places.append(barrier.wait(DEADLINE))
                if len(places) >= 400:
                    enough.set()

    with running(pass_by), running(pass_by), running(pass_by), running(pass_by):
        assert enough.wait(DEADLINE)
        barrier.abort()
    assert set(places) == {0, 1}
    assert abs(places.count(0) - places.count(1)) <= 1  # one may not have noted its place


@pytest.mark.parametrize("how", ["abort", "reset", "timeout"])
def test_who_waits_is_told_when_it_breaks(how: str) -> None:
    barrier = Barrier(3)
    with peers("fork", "exec") as some:
        for peer in some:
            peer.start(channel_calls.pass_by, barrier, 0.2 if how == "timeout" else DEADLINE)
        if how != "timeout":
            wait_until_waiting(barrier, 2)
            getattr(barrier, how)()
        assert [peer.result() for peer in some] == ["broken", "broken"]
    assert barrier.broken == (how != "reset")
    barrier.reset()
    assert (barrier.broken, barrier.n_waiting, barrier.parties) == (False, 0, 3)


def test_the_time_out_of_the_barrier_is_the_default() -> None:
    barrier = Barrier(2, timeout=0.01)
    with pytest.raises(BrokenBarrierError):
        barrier.wait()


def test_a_waiter_that_is_killed_breaks_it() -> None:
    barrier = Barrier(3)
    with peers("fork", "exec") as (victim, other):
        victim.start(channel_calls.pass_by, barrier, None)
        other.start(channel_calls.why_broken, barrier)
        wait_until_waiting(barrier, 2)
        wait_until_asleep(victim.pid)
        victim.kill()
        assert f"process {victim.pid} was killed" in other.result()
    assert barrier.broken
    barrier.reset()
    with peers("fork", "exec") as some:
        for peer in some:
            peer.start(channel_calls.pass_by, barrier, DEADLINE)
        barrier.wait(DEADLINE)
        assert {peer.result() for peer in some} == {"passed"}


def test_a_blocked_wait_answers_ctrl_c() -> None:
    barrier = Barrier(2)
    answers_ctrl_c(barrier.wait)
    assert barrier.n_waiting == 0
    assert not barrier.broken


def test_what_happened_to_it_travels() -> None:
    barrier, event = Barrier(2), Event()
    with peers("fork") as (peer,):
        barrier.abort()
        assert peer.call(channel_calls.pass_by, barrier, 1) == "broken"
        event.set()
