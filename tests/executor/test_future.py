"""The lighter future is a standard one to whoever holds it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    InvalidStateError,
    as_completed,
    wait,
)

import pytest

from interruption import ends_by_a_signal
from poolwise.executor.future import CallFuture


def test_it_has_what_the_standard_constructor_sets() -> None:
    """Fails on a Python whose futures have more, which `CallFuture.__init__` must then set."""
    ours = vars(CallFuture[int]()).keys() - {"_guard", "_made"} | {"_condition"}
    assert ours == vars(Future[int]()).keys()


def test_no_condition_is_made_for_a_result_that_is_there_when_it_is_asked_for() -> None:
    future = CallFuture[int]()
    assert not future.cancelled()
    assert not future.running()
    assert future.set_running_or_notify_cancel()
    assert future.running()
    future.set_result(7)
    assert future.done()
    assert future.result() == 7
    assert future._made is None


@pytest.mark.parametrize("end", [lambda f: f.set_result(1), lambda f: f.set_exception(OSError())])
def test_it_ends_once(end) -> None:
    future = CallFuture[int]()
    end(future)
    with pytest.raises(InvalidStateError):
        future.set_result(2)
    with pytest.raises(InvalidStateError):
        future.set_exception(ValueError())
    assert not future.cancel()


def test_a_cancelled_call_does_not_start() -> None:
    future = CallFuture[int]()
    assert future.cancel()
    assert future.cancelled()
    assert future.done()
    assert not future.set_running_or_notify_cancel()
    with pytest.raises(CancelledError):
        future.result()
    with pytest.raises(InvalidStateError):
        future.set_result(1)


def test_one_that_runs_does_not_start_again() -> None:
    future = CallFuture[int]()
    future.set_running_or_notify_cancel()
    with pytest.raises(RuntimeError):
        future.set_running_or_notify_cancel()


def test_what_the_call_raised_is_raised() -> None:
    future = CallFuture[int]()
    future.set_exception(OSError("no"))
    with pytest.raises(OSError, match="no"):
        future.result()
    assert isinstance(future.exception(), OSError)


def test_waiting_has_its_time_out() -> None:
    with pytest.raises(TimeoutError):
        CallFuture[int]().result(timeout=0.001)


def test_callbacks_run_once_whether_added_before_or_after() -> None:
    future, called = CallFuture[int](), []
    future.add_done_callback(called.append)
    future.set_result(1)
    future.add_done_callback(called.append)
    assert called == [future, future]


def test_the_standard_ways_to_wait_know_it() -> None:
    futures = [CallFuture[int]() for _ in range(3)]
    futures[1].set_result(1)
    done, _ = wait(futures, return_when=FIRST_COMPLETED)
    assert done == {futures[1]}
    setter = threading.Thread(target=lambda: [futures[n].set_result(n) for n in (2, 0)])
    setter.start()
    assert {future.result() for future in as_completed(futures, timeout=30)} == {0, 1, 2}
    setter.join(30)


def test_nobody_waits_for_ever_however_setting_and_waiting_interleave() -> None:
    """Two threads wait, one from before and one about when the result is set."""
    rounds = 2_000
    futures = [CallFuture[int]() for _ in range(rounds)]
    start = threading.Barrier(3)
    seen: list[list[int]] = [[], []]

    def read(into: list[int]) -> None:
        start.wait(30)
        into.extend(future.result(timeout=30) for future in futures)

    readers = [threading.Thread(target=read, args=(into,)) for into in seen]
    for reader in readers:
        reader.start()
    start.wait(30)
    for number, future in enumerate(futures):
        assert future.set_running_or_notify_cancel()
        future.set_result(number)
    for reader in readers:
        reader.join(60)
    assert seen == [list(range(rounds))] * 2


def _kill(future: CallFuture[int]) -> None:
    future.kill = lambda _: None
    assert future.set_running_or_notify_cancel()
    assert future.cancel()


@pytest.mark.parametrize("condition", [False, True])
@pytest.mark.parametrize(
    "end",
    [lambda f: f.set_result(1), lambda f: f.set_exception(OSError()), CallFuture.cancel, _kill],
)
def test_every_end_wakes_all_who_wait(end, condition) -> None:
    future = CallFuture[int]()
    if condition:  # made before anybody waits, and not after that
        assert future._condition
    waiting = [threading.Thread(target=future._wait, args=(60,)) for _ in range(2)]
    for each in waiting:
        each.start()
    until = time.monotonic() + 30
    while len(future._sleepers or ()) < 2 and time.monotonic() < until:
        time.sleep(0.001)
    end(future)
    for each in waiting:
        each.join(30)
        assert not each.is_alive()


@pytest.mark.parametrize("end", [lambda f: f.set_result(1), lambda f: f.cancel()])
def test_an_end_that_a_signal_handler_gives_while_somebody_begins_to_wait_is_seen(
    end, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard does not keep it out: it runs in the thread that has it."""
    future = CallFuture[int]()
    who_sleeps, ends = CallFuture._who_sleeps, [end]

    def interrupted(self: CallFuture[int]) -> object:
        sleepers = who_sleeps(self)
        if ends:
            ends.pop()(self)
        return sleepers

    monkeypatch.setattr(CallFuture, "_who_sleeps", interrupted)
    future._wait(60)
    assert future._sleepers == []


def test_whoever_waits_no_longer_is_forgotten() -> None:
    future = CallFuture[int]()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            future.result(timeout=0.001)
    assert future._sleepers == []


@pytest.mark.parametrize("ask", [CallFuture.result, CallFuture.exception])
@pytest.mark.parametrize("timeout", [None, 60.0])
def test_waiting_ends_by_a_signal_that_another_thread_was_given(ask, timeout) -> None:
    future = CallFuture[int]()
    assert ends_by_a_signal(
        lambda: ask(future, timeout), CallFuture._wait.__code__, lambda: future.set_result(1)
    )
    assert not future.done()


def test_waiting_in_vain_ends_when_the_time_is_over() -> None:
    future = CallFuture[int]()
    for timeout in (0, -1, 0.01, 0.12):
        with pytest.raises(TimeoutError):
            future.result(timeout)
        with pytest.raises(TimeoutError):
            future.exception(timeout)
    assert future.set_running_or_notify_cancel()
