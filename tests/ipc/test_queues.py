"""Queue: like its twin, between processes too; nothing is lost, doubled or blocked by a death."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import channel_calls
import numpy as np
import pytest
from channel_peer import DEADLINE, Peer, peers
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from test_locks import answers_ctrl_c, outcome, running, wait_until_asleep

from _poolwise_worker.channels import heap, ring
from poolwise import ChannelClosed, Event, Queue, TransferError

KINDS = pytest.mark.parametrize("kind", ["fork", "exec"])


def shared(maxsize: int = 0) -> Queue:
    made = Queue(maxsize)
    made._share()
    return made


MAKES = pytest.mark.parametrize("make", [Queue, shared])


# ---- alone ---------------------------------------------------------------------------------------

MESSAGES = st.one_of(
    st.integers(), st.binary(max_size=9000), st.text(), st.lists(st.integers()), st.none()
)


class QueueTwins(RuleBasedStateMachine):
    """Ours, before and after it is shared, and the standard library's."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    @initialize(maxsize=st.integers(0, 5))
    def create(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self.ours, self.theirs = Queue(maxsize), queue.Queue[Any](maxsize)

    def both(self, operation: Callable[[Any], object]) -> None:
        assert outcome(operation, self.ours) == outcome(operation, self.theirs)

    @rule(message=MESSAGES)
    def put(self, message: Any) -> None:
        self.both(lambda each: each.put(message, False))

    @rule(message=MESSAGES)
    def put_within(self, message: Any) -> None:
        self.both(lambda each: each.put(message, timeout=0.001))

    @rule(message=MESSAGES)
    def put_nowait(self, message: Any) -> None:
        self.both(lambda each: each.put_nowait(message))

    @rule(messages=st.lists(MESSAGES, max_size=8))
    def put_many(self, messages: list[Any]) -> None:
        if self.maxsize:
            messages = messages[: self.maxsize - self.theirs.qsize()]
        self.ours.put_many(iter(messages))
        for message in messages:
            self.theirs.put(message)

    @rule()
    def get(self) -> None:
        self.both(lambda each: each.get(False))

    @rule()
    def get_within(self) -> None:
        self.both(lambda each: each.get(timeout=0.001))

    @rule(n=st.integers(1, 9))
    def get_many(self, n: int) -> None:
        if self.theirs.empty():
            with pytest.raises(queue.Empty):
                self.ours.get_many(n, timeout=0)
        else:
            got = self.ours.get_many(n)
            assert 1 <= len(got) <= n
            assert got == [self.theirs.get() for _ in got]

    @rule()
    def bad_timeout(self) -> None:
        self.both(lambda each: each.get(timeout=-1))
        assert outcome(lambda each: each.put(1, timeout=-1), self.ours) is ValueError

    @rule()
    def share(self) -> None:
        self.ours._share()

    @invariant()
    def are_alike(self) -> None:
        if hasattr(self, "ours"):
            self.both(lambda each: (each.qsize(), each.empty(), each.full(), each.maxsize))


QueueTwins.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
test_queue_is_like_its_twin = QueueTwins.TestCase


@pytest.mark.parametrize("maxsize", [-1, "a", 1.5, None, 1 << 63])
def test_a_bad_maxsize_is_named(maxsize: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="maxsize="):
        Queue(maxsize)


@MAKES
@pytest.mark.parametrize("timeout", [-1, "a", float("nan")])
def test_a_bad_timeout_is_named(make: Any, timeout: Any) -> None:
    queue_ = make(1)
    for use in (queue_.get, lambda timeout: queue_.put(1, timeout=timeout)):
        with pytest.raises((TypeError, ValueError), match="timeout="):
            use(timeout=timeout)
    with pytest.raises((TypeError, ValueError), match="timeout="):
        queue_.get_many(1, timeout)


@MAKES
@pytest.mark.parametrize("n", [0, -1, "a"])
def test_a_bad_number_is_named(make: Any, n: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="n="):
        make().get_many(n)


@MAKES
def test_blocked_calls_answer_ctrl_c(make: Any) -> None:
    queue_ = make(1)
    answers_ctrl_c(queue_.get)
    queue_.put(1)
    answers_ctrl_c(lambda: queue_.put(2))
    answers_ctrl_c(lambda: queue_.put_many([2, 3]))
    assert queue_.get() == 1
    assert queue_.empty()
    queue_.put(5)
    assert queue_.get() == 5


@MAKES
def test_time_outs_are_waited_for(make: Any) -> None:
    queue_ = make(1)
    begin = time.monotonic()
    with pytest.raises(queue.Empty):
        queue_.get(timeout=0.12)
    queue_.put(1)
    with pytest.raises(queue.Full):
        queue_.put(2, timeout=0.12)
    assert time.monotonic() - begin >= 0.24


# ---- the end -------------------------------------------------------------------------------------


@MAKES
def test_what_is_there_can_be_taken_after_the_end(make: Any) -> None:
    queue_ = make()
    queue_.put_many(range(5))
    assert not queue_.closed
    queue_.close()
    queue_.close()
    assert queue_.closed
    assert queue_.qsize() == 5
    for put in (lambda: queue_.put(1), lambda: queue_.put([1]), lambda: queue_.put_many([1, 2])):
        with pytest.raises(ChannelClosed, match="put on a queue that is closed"):
            put()
    assert queue_.get() == 0
    assert queue_.get_many(2) == [1, 2]
    assert list(queue_) == [3, 4]
    for get in (queue_.get, lambda: queue_.get(False), lambda: queue_.get_many(3)):
        with pytest.raises(ChannelClosed, match="its last message has been taken"):
            get()
    assert list(queue_) == []
    assert queue_.empty()


@MAKES
def test_who_waits_hears_of_the_end(make: Any) -> None:
    queue_ = make(1)
    heard: list[object] = []

    def consume() -> None:
        heard.append(list(queue_))

    with running(consume), running(consume), running(consume):
        queue_.close()
    assert heard == [[], [], []]

    full = make(1)
    full.put(0)

    def produce() -> None:
        heard.append(outcome(lambda each: each.put(1), full))

    with running(produce), running(produce):
        time.sleep(0.01)  # so that they may wait already; it holds if they do not, too
        full.close()
    assert heard[3:] == [ChannelClosed, ChannelClosed]


def test_an_end_put_before_it_is_shared_is_there_after() -> None:
    queue_ = Queue()
    queue_.put_many("ab")
    queue_.close()
    queue_._share()
    assert queue_.closed
    assert queue_.qsize() == 2
    assert list(queue_) == ["a", "b"]


@KINDS
def test_consumers_in_other_processes_see_the_end(kind: str) -> None:
    queue_ = Queue()
    with peers(kind, "fork") as some:
        for peer in some:
            peer.start(channel_calls.consume, queue_)
        queue_.put_many(range(1000))
        queue_.close()
        got = [each for peer in some for each in peer.result()]
    assert sorted(got) == list(range(1000))


# ---- becoming shared -----------------------------------------------------------------------------


def test_it_passes_references_until_it_is_shared_and_copies_from_then_on() -> None:
    queue_, message = Queue(), [threading.Lock()]
    queue_.put(message)
    assert queue_.get() is message
    message = [1]
    queue_.put(message)
    queue_._share()
    copy = queue_.get()
    assert copy == message
    assert copy is not message


def test_what_does_not_pickle_keeps_it_as_it_was() -> None:
    queue_ = Queue(5)
    messages = [1, {"a": [0, threading.Lock()]}, 3]
    queue_.put_many(messages)
    expected = pytest.raises(TransferError, match=r"the item\['a'\]\[1\] .* is a lock that cannot")
    with peers("fork") as (peer,), expected:
        peer.start(channel_calls.consume, queue_)
    assert queue_.qsize() == 3
    queue_.put(4)
    queue_.put(5)
    assert queue_.full()
    assert [queue_.get() for _ in range(5)] == [*messages, 4, 5]


def test_a_put_of_what_does_not_pickle_says_which_part() -> None:
    queue_ = shared()
    with pytest.raises(TransferError, match=r"the item\.held .* is a lock that cannot"):
        queue_.put(channel_calls.Holding())
    with pytest.raises(TransferError, match="the item is a lock"):
        queue_.put_many([1, threading.Lock(), 2])
    assert queue_.get() == 1
    assert queue_.empty()
    with pytest.raises(TransferError, match="an Event cannot become plain bytes"):
        queue_.put(Event())


def test_what_cannot_be_read_is_said_and_the_rest_kept() -> None:
    queue_ = shared()
    for message in (["a"], channel_calls.CannotBeRead(), np.zeros(100_000), ["b"]):
        queue_.put(message)
    with pytest.raises(TransferError, match="cannot be read here: LookupError: not here") as raised:
        queue_.get_many(4)
    assert [np.size(each) for each in raised.value.readable] == [1, 100_000, 1]
    assert queue_.empty()
    assert queue_.lost() == 0


@MAKES
def test_put_many_puts_what_came_before_an_error(make: Any) -> None:
    def numbers() -> Iterator[int]:
        yield from range(100)
        raise LookupError("of the source")

    queue_ = make()
    with pytest.raises(LookupError, match="of the source"):
        queue_.put_many(numbers())
    assert queue_.get_many(200) == list(range(100))


def test_an_interrupted_put_many_does_not_begin_again() -> None:
    queue_ = shared(2)
    answers_ctrl_c(lambda: queue_.put_many(range(100)))
    assert queue_.qsize() == 2


def test_functions_of_the_main_module_travel_by_value() -> None:
    queue_ = shared()
    queue_.put(lambda number: number + 1)
    with peers("exec") as (peer,):
        assert peer.call(channel_calls.get_and_call, queue_, 41) == 42


@pytest.mark.parametrize("maxsize", [0, 3])
def test_threads_at_work_notice_nothing_when_it_becomes_shared(maxsize: int) -> None:
    queue_ = Queue(maxsize)
    got: list[list[tuple[int, int]]] = [[], [], []]

    def produce(number: int) -> None:
        for index in range(300):
            queue_.put((number, index))

    def consume(number: int) -> None:
        for each in queue_:
            got[number].append(each)

    consumers = [threading.Thread(target=consume, args=(number,)) for number in range(3)]
    producers = [threading.Thread(target=produce, args=(number,)) for number in range(3)]
    for thread in consumers + producers:
        thread.start()
    while not any(got):
        time.sleep(0)
    queue_._share()
    for thread in producers:
        thread.join(DEADLINE)
    queue_.close()
    for thread in consumers:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert sorted(each for one in got for each in one) == [
        (number, index) for number in range(3) for index in range(300)
    ]
    for one in got:  # each consumer sees each producer's messages in order
        for number in range(3):
            indexes = [index for who, index in one if who == number]
            assert indexes == sorted(indexes)


def test_a_fork_shares_it() -> None:
    queue_ = Queue()
    queue_.put("before")
    child = os.fork()
    if child == 0:
        queue_.put(queue_.get() + " and after")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert queue_.get(timeout=DEADLINE) == "before and after"


def test_a_forked_process_that_could_not_share_it_is_told() -> None:
    queue_ = Queue()
    queue_.put(threading.Lock())
    child = os.fork()
    if child == 0:
        try:
            queue_.get()
        except TransferError as error:
            os._exit(7 if "when it was forked" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert queue_.qsize() == 1


def test_a_pickle_that_nothing_carries_is_refused_and_leaves_it_alone() -> None:
    queue_ = Queue()
    queue_.put(threading)
    with pytest.raises(TransferError, match="a Queue cannot become plain bytes"):
        pickle.dumps(queue_)
    assert queue_.get() is threading


@pytest.mark.leaves("the fork server and the resource tracker of multiprocessing")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_process_of_multiprocessing_may_be_given_one(method: str) -> None:
    context = multiprocessing.get_context(method)
    there, back = Queue(), Queue(2)
    there.put("first")
    process = context.Process(target=channel_calls.echo, args=(there, back))
    process.start()
    there.put_many(["second", np.arange(100_000)])
    assert back.get(timeout=DEADLINE) == "first"
    assert back.get(timeout=DEADLINE) == "second"
    assert back.get(timeout=DEADLINE).sum() == 4_999_950_000
    there.close()
    process.join(DEADLINE)
    assert process.exitcode == 0
    process.close()


# ---- the ring ------------------------------------------------------------------------------------


def test_it_grows_and_gives_its_memory_back() -> None:
    queue_ = shared()
    queue_.put(b"x" * 100)  # so that positions are odd when it grows
    assert queue_.get() == b"x" * 100
    messages = [bytes([index % 256]) * (index * 37 % 20_000) for index in range(500)]
    queue_.put_many(messages)
    assert os.fstat(queue_._ring._data).st_size > ring.SHRINK_ABOVE
    assert (
        queue_.get_many(100) + [queue_.get() for _ in range(300)] + queue_.get_many(100)
        == messages[:500]
    )
    assert os.fstat(queue_._ring._data).st_size == ring.SMALLEST
    queue_.put(b"after")
    assert queue_.get() == b"after"


def test_messages_of_any_size_pass_round_and_round() -> None:
    queue_ = shared()
    there: deque[bytes] = deque()
    for index in range(3000):
        message = bytes([index % 251]) * (index * 7919 % 5000)
        queue_.put(message if index % 3 else [message])
        there.append(message)
        if len(there) > 12:
            for _ in range(8):
                got = queue_.get()
                assert (got if isinstance(got, bytes) else got[0]) == there.popleft()


def test_one_message_of_many_is_taken_at_a_time() -> None:
    queue_ = shared()
    queue_.put_many(range(100))
    with peers("fork", "fork") as some:
        for turn in range(15):
            assert [peer.call(channel_calls.get, queue_) for peer in some] == [
                3 * turn,
                3 * turn + 1,
            ]
            assert queue_.get() == 3 * turn + 2
    assert queue_.qsize() == 55
    assert queue_.get_many(100) == list(range(45, 100))


def test_large_messages_are_read_in_place_and_written_in_private() -> None:
    queue_ = shared()
    array = np.arange(200_000.0)
    queue_.put({"array": array, "more": [1, 2]})
    array[0] = 7
    first = queue_.get()
    assert first["more"] == [1, 2]
    assert first["array"][0] == 0
    assert not first["array"].flags.owndata
    first["array"][1] = 9
    # A block is not used again while somebody looks at it.
    queue_.put(np.zeros(200_000))
    second = queue_.get()
    assert (first["array"][1], first["array"][2], second.sum()) == (9, 2, 0)
    size = os.fstat(queue_._heap._memory.descriptor).st_size
    del first, second
    for number in range(20):
        queue_.put(np.full(200_000, number))
        assert queue_.get()[-1] == number
    assert os.fstat(queue_._heap._memory.descriptor).st_size == size


def test_what_a_forked_process_looks_at_is_not_used_again() -> None:
    queue_ = shared()
    queue_.put(np.full(100_000, 1.0))
    array = queue_.get()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(7 if (array == 1.0).all() else 1)
    os.close(read)
    del array
    for _ in range(3):
        queue_.put(np.zeros(100_000))
        queue_.get()
    os.close(write)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@KINDS
def test_blocks_of_a_killed_reader_are_used_again(kind: str) -> None:
    queue_, held = shared(), Event()
    for _ in range(3):
        held.clear()
        with peers(kind) as (peer,):
            queue_.put(np.zeros(100_000))
            peer.start(channel_calls.get_and_pause, queue_, held)
            assert held.wait(DEADLINE)
            peer.kill()
    size = os.fstat(queue_._heap._memory.descriptor).st_size
    assert size < 2 * (1 << 20) + (1 << 15)


@KINDS
def test_memory_of_large_messages_is_given_back(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "KEPT", 2 << 20)  # here; in the other process it is more
    queue_ = shared()
    with peers(kind) as (peer,):
        for turn in range(2):
            for number in range(8):
                queue_.put(np.full(60_000 * (1 + number % 3), float(turn + number)))
            assert (peer.call(channel_calls.get, queue_) == turn).all()
            for number in range(1, 8):
                assert (queue_.get() == turn + number).all()
            bytes_held = 512 * os.fstat(queue_._heap._memory.descriptor).st_blocks
            assert bytes_held < (4 << 20) + (1 << 16)


def test_a_message_may_be_looked_at_by_what_is_finalised_with_it() -> None:
    queue_ = shared()
    queue_.put(pickle.PickleBuffer(bytearray(b"seen" * 100_000)))
    child = os.fork()  # where this failed, it was with a crash
    if child == 0:
        seen: list[bytes] = []

        class Cycle:
            def __init__(self) -> None:
                self.view, self.me = queue_.get(), self

            def __del__(self) -> None:
                seen.append(bytes(self.view[:4]))

        Cycle()
        gc.collect()
        os._exit(7 if seen == [b"seen"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


# ---- several processes ---------------------------------------------------------------------------


def each_once(got: list[list[tuple[int, int]]], producers: int, times: int) -> None:
    """Check that everything came once, and to each consumer in the order of its producer."""
    assert sum(map(len, got)) == producers * times
    seen = [bytearray(times) for _ in range(producers)]
    for one in got:
        last = [-1] * producers
        for who, index in one:
            assert index > last[who]
            last[who] = index
            seen[who][index] += 1
    assert all(each == b"\1" * times for each in map(bytes, seen))


@pytest.mark.parametrize(("maxsize", "times"), [(0, 8000), (7, 2000)])
def test_nothing_is_lost_or_doubled(maxsize: int, times: int) -> None:
    queue_ = Queue(maxsize)
    with peers(*["fork"] * 7, "exec") as some:
        for peer in some[4:]:
            peer.start(channel_calls.consume_in_some_way, queue_)
        for number, peer in enumerate(some[:4]):
            peer.start(channel_calls.produce_in_some_way, queue_, number, times)
        for peer in some[:4]:
            peer.result()
        queue_.close()
        got = [peer.result() for peer in some[4:]]
    each_once(got, 4, times)
    assert queue_.lost() == 0


def test_a_million_messages_from_four_producers_to_four_consumers() -> None:
    queue_ = Queue()
    with peers(*["fork"] * 8) as some:
        for peer in some[4:]:
            peer.start(channel_calls.count_many, queue_, 4)
        for number, peer in enumerate(some[:4]):
            peer.start(channel_calls.produce_many, queue_, number, 250_000)
        for peer in some[:4]:
            peer.result()
        queue_.close()
        results = [peer.result() for peer in some[4:]]
    assert all(in_order for in_order, _, _ in results)
    assert sum(count for _, count, _ in results) == 1_000_000
    # The sum of squares tells apart what was lost and what was doubled in its place.
    expected = sum(index * index for index in range(1_000_000))
    assert sum(squares for _, _, squares in results) == expected


def test_one_guard_for_both_sides_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    # As on machines whose stores become visible in another order than they were made in.
    monkeypatch.setattr(ring, "_ORDERED_STORES", False)
    queue_ = Queue()
    with peers(*["fork"] * 4) as some:
        for peer in some[2:]:
            peer.start(channel_calls.consume_in_some_way, queue_)
        for number, peer in enumerate(some[:2]):
            peer.start(channel_calls.produce_in_some_way, queue_, number, 3000)
        for peer in some[:2]:
            peer.result()
        queue_.put_many([b"x" * 3000] * 50)
        queue_.close()
        got = [peer.result() for peer in some[2:]]
    assert sum(each == b"x" * 3000 for one in got for each in one) == 50
    each_once([[each for each in one if isinstance(each, tuple)] for one in got], 2, 3000)


@pytest.mark.parametrize("maxsize", [1, 5])
def test_it_never_has_more_than_maxsize(maxsize: int) -> None:
    queue_ = Queue(maxsize)
    with peers("fork", "fork", "fork") as some:
        for number, peer in enumerate(some[:2]):
            peer.start(channel_calls.produce_in_some_way, queue_, number, 500)
        some[2].start(channel_calls.most_seen, queue_, 1000)
        got = [queue_.get(timeout=DEADLINE) for _ in range(1000)]
        assert some[2].result() <= maxsize
    assert len(got) == 1000


def test_a_message_in_the_hands_of_a_killed_consumer_is_counted() -> None:
    queue_ = shared()
    queue_.put("first")
    with peers("fork") as (peer,):
        queue_.put(channel_calls.KillsWhoReadsIt())
        queue_.put("last")
        assert peer.call(channel_calls.get, queue_) == "first"
        assert queue_.lost() == 0
        peer.start(channel_calls.get, queue_)
        peer.close()
    assert queue_.lost() == 1
    assert queue_.get() == "last"
    assert queue_.lost() == 1
    assert "0/∞, 1 lost with consumers that were killed" in repr(queue_)


@pytest.mark.parametrize(
    ("die", "taken"),
    [
        (channel_calls.die_before_taking, 0),
        (channel_calls.die_after_taking, 1),
        (channel_calls.die_before_putting, 0),
        (channel_calls.die_before_growing, 0),
    ],
)
def test_a_death_in_the_midst_leaves_all_or_nothing_done(die: Any, taken: int) -> None:
    queue_ = shared()
    messages = [b"%d" % number * 500 for number in range(60)]
    for message in messages:
        queue_.put(message)
    for _ in range(3):  # so that the line does not begin at the beginning
        queue_.put(queue_.get())
    with peers("fork") as (peer,):
        peer.start(die, queue_)
        peer.close()
    assert queue_.lost() == taken
    assert queue_.qsize() == 60 - taken
    queue_.put("after")
    got = [queue_.get(timeout=DEADLINE) for _ in range(queue_.qsize())]
    assert got == [*(messages[3:] + messages[:3])[taken:], "after"]
    assert queue_.lost() == taken


def killed_at_any_moment(roles: list[Any], queue_: Queue, notes: Any) -> Iterator[None]:
    for number in range(12):
        with suppress(ProcessLookupError), peers("fork") as (victim,):
            victim.start(roles[number % len(roles)], queue_, number, notes)
            time.sleep(
                0.002 * (number % 5)
            )  # not to let things settle: the kill comes at any moment
            victim.kill()
        yield


def test_killed_producers_lose_nothing_that_was_put() -> None:
    queue_, notes = Queue(), channel_calls.Shared.create()
    got: dict[int, list[int]] = {}
    with peers("fork") as (other,):
        other.start(channel_calls.produce_in_some_way, queue_, 99, 3000)
        for number, _ in enumerate(
            killed_at_any_moment([channel_calls.produce_for_ever], queue_, notes)
        ):
            put = notes[0]
            while True:
                try:
                    who, index = queue_.get(timeout=0.1)
                except queue.Empty:
                    break
                got.setdefault(who, []).append(index)
            # All that were put are there, and at most the one that was being put.
            count = len(got.get(number, []))
            assert put <= count <= put + 1
            notes[0] = 0
        other.result()
    got.setdefault(99, []).extend(index for _, index in drain(queue_))
    assert got[99] == list(range(3000))
    for indexes in got.values():
        assert indexes == list(range(len(indexes)))


def drain(queue_: Queue) -> Iterator[Any]:
    with suppress(queue.Empty):
        while True:
            yield queue_.get(timeout=0.1)


def test_killed_consumers_lose_at_most_what_is_in_their_hands() -> None:
    queue_, notes = Queue(), channel_calls.Shared.create()
    times = 20_000
    with peers("fork") as (producer,):
        producer.start(channel_calls.produce_in_some_way, queue_, 0, times)
        killed = 0
        for _ in killed_at_any_moment([channel_calls.sum_for_ever], queue_, notes):
            killed += 1
        producer.result()
    rest = list(drain(queue_))
    taken = notes[0]
    assert times - killed <= taken + len(rest) <= times
    # What `get` returned and was not noted is in nobody's hands for the queue.
    assert queue_.lost() <= times - taken - len(rest)
    queue_.put("still")
    assert queue_.get(timeout=DEADLINE) == "still"


@pytest.mark.parametrize("maxsize", [0, 4])
def test_nobody_is_blocked_by_deaths_of_both_kinds(maxsize: int) -> None:
    queue_, notes = Queue(maxsize), channel_calls.Shared.create()
    roles = [
        channel_calls.produce_for_ever,
        channel_calls.sum_for_ever,
        channel_calls.produce_many_for_ever,
        channel_calls.sum_many_for_ever,
    ]
    for _ in killed_at_any_moment(roles, queue_, notes):
        for _ in drain_now(queue_):
            pass
        queue_.put((1, 1), timeout=DEADLINE)
        assert queue_.get(timeout=DEADLINE) == (1, 1)
    assert queue_.qsize() == 0
    for _ in range(maxsize):
        queue_.put(1, timeout=DEADLINE)
    assert maxsize == 0 or queue_.full()


def drain_now(queue_: Queue) -> Iterator[Any]:
    with suppress(queue.Empty):
        while True:
            yield queue_.get(False)


def test_a_consumer_that_sleeps_is_woken_by_another_process() -> None:
    queue_ = Queue()
    with peers("fork", "exec") as some:
        for peer in some:
            peer.start(channel_calls.get, queue_)
            wait_until_asleep(peer.pid)
        queue_.put("one")
        queue_.put("other")
        assert sorted(peer.result() for peer in some) == ["one", "other"]


def named_shared_memory() -> list[str]:
    """Without the semaphores of `multiprocessing`, which any program names for a moment."""
    return sorted(each for each in os.listdir("/dev/shm") if not each.startswith("sem.mp-"))


def test_nothing_is_left_behind() -> None:
    named = named_shared_memory()
    before = sorted(os.listdir("/proc/self/fd"))
    with peers("fork", "exec") as some:
        queue_ = Queue()
        for peer in some:
            queue_.put(np.zeros(100_000))
            peer.start(channel_calls.get_and_pause, queue_, Event())
        assert named_shared_memory() == named
        for peer in some:
            peer.kill()
    del queue_
    assert named_shared_memory() == named
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_the_peer_that_ended_can_be_replaced() -> None:
    queue_ = Queue()
    for turn in range(3):
        peer = Peer("fork")
        queue_.put(turn)
        assert peer.call(channel_calls.get, queue_) == turn
        peer.kill()
