"""Condition: like its twin, between processes too, and robust."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import channel_calls
import pytest
from channel_peer import DEADLINE, peers
from test_locks import answers_ctrl_c, running, wait_until_asleep

from poolwise import Condition, Event, Lock, OwnerDied, RLock

LOCKS = pytest.mark.parametrize("make", [Lock, RLock])


@LOCKS
def test_waiting_and_notifying_need_the_lock(make: Any) -> None:
    condition = Condition(make())
    for action in (condition.wait, condition.notify, condition.notify_all):
        with pytest.raises(RuntimeError, match="whose lock this thread does not hold"):
            action()
    with condition:
        condition.notify()
        condition.notify_all()
        assert not condition.wait(0.001)


def test_other_locks_are_refused() -> None:
    with pytest.raises(TypeError, match=r"lock=.*poolwise.Lock or poolwise.RLock"):
        Condition(threading.Lock())  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [-1, "a", float("nan")])
def test_a_bad_timeout_is_named(timeout: Any) -> None:
    condition = Condition()
    with condition, pytest.raises((TypeError, ValueError), match="timeout="):
        condition.wait(timeout)


@LOCKS
def test_a_blocked_wait_answers_ctrl_c_and_holds_the_lock_then(make: Any) -> None:
    condition = Condition(make())

    def wait() -> None:
        with condition:
            try:
                condition.wait()
            except KeyboardInterrupt:
                assert condition._lock._is_owned()
                raise

    answers_ctrl_c(wait)
    assert not condition._lock.locked()


def test_an_rlock_is_let_go_of_as_often_as_it_was_taken() -> None:
    condition = Condition()
    woken: list[bool] = []

    def wake() -> None:
        with condition:
            condition.notify()

    with condition, condition, condition:
        with running(wake):
            woken.append(condition.wait(DEADLINE))
        assert condition._lock._depth() == 3
    assert woken == [True]
    assert not condition._lock.locked()


@LOCKS
@pytest.mark.parametrize("kind", ["fork", "exec"])
def test_each_notify_wakes_one_in_the_order_in_which_they_came(make: Any, kind: str) -> None:
    condition = Condition(make())
    with peers(kind, "fork", kind) as some:
        for peer in some:
            asking = Event()
            peer.start(channel_calls.wait_on, condition, asking)
            assert asking.wait(DEADLINE)
            with condition:  # so it waits now
                pass
        for peer in some:
            with condition:
                condition.notify()
            assert peer.result() is True


@LOCKS
def test_notify_all_wakes_all(make: Any) -> None:
    condition = Condition(make())
    with peers("fork", "fork", "exec") as some:
        for peer in some:
            asking = Event()
            peer.start(channel_calls.wait_on, condition, asking)
            assert asking.wait(DEADLINE)
        with condition:
            condition.notify_all()
        assert [peer.result() for peer in some] == [True] * 3


@LOCKS
def test_a_bounded_buffer_between_processes(make: Any) -> None:
    condition, buffer = Condition(make()), channel_calls.Shared.create()
    with peers("fork", "exec", "fork", "fork") as some:
        for peer in some[:2]:
            peer.start(channel_calls.fill, condition, buffer, 200)
        for peer in some[2:]:
            peer.start(channel_calls.drain, condition, buffer, 200)
        assert [peer.result() for peer in some] == [None] * 4
    assert buffer[0] == 0


def test_what_a_killed_waiter_was_told_is_told_to_the_next() -> None:
    condition = Condition()
    with peers("fork", "fork") as (first, second):
        for peer in (first, second):
            asking = Event()
            peer.start(channel_calls.wait_on, condition, asking)
            assert asking.wait(DEADLINE)
            with condition:
                pass
        with condition:
            condition.notify()
            first.kill()  # it cannot have gone on, for that it needs the lock
        assert second.result() is True


@LOCKS
def test_all_who_wait_are_told_if_the_lock_dies_with_its_holder(make: Any) -> None:
    condition, held = Condition(make()), Event()
    with peers("fork", "exec", "fork") as (*waiters, holder):
        for peer in waiters:
            asking = Event()
            peer.start(channel_calls.wait_on, condition, asking)
            assert asking.wait(DEADLINE)
            wait_until_asleep(peer.pid)
        holder.start(channel_calls.hold, condition, held)
        assert held.wait(DEADLINE)
        holder.kill()
        for peer in waiters:
            with pytest.raises(OwnerDied, match="holds the lock now"):
                peer.result()
    with condition:
        condition.notify_all()
        assert not condition.wait(0.001)


@LOCKS
def test_who_is_told_but_cannot_have_the_lock_answers_ctrl_c(make: Any) -> None:
    condition, held, over = Condition(make()), threading.Event(), threading.Event()

    def tell_and_hold() -> None:
        with condition:
            condition.notify()
            held.set()
            assert over.wait(DEADLINE)

    def interrupt() -> None:
        assert held.wait(DEADLINE)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    teller = threading.Thread(target=tell_and_hold)

    def wait() -> None:
        with condition:
            teller.start()
            condition.wait()

    with running(interrupt), pytest.raises(KeyboardInterrupt):
        wait()
    over.set()
    teller.join(DEADLINE)
    assert not condition._waiting()
    with condition:
        assert not condition.wait(0.001)


def test_wait_for_returns_the_last_value() -> None:
    condition = Condition()
    ready: list[int] = []

    def make_ready() -> None:
        with condition:
            ready.append(7)
            condition.notify()

    with condition:
        assert condition.wait_for(lambda: ready, timeout=0.01) == []
        with running(make_ready):
            assert condition.wait_for(lambda: ready, timeout=DEADLINE) == [7]


def test_a_notify_that_comes_with_the_time_out_is_not_lost() -> None:
    condition = Condition()
    heard = 0
    told = 0

    def tell() -> None:
        nonlocal told
        for _ in range(100):
            with condition:
                if condition._waiting():
                    condition.notify()
                    told += 1
            time.sleep(0)

    with running(tell) as thread:
        while thread.is_alive():
            with condition:
                heard += condition.wait(0.0002)
    with condition:
        heard += condition.wait(0)
    assert heard == told


def test_the_standard_condition_takes_a_lock_of_ours() -> None:
    lock = RLock()
    condition = threading.Condition(lock)  # type: ignore[arg-type]
    ready: list[int] = []

    def make_ready() -> None:
        with condition:
            ready.append(1)
            condition.notify()

    with lock, condition:  # twice, so both are let go of while it waits
        with running(make_ready):
            assert condition.wait_for(lambda: ready, DEADLINE)
        assert lock._depth() == 2
    assert not lock.locked()
