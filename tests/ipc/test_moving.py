"""A queue that becomes shared while others use it, or cannot become so."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest
from channel_peer import DEADLINE
from test_locks import answers_ctrl_c, running

from poolwise import ChannelClosed, Queue, TransferError


class Gate:
    """Pickling it waits until somebody opens it, and fails then."""

    def __init__(self) -> None:
        self.asked, self.open = threading.Event(), threading.Event()

    def __reduce__(self) -> tuple[Any, ...]:
        self.asked.set()
        assert self.open.wait(DEADLINE)
        raise LookupError("after all")


def outcome(operation: Callable[[Any], object], on: Any) -> object:
    try:
        return operation(on)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda each: type(each.get(timeout=DEADLINE)), Gate),
        (lambda each: each.put(1), None),
        (lambda each: each.put(1, timeout=DEADLINE), None),
        (lambda each: each.put_many([1]), None),
        (lambda each: each.qsize(), 1),
        (lambda each: each.lost(), 0),
        (lambda each: each.close(), None),
    ],
    ids=["get", "put", "put within", "put_many", "qsize", "lost", "close"],
)
@pytest.mark.parametrize("maxsize", [0, 3])
def test_who_comes_while_a_move_fails_goes_on(use: Any, expected: object, maxsize: int) -> None:
    queue_, gate = Queue(maxsize), Gate()
    queue_.put(gate)
    outcomes: list[object] = []

    def share() -> None:
        outcomes.append(outcome(lambda each: each._share(), queue_))

    with running(share):
        assert gate.asked.wait(DEADLINE)
        looking = threading.Event()

        def come() -> None:
            looking.set()
            outcomes.append(outcome(use, queue_))

        with running(come) as thread:
            assert looking.wait(DEADLINE)
            thread.join(0.005)  # so that it may wait already; it holds if it does not, too
            gate.open.set()
    assert outcomes in ([TransferError, expected], [expected, TransferError])


def test_each_hears_of_its_own_late_put() -> None:
    queue_ = Queue()
    line = queue_._line
    assert line is not None
    queue_._share()
    # Three threads have put here while it moved, and look again only now.
    late = [threading.Lock(), [5], [6]]
    for message in late:
        line.put(message)
    queue_._move_up(line, late[1])
    assert queue_.qsize() == 1
    with pytest.raises(TransferError, match="is a lock that cannot be pickled"):
        queue_._move_up(line, late[0])
    queue_.close()
    with pytest.raises(ChannelClosed):
        queue_._move_up(line, late[2])
    assert list(queue_) == [[5]]


def test_a_late_put_that_was_found_in_time_is_not_put_again() -> None:
    queue_ = Queue()
    line = queue_._line
    assert line is not None
    line.put("found")
    queue_._share()
    queue_._move_up(line, "found")
    assert queue_.get_many(5) == ["found"]


class Asks:
    """A message that looks at its queue while it is pickled."""

    def __init__(self, queue_: Queue) -> None:
        self.queue = queue_

    def __reduce__(self) -> tuple[Any, ...]:
        return (int, (self.queue.qsize(),))


def test_a_message_that_uses_its_queue_while_it_moves_is_refused() -> None:
    queue_ = Queue()
    queue_.put(Asks(queue_))
    with pytest.raises(TransferError, match=r"an Asks.* cannot be pickled"):
        queue_._share()
    assert queue_.qsize() == 1
    queue_.get()
    queue_._share()
    queue_.put(Asks(queue_))
    assert queue_.get() == 0


class Slow:
    def __reduce__(self) -> tuple[Any, ...]:
        threading.Event().wait(DEADLINE)
        return (Slow, ())


@pytest.mark.parametrize("maxsize", [0, 5])
def test_an_interrupted_move_leaves_it_as_it_was(maxsize: int) -> None:
    queue_, slow = Queue(maxsize), Slow()
    queue_.put_many([1, slow, 3])
    answers_ctrl_c(queue_._share)
    assert queue_.qsize() == 3
    queue_.put(4)
    assert [queue_.get() for _ in range(4)] == [1, slow, 3, 4]


@pytest.mark.parametrize("maxsize", [10**12, (1 << 63) - 1])
def test_a_large_maxsize_costs_nothing(maxsize: int) -> None:
    queue_ = Queue(maxsize)
    queue_.put(1)
    queue_._share()
    queue_.put(2)
    assert [queue_.get(), queue_.get()] == [1, 2]
    assert queue_.maxsize == maxsize


def test_room_that_was_never_had_and_room_that_was_left_are_one() -> None:
    queue_ = Queue(3)
    for _ in range(2):
        queue_.put(0)
        assert queue_.get() == 0
    for number in range(3):
        queue_.put(number, False)
    for _ in range(2):
        with pytest.raises(queue.Full):
            queue_.put(3, False)
    assert queue_.full()


def test_a_process_that_has_no_part_of_it_cannot_pass_it_on() -> None:
    queue_ = Queue()
    queue_.put(threading.Lock())
    child = os.fork()
    if child == 0:
        uses: list[Callable[[], object]] = [
            queue_._share, queue_.close, queue_.qsize, queue_.lost, lambda: queue_.put(1),
        ]  # fmt: skip
        refused = [outcome(lambda _, use=use: use(), None) is TransferError for use in uses]  # type: ignore[misc]
        os._exit(7 if all(refused) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
