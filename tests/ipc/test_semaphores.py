"""Semaphore and BoundedSemaphore: like their twins, between processes too, and robust."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import channel_calls
import pytest
from channel_peer import DEADLINE, Peer, peers
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from test_locks import answers_ctrl_c, outcome, running, wait_until_asleep

from poolwise import BoundedSemaphore, Event, OwnerDied, Semaphore

BOTH = pytest.mark.parametrize("make", [Semaphore, BoundedSemaphore])
KINDS = pytest.mark.parametrize("kind", ["fork", "exec"])


class SemaphoreTwins(RuleBasedStateMachine):
    make: Any = Semaphore
    twin: Any = threading.Semaphore

    @initialize(value=st.integers(0, 4))
    def create(self, value: int) -> None:
        self.ours, self.theirs = type(self).make(value), type(self).twin(value)

    def both(self, operation: Callable[[Any], object]) -> None:
        assert outcome(operation, self.ours) == outcome(operation, self.theirs)

    @rule()
    def acquire_at_once(self) -> None:
        self.both(lambda each: each.acquire(False))
        self.both(lambda each: each.acquire(blocking=False))

    @rule()
    def acquire_within(self) -> None:
        self.both(lambda each: each.acquire(timeout=0.001))

    @rule(n=st.integers(-1, 3))
    def release(self, n: int) -> None:
        self.both(lambda each: each.release(n))

    @rule()
    def bad_timeout(self) -> None:
        self.both(lambda each: each.acquire(False, 1.0))

    @rule()
    def use_as_context(self) -> None:
        def use(each: Any) -> bool:
            if not each.acquire(False):
                return False
            each.release()
            with each:
                return bool(each.acquire(False)) and each.release() is None

        self.both(use)


class BoundedTwins(SemaphoreTwins):
    make = BoundedSemaphore
    twin = threading.BoundedSemaphore


SemaphoreTwins.TestCase.settings = BoundedTwins.TestCase.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None
)
test_semaphore_is_like_its_twin = SemaphoreTwins.TestCase
test_bounded_semaphore_is_like_its_twin = BoundedTwins.TestCase


@BOTH
@pytest.mark.parametrize("value", [-1, "a", 1.5, None])
def test_a_bad_value_is_named(make: Callable[..., Any], value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="value="):
        make(value)


@BOTH
@pytest.mark.parametrize("timeout", [-1, "a", float("nan")])
def test_a_bad_timeout_is_named(make: Callable[..., Any], timeout: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="timeout="):
        make().acquire(timeout=timeout)


@BOTH
def test_a_blocked_acquire_answers_ctrl_c(make: Callable[..., Any]) -> None:
    semaphore = make(1)
    semaphore.acquire()
    answers_ctrl_c(semaphore.acquire)
    semaphore.release()
    assert semaphore.acquire(timeout=DEADLINE)


@BOTH
@KINDS
def test_no_more_than_its_permits_are_inside(make: Callable[..., Any], kind: str) -> None:
    semaphore, inside = make(3), channel_calls.Shared.create()
    with peers(kind, "fork", "fork") as some:
        for place, peer in enumerate(some):
            peer.start(channel_calls.crowd, semaphore, inside, place, 100)
        for peer in some:
            assert peer.result() <= 3
    for _ in range(3):
        assert semaphore.acquire(False)
    assert not semaphore.acquire(False)


def test_permits_pass_from_process_to_process() -> None:
    there, back = Semaphore(0), Semaphore(0)
    with peers("fork", "exec") as some:
        for peer in some:
            peer.start(channel_calls.ball, there, back, 300)
        for _ in range(600):
            there.release()
            assert back.acquire(timeout=DEADLINE)
        for peer in some:
            peer.result()
    assert not there.acquire(False)
    assert not back.acquire(False)


@pytest.mark.parametrize(
    ("make", "hold"),
    [
        (Semaphore, channel_calls.hold_within),
        (BoundedSemaphore, channel_calls.hold_within),
        (BoundedSemaphore, channel_calls.hold),
    ],
)
def test_who_waits_for_a_killed_holder_is_told(make: Callable[..., Any], hold: Any) -> None:
    semaphore, held = make(1), Event()
    with peers("fork", "fork", "exec") as (holder, *waiters):
        holder.start(hold, semaphore, held)
        assert held.wait(DEADLINE)
        asking = [Event() for _ in waiters]
        for waiter, event in zip(waiters, asking, strict=True):
            waiter.start(channel_calls.say_then_acquire, semaphore, event)
        for waiter, event in zip(waiters, asking, strict=True):
            assert event.wait(DEADLINE)
            wait_until_asleep(waiter.pid)
        holder.kill()
        assert [waiter.result() for waiter in waiters] == ["owner died"] * 2
    assert semaphore.acquire(False)  # the permit is there again, once
    assert not semaphore.acquire(False)


def test_if_nobody_waited_the_next_who_finds_none_is_told() -> None:
    semaphore, held = BoundedSemaphore(2), Event()
    with peers("fork") as (holder,):
        holder.start(channel_calls.hold, semaphore, held)
        assert held.wait(DEADLINE)
        holder.kill()
    assert semaphore.acquire(False)
    with pytest.raises(OwnerDied, match="permit is free again"):
        semaphore.acquire(False)
    assert semaphore.acquire(False)
    assert not semaphore.acquire(False)


def test_a_permit_of_a_plain_acquire_belongs_to_nobody() -> None:
    semaphore, held = Semaphore(1), Event()
    with peers("fork") as (holder,):
        holder.start(channel_calls.hold, semaphore, held)
        assert held.wait(DEADLINE)
        holder.kill()
    assert not semaphore.acquire(timeout=0.15)
    semaphore.release()
    assert semaphore.acquire(False)


def test_a_release_in_the_place_of_the_dead_makes_no_permit_more() -> None:
    semaphore, held = BoundedSemaphore(1), Event()
    with peers("fork") as (holder,):
        holder.start(channel_calls.hold, semaphore, held)
        assert held.wait(DEADLINE)
        semaphore.release()  # another than who took it
        assert semaphore.acquire(False)
        holder.kill()
    assert not semaphore.acquire(False)
    semaphore.release()
    with pytest.raises(ValueError, match="release of 1 where 0 of 1"):
        semaphore.release()


@BOTH
def test_killing_at_any_moment_loses_no_permit(make: Callable[..., Any]) -> None:
    semaphore = make(2)
    with peers("fork", "fork") as some:
        for number in range(6):
            for peer in some:
                peer.start(channel_calls.use_for_ever, semaphore)
            time.sleep(0.003 * number)  # not to let things settle: the kill comes at any moment
            some.pop(0).kill()
            some.pop().kill()
            some += [Peer("fork"), Peer("fork")]
    free = 0
    for _ in range(4):
        try:
            free += semaphore.acquire(False)
        except OwnerDied:
            free += semaphore.acquire(False)
    assert free == 2


def test_threads_of_this_process_wake_each_other() -> None:
    semaphore = Semaphore(0)
    got: list[int] = []

    def take() -> None:
        for _ in range(200):
            with suppress(OwnerDied):
                got.append(semaphore.acquire(timeout=DEADLINE))

    with running(take), running(take):
        for _ in range(400):
            semaphore.release()
    assert got == [True] * 400
