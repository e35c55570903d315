"""Pipe: like its twin in multiprocessing; the end is seen, and descriptors travel along."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import channel_calls
import numpy as np
import pytest
from channel_peer import DEADLINE, peers
from hypothesis import given, settings
from hypothesis import strategies as st
from test_locks import answers_ctrl_c, running

from poolwise import ChannelClosed, Event, Lock, Pipe, PipeEnd, Queue, TransferError

KINDS = pytest.mark.parametrize("kind", ["fork", "exec"])


@contextmanager
def closing_both(pipe: tuple[PipeEnd, PipeEnd]) -> Iterator[tuple[PipeEnd, PipeEnd]]:
    with pipe[0], pipe[1]:
        yield pipe


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(st.integers(), st.binary(max_size=100_000), st.text(), st.lists(st.floats()))
    )
)
def test_what_is_sent_is_received_in_order_as_from_its_twin(messages: list[Any]) -> None:
    ours, theirs = Pipe(), multiprocessing.Pipe()
    with ours[0], ours[1], theirs[0], theirs[1]:
        for message in messages:
            for one, other in (ours, theirs):
                one.send(message)
                other.send([message])
                got = other.recv(), one.recv()
                assert repr(got) == repr((message, [message]))
                assert not one.poll()


@pytest.mark.parametrize("size", [60_000, 70_000, 300_000, 5_000_000])
@pytest.mark.parametrize("make", [bytes, lambda size: [bytes(size)], np.zeros, bytearray])
def test_messages_may_be_large(size: int, make: Any) -> None:
    one, other = Pipe()
    with one, other:
        for _ in range(2):
            one.send(make(size))
        for _ in range(2):
            assert pickle.dumps(other.recv()) == pickle.dumps(make(size))


def test_large_messages_are_private_and_their_memory_is_used_again() -> None:
    one, other = Pipe()
    with one, other:
        kept = []
        for number in range(5):
            one.send(np.full(100_000, number))
            got = other.recv()
            got[0] = -1
            kept.append(got)
        assert [got[1] for got in kept] == list(range(5))
        size = os.fstat(one._heap._memory.descriptor).st_size
        kept.clear()
        del got
        for _ in range(20):
            one.send(np.full(100_000, 7))
            assert other.recv()[0] == 7
        assert os.fstat(one._heap._memory.descriptor).st_size == size


@KINDS
def test_it_works_in_a_process_that_runs_already(kind: str) -> None:
    with peers(kind) as (peer,):
        one, other = Pipe()  # after a fork, which would keep a copy of each end
        peer.start(channel_calls.answer, other)
        other.close()
        for number in range(100):
            one.send(number)
            assert one.recv(timeout=DEADLINE) == (number,)
        one.close()
        assert peer.result() == 100


@KINDS
def test_locks_queues_and_ends_travel_through_it(kind: str) -> None:
    with peers(kind) as (peer,), closing_both(Pipe()) as (one, other):
        peer.start(channel_calls.receive_and_use, other)
        other.close()
        lock, queue_, event, more = Lock(), Queue(), Event(), Pipe()
        queue_.put("there")
        one.send({"lock": lock, "queue": queue_, "event": event, "end": more[1]})
        more[1].close()
        assert event.wait(DEADLINE)
        assert not lock.acquire(False)
        with more[0]:
            more[0].send("go on")
            assert more[0].recv(timeout=DEADLINE) == "there and back"
        peer.result()
        assert lock.acquire(timeout=DEADLINE)
        lock.release()


def test_the_end_is_seen_when_the_other_process_is_killed() -> None:
    with peers("exec") as (peer,), closing_both(Pipe()) as (one, other):
        peer.start(channel_calls.send_and_pause, other, "last")
        other.close()
        assert one.recv(timeout=DEADLINE) == "last"
        assert not one.poll(0)
        peer.kill()
        assert one.poll(DEADLINE)
        with pytest.raises(ChannelClosed, match="the other end is closed, and all"):
            one.recv()
        with pytest.raises(ChannelClosed, match="nobody has the other end"):
            one.send(1)


def test_what_was_sent_before_the_end_is_received() -> None:
    one, other = Pipe()
    with one, other:
        one.send(1)
        one.send(np.zeros(100_000))
        one.close()
        assert [np.sum(each) for each in other] == [1, 0]
        assert list(other) == []


def test_a_closed_end_says_so() -> None:
    one, other = Pipe()
    with other:
        one.close()
        one.close()
        assert one.closed
        for use in (lambda: one.send(1), one.recv, one.poll, one.fileno, lambda: one.send([1])):
            with pytest.raises(ChannelClosed, match="this end is closed"):
                use()


def test_time_outs() -> None:
    one, other = Pipe()
    with one, other:
        assert not one.poll()
        assert not one.poll(0.01)
        with pytest.raises(TimeoutError, match=r"0\.01 s"):
            one.recv(timeout=0.01)
        for timeout in (-1, "a"):
            with pytest.raises((TypeError, ValueError), match="timeout="):
                one.recv(timeout=timeout)  # type: ignore[arg-type]
            with pytest.raises((TypeError, ValueError), match="timeout="):
                one.poll(timeout)  # type: ignore[arg-type]
        other.send(1)
        assert select.select([one], [], [], DEADLINE)[0] == [one]
        assert one.recv(timeout=0) == 1


def test_blocked_calls_answer_ctrl_c() -> None:
    one, other = Pipe()
    with one, other:
        answers_ctrl_c(one.recv)

        def send_for_ever() -> None:
            while True:
                other.send(b"x" * 50_000)

        answers_ctrl_c(send_for_ever)


def send_for_ever(end: PipeEnd) -> None:
    while True:
        end.send(b"x" * 50_000)


@pytest.mark.parametrize(
    "wait",
    [PipeEnd.recv, lambda end: end.recv(DEADLINE), lambda end: end.poll(None), send_for_ever],
    ids=["recv", "recv within", "poll", "send"],
)
def test_who_waits_hears_that_the_end_was_closed(wait: Any) -> None:
    one, other = Pipe()
    heard: list[str] = []

    def wait_for_ever() -> None:
        with pytest.raises(ChannelClosed) as raised:
            wait(one)
        heard.append(str(raised.value))

    with other, running(wait_for_ever):
        time.sleep(0.01)  # so that it may wait already; it holds if it does not, too
        one.close()
    assert heard[0].startswith("this end is closed")


def test_what_does_not_pickle_says_which_part() -> None:
    one, other = Pipe()
    with one, other:
        with pytest.raises(TransferError, match=r"the item\[0\] .* is a lock that cannot"):
            one.send([threading.Lock()])
        with pytest.raises(TransferError, match="a PipeEnd cannot become plain bytes"):
            pickle.dumps(one)


def test_several_may_send_and_receive() -> None:
    one, other = Pipe()
    got: list[Any] = []

    def receive() -> None:
        got.extend(other)

    with peers("fork", "fork") as some, other, running(receive), running(receive):
        for number, peer in enumerate(some):
            peer.start(channel_calls.send_numbers, one, number, 500)
        one.close()
        for peer in some:
            peer.result()
            peer.kill()  # they have copies of the end
    assert sorted(got) == [(number, index) for number in range(2) for index in range(500)]


@pytest.mark.leaves("the fork server and the resource tracker of multiprocessing")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_process_of_multiprocessing_may_be_given_an_end(method: str) -> None:
    one, other = Pipe()
    with one:
        process = multiprocessing.get_context(method).Process(
            target=channel_calls.send_numbers, args=(other, 7, 3)
        )
        process.start()
        assert [one.recv(timeout=DEADLINE) for _ in range(3)] == [(7, 0), (7, 1), (7, 2)]
        process.join(DEADLINE)
        process.close()
        other.close()


def test_it_leaves_no_descriptor() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    one, other = Pipe()
    one.send([Lock(), Event()])
    one.send(Lock())
    received = other.recv()
    del one, other, received
    gc.collect()
    assert sorted(os.listdir("/proc/self/fd")) == before
