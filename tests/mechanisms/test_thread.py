"""Threads: what calls see, and what becomes of a thread that nobody waits for."""

from __future__ import annotations

import contextvars
import gc
import queue
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from poolwise.ipc import Inbox
from poolwise.mechanisms import WorkerOptions, mechanism
from poolwise.mechanisms import thread as thread_module
from poolwise.mechanisms.running import Running
from poolwise.task import Batch, Outcomes, Task
from poolwise.testing import DEADLINE, Opened, RecordingSink, Subject
from poolwise.timing.clock import SystemClock

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def opened(workers: int = 1) -> Opened:
    """A pool whose workers are ready."""
    return Subject(mechanism("thread"), workers).open().start()


class Gate:
    """Holds calls until it is opened, and says that one has come."""

    def __init__(self) -> None:
        self._come, self._go = threading.Event(), threading.Event()

    def __call__(self, value: Any) -> Any:
        self._come.set()
        assert self._go.wait(DEADLINE)
        return value

    def wait(self) -> None:
        assert self._come.wait(DEADLINE)

    def open(self) -> None:
        self._go.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


def test_context_variables_are_those_of_the_owner_when_it_grew_the_pool() -> None:
    token = variable.set("before")
    try:
        with opened(2) as pool:
            variable.set("after")
            for end in pool.run(lambda _: variable.get(), range(4)):
                assert end.value == "before"
            pool.run(lambda _: variable.set("of a call"), [0])
            assert variable.get() == "after"
            pool.pool.grow(1)
            pool.wait(lambda: len(pool.sink.ready_workers) == 3)
            seen = {end.value for end in pool.run(lambda _: variable.get(), range(4))}
            assert seen <= {"before", "after", "of a call"}
    finally:
        variable.reset(token)


def test_as_many_calls_run_at_once_as_there_are_threads() -> None:
    barrier = threading.Barrier(4)
    with opened(4) as pool:
        batches = [pool.send(lambda _: barrier.wait(DEADLINE), [0]) for _ in range(4)]
        pool.wait(lambda: pool.sink.has_ended(*batches))
        places = {pool.sink.ends_of(batch)[0].value for batch in batches}
        assert places == {0, 1, 2, 3}


def test_an_exception_shows_what_a_loop_would_show() -> None:
    def fail(value: object) -> object:
        raise KeyError(value)

    with opened() as pool:
        (end,) = pool.run(fail, ["key"])
        assert isinstance(end.error, KeyError)
        frames = traceback.extract_tb(end.error.__traceback__)
        assert [frame.name for frame in frames] == ["fail"]


def test_an_exception_of_a_builtin_shows_no_frame_at_all() -> None:
    with opened() as pool:
        (end,) = pool.run(int, ["no number"])
        assert isinstance(end.error, ValueError)
        assert end.error.__traceback__ is None


def test_the_very_objects_come_and_go() -> None:
    thing = object()
    with opened() as pool:
        (end,) = pool.run(lambda value: value, [thing])
        assert end.value is thing


def test_arguments_are_let_go_when_their_call_has_ended() -> None:
    class Thing:
        gone = threading.Event()

        def __del__(self) -> None:
            self.gone.set()

    gate = Gate()
    with opened() as pool:
        batch = Batch(Task(lambda value: gate(0) if value is None else 0), ([Thing(), None],))
        pool.pool.send(batch)
        gate.wait()
        batch.columns[0].clear()  # the sender lets go of them too
        assert Thing.gone.wait(DEADLINE)
        gate.open()
        pool.wait(lambda: len(pool.sink.ends.get(batch.id, {})) == 2)


def test_a_call_that_outlasts_the_grace_is_abandoned(gate: Gate) -> None:
    before = set(threading.enumerate())
    with opened(2) as pool:
        started = set(threading.enumerate()) - before
        assert len(started) == 2
        assert all(thread.daemon for thread in started)  # or the interpreter would wait for it
        batch = pool.send(gate, [1, 2])
        gate.wait()
        begin = time.monotonic()
        pool.pool.close(grace=0.05)
        assert 0.05 <= time.monotonic() - begin < DEADLINE / 2
        reports = pool.sink.reports
        gate.open()
        for thread in started:
            thread.join(DEADLINE)
            assert not thread.is_alive()
        pool.inbox.wait(0)
        assert pool.sink.reports == reports
        assert batch.id not in pool.sink.ends


def test_threads_without_a_call_have_ended_when_close_returns() -> None:
    before = set(threading.enumerate())
    with opened(32) as pool:
        pool.run(lambda value: value, range(64))
        pool.pool.close(grace=0.0)
        assert set(threading.enumerate()) == before


def test_threads_that_find_nothing_to_do_end_while_others_run(gate: Gate) -> None:
    before = set(threading.enumerate())
    with opened(4) as pool:
        started = set(threading.enumerate()) - before
        running = pool.send(gate, [1])
        gate.wait()
        ahead = [pool.send(lambda value: value, [number]) for number in range(9)]
        pool.pool.nothing_more()
        assert all(thread.is_alive() for thread in started)  # there is something for each
        pool.wait(lambda: pool.sink.has_ended(*ahead))
        pool.pool.nothing_more()
        (busy,) = wait_for_all_but_one(started)
        late = pool.send(lambda _: threading.current_thread(), [0])
        pool.wait(lambda: pool.sink.has_ended(late))
        assert pool.sink.ends_of(late)[0].value not in started
        assert busy.is_alive()
        gate.open()
        pool.wait(lambda: pool.sink.has_ended(running))
        pool.pool.close(grace=None)
        assert set(threading.enumerate()) == before


def wait_for_all_but_one(threads: set[threading.Thread]) -> set[threading.Thread]:
    """Wait until only one of them is left, and return it in a set."""
    until = time.monotonic() + DEADLINE
    left = set(threads)
    while len(left) > 1 and time.monotonic() < until:
        for thread in left:
            thread.join(0.01)
        left = {thread for thread in left if thread.is_alive()}
    return left


def test_an_initializer_that_lasts_holds_up_no_end(gate: Gate) -> None:
    options = WorkerOptions(initializer=(gate, (None,)))
    inbox = Inbox()
    pool = mechanism("thread").open(options, RecordingSink(), inbox)
    pool.grow(1)
    gate.wait()
    thread = next(each for each in threading.enumerate() if each.name.startswith("poolwise-"))
    pool.close(grace=0.0)
    assert thread.is_alive()  # its end was not waited for
    gate.open()
    thread.join(DEADLINE)
    inbox.close()


def test_an_abandoned_call_may_outlive_the_inbox(gate: Gate) -> None:
    before = set(threading.enumerate())
    with opened() as pool:
        (thread,) = set(threading.enumerate()) - before
        pool.send(gate, [1, 2])
        gate.wait()
    gate.open()
    thread.join(DEADLINE)
    assert not thread.is_alive()


@pytest.mark.parametrize("possible", [0, 2])
def test_threads_that_cannot_be_started(possible: int, monkeypatch: pytest.MonkeyPatch) -> None:
    start, left = threading.Thread.start, possible

    def start_some(thread: threading.Thread) -> None:
        nonlocal left
        if not left:
            raise RuntimeError("can't start new thread")
        left -= 1
        start(thread)

    with Subject(mechanism("thread"), 4).open() as pool:
        waiting = pool.send(str, [1, 2])
        monkeypatch.setattr(threading.Thread, "start", start_some)
        pool.pool.grow(4)
        monkeypatch.undo()
        assert pool.pool.workers == possible
        if possible:
            pool.wait(lambda: pool.sink.has_ended(waiting))
            assert [end.value for end in pool.sink.ends_of(waiting)] == ["1", "2"]
        else:
            pool.wait(lambda: pool.sink.failures)
            assert [end.kind for end in pool.sink.ends_of(waiting)] == ["returned"] * 2


def test_no_more_calls_run_at_once_than_there_are_to_be_threads() -> None:
    """However often nothing more was expected, and something came."""
    barrier = threading.Barrier(3)

    def meet_two_others(_: object) -> str:
        try:
            barrier.wait(0.02)
        except threading.BrokenBarrierError:
            barrier.reset()
            return "alone"
        return "met"

    with opened(2) as pool:
        batches = []
        for _ in range(4):
            batches += [pool.send(meet_two_others, [0]) for _ in range(4)]
            pool.pool.nothing_more()
            batches.append(pool.send(meet_two_others, [0]))
            pool.wait(lambda: pool.sink.has_ended(batches[0]))
        pool.wait(lambda: pool.sink.has_ended(*batches))
        assert {pool.sink.ends_of(batch)[0].value for batch in batches} == {"alone"}


def test_threads_that_an_initializer_has_made_ready_stay() -> None:
    calls: list[int] = []
    options = WorkerOptions(initializer=(calls.append, (1,)))
    inbox, sink = Inbox(), RecordingSink()
    pool = mechanism("thread").open(options, sink, inbox)
    pool.grow(3)
    while len(sink.ready_workers) < 3:
        inbox.wait(DEADLINE)
    for _ in range(3):
        pool.nothing_more()
        batch = Batch(Task(str), ([1],))
        pool.send(batch)
        while batch.id not in sink.ends:
            inbox.wait(DEADLINE)
    pool.close(grace=None)
    inbox.close()
    assert len(calls) == len(sink.ready_workers) == 3


def test_where_no_thread_is_to_be_had_later_one_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with opened(3) as pool:
        pool.pool.nothing_more()
        monkeypatch.setattr(threading.Thread, "start", start)
        batches = [pool.send(str, [number]) for number in range(3)]
        pool.wait(lambda: pool.sink.has_ended(*batches))
        assert not pool.sink.failures


@pytest.mark.parametrize("begun", [True, False])
def test_ctrl_c_while_a_thread_starts_leaves_none(
    begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, number = threading.Thread.start, 0
    before = set(threading.enumerate())
    late: list[threading.Thread] = []

    def start_some(thread: threading.Thread) -> None:
        nonlocal number
        number += 1
        if number == 3:
            late.append(thread)
        if number < 3 or begun:
            start(thread)
        if number == 3:
            raise KeyboardInterrupt

    with Subject(mechanism("thread"), 4).open() as pool:
        monkeypatch.setattr(threading.Thread, "start", start_some)
        with pytest.raises(KeyboardInterrupt):
            pool.pool.grow(4)
        monkeypatch.undo()
        pool.pool.close(grace=None)
    for thread in late:
        if not begun:
            start(thread)
        thread.join(DEADLINE)
    assert set(threading.enumerate()) == before


class Interrupted(queue.SimpleQueue[Any]):
    """Ctrl-C comes when so much has been put into such queues."""

    left = 0

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item)
        Interrupted.left -= 1
        if not Interrupted.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("puts", [1, 2, 3])
def test_ctrl_c_while_threads_are_told_to_end_leaves_none(
    puts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    monkeypatch.setattr(thread_module.queue, "SimpleQueue", Interrupted)
    with opened(4) as pool:
        Interrupted.left = puts
        with pytest.raises(KeyboardInterrupt):
            pool.pool.nothing_more()
        pool.pool.close(grace=None)
        assert set(threading.enumerate()) == before


def test_no_outcome_is_lost_when_a_batch_is_taken_back_as_it_ends() -> None:
    # The owner and the worker race for the last calls, hundreds of times.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with opened(2) as pool:
            for size in range(1, 400):
                batch = pool.send(str, range(size))
                pool.pool.take_back(batch.id)
                pool.wait(lambda: pool.sink.has_ended(batch))
                kinds = [end.kind for end in pool.sink.ends_of(batch)]
                assert kinds == sorted(kinds)
    finally:
        sys.setswitchinterval(interval)


# ---- one batch under way ------------------------------------------------------------------------


class Collecting(Running):
    """Keeps what it delivers."""

    def __init__(self, batch: Batch) -> None:
        self.delivered: list[tuple[int, Outcomes]] = []
        super().__init__(batch, SystemClock(), lambda *each: self.delivered.append(each))


def outcomes_of(running: Collecting, flush_after: float) -> list[tuple[int, Outcomes]]:
    running.run(flush_after)
    return running.delivered


def test_outcomes_are_let_out_while_a_batch_runs() -> None:
    running = Collecting(Batch(Task(time.sleep), ([0.002] * 3,)))
    flushed = outcomes_of(running, flush_after=0.001)
    assert [(first, len(outcomes.values)) for first, outcomes in flushed] == [
        (0, 1),
        (1, 1),
        (2, 1),
    ]
    assert all(outcomes.service >= 0.002 for _, outcomes in flushed)


def test_outcomes_of_short_calls_wait_for_each_other() -> None:
    running = Collecting(Batch(Task(abs), ([*range(1000)],)))
    ((first, outcomes),) = outcomes_of(running, flush_after=DEADLINE)
    assert (first, outcomes.values) == (0, [*range(1000)])


def test_outcomes_are_let_out_although_the_rest_is_taken_back_at_the_last_moment() -> None:
    class Vanishing(deque[Any]):
        """Says that there is something left, and then there is not: it was taken back."""

        def __bool__(self) -> bool:
            left = len(self) > 0
            if len(self) < 3:
                running.take_back()
            return left

    running = Collecting(Batch(Task(abs), ([1, 2, 3],)))
    running._calls = Vanishing(running._calls)
    flushed = outcomes_of(running, flush_after=DEADLINE)
    assert [(first, outcomes.values) for first, outcomes in flushed] == [(0, [1])]


def test_what_is_taken_back_never_runs() -> None:
    ran: list[int] = []

    def call(number: int) -> None:
        ran.append(number)
        if number == 2:
            assert running.take_back() == 7

    running = Collecting(Batch(Task(call), ([*range(10)],)))
    flushed = outcomes_of(running, flush_after=0.0)
    assert ran == [0, 1, 2]
    assert sum(len(outcomes.values) for _, outcomes in flushed) == 3
    assert running.take_back() == 0


def test_threads_of_a_pool_that_nobody_has_closed_end_with_it() -> None:
    before = set(threading.enumerate())
    pool = mechanism("thread").open(WorkerOptions(), RecordingSink(), Inbox())
    pool.grow(3)
    threads = set(threading.enumerate()) - before
    assert len(threads) == 3
    del pool
    gc.collect()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()


@pytest.mark.skipif(sys.version_info < (3, 14), reason="no such interpreters")
def test_where_there_are_no_daemon_threads_a_plain_loop_does() -> None:
    from concurrent import interpreters

    inside = interpreters.create()
    try:
        inside.exec("""
import poolwise
assert list(poolwise.map(abs, range(-50, 0))) == list(range(50, 0, -1))
try:
    list(poolwise.map(abs, range(5), plan="thread:2"))
except poolwise.PoolFailed as error:
    assert "daemon threads are disabled" in str(error), error
else:
    raise AssertionError("it had threads")
""")
    finally:
        inside.close()
