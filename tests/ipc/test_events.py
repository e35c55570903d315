"""Event: like its twin, between processes too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import channel_calls
import pytest
from channel_peer import DEADLINE, Peer, peers
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, rule
from test_locks import answers_ctrl_c, outcome, running, wait_until_asleep

from poolwise import Event


class EventTwins(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ours, self.theirs = Event(), threading.Event()

    def both(self, operation: Callable[[Any], object]) -> None:
        assert outcome(operation, self.ours) == outcome(operation, self.theirs)

    @rule()
    def set(self) -> None:
        self.both(lambda each: each.set())

    @rule()
    def clear(self) -> None:
        self.both(lambda each: each.clear())

    @rule()
    def look(self) -> None:
        self.both(lambda each: each.is_set())

    @rule()
    def wait(self) -> None:
        self.both(lambda each: each.wait(0))
        self.both(lambda each: each.wait(timeout=0.001))


EventTwins.TestCase.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
test_event_is_like_its_twin = EventTwins.TestCase


@pytest.mark.parametrize("timeout", [-1, "a", float("nan")])
def test_a_bad_timeout_is_named(timeout: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="timeout="):
        Event().wait(timeout)


def test_a_blocked_wait_answers_ctrl_c() -> None:
    answers_ctrl_c(Event().wait)


@pytest.mark.parametrize("kind", ["fork", "exec"])
def test_processes_take_turns_by_it(kind: str) -> None:
    ping, pong = Event(), Event()
    with peers(kind) as (peer,):
        peer.start(channel_calls.take_turns, ping, pong, 300)
        for _ in range(300):
            ping.set()
            assert pong.wait(DEADLINE)
            pong.clear()
        peer.result()


def test_who_waits_hears_of_a_set_that_is_cleared_at_once() -> None:
    event = Event()
    with peers("fork", "exec") as some:
        asking = [Event() for _ in some]
        for peer, ask in zip(some, asking, strict=True):
            peer.start(channel_calls.say_then_wait, event, ask)
        for peer, ask in zip(some, asking, strict=True):
            assert ask.wait(DEADLINE)
            wait_until_asleep(peer.pid)
        event.set()
        event.clear()
        assert [peer.result() for peer in some] == [True, True]
    assert not event.is_set()


def test_killing_at_any_moment_blocks_nobody() -> None:
    event = Event()
    with peers("fork", "fork") as some:
        for number in range(6):
            for peer in some:
                peer.start(channel_calls.flap, event)
            time.sleep(0.003 * number)  # not to let things settle: the kill comes at any moment
            some.pop(0).kill()
            for _ in range(20):
                assert event.wait(DEADLINE)
            some.pop().kill()
            some += [Peer("fork"), Peer("fork")]
    event.clear()
    assert not event.wait(0)
    event.set()
    assert event.wait(DEADLINE)


def test_threads_of_this_process_wake_each_other() -> None:
    ping, pong = Event(), Event()
    with running(channel_calls.take_turns, ping, pong, 200):
        for _ in range(200):
            ping.set()
            assert pong.wait(DEADLINE)
            pong.clear()
