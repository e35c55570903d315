"""`poolwise.Executor` is a `concurrent.futures.Executor`, under every plan and when things fail."""

from __future__ import annotations

import asyncio
import concurrent.futures as cf
import contextlib
import gc
import itertools
import os
import pickle
import queue
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

import pytest

import poolwise
from executor.calls import (
    DEADLINE,
    SETTINGS,
    Gate,
    Thing,
    capture,
    die_on,
    fail,
    identity,
    make_thing,
    raise_with,
    square,
    stop_on_one,
    time_out_on_one,
    use_settings,
    where,
)
from poolwise import Barrier  # now, and with it ctypes, which keeps its library open
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.functions import Seen
from poolwise.executor.learning import Learning
from poolwise.executor.submission import Submission
from poolwise.executor.submissions import Submissions
from poolwise.ipc import Inbox
from poolwise.machine import MachineProfile, this_machine
from poolwise.mechanisms.process_pool import ProcessPool
from poolwise.mechanisms.running import Running
from thorough import thorough

#: Every kind of plan; ``None`` lets poolwise choose.
PLANS = ["thread:4", "process:2x3", None, *thorough("inline", "thread:1", "process:1")]

#: One of each kind that runs several calls at once.
WIDE_PLANS = ["thread:4", "process:2x3", None]

Make = Callable[..., poolwise.Executor]


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path)
    yield gate
    gate.close()


@pytest.fixture
def make(gate: Gate) -> Iterator[Make]:
    """Makes executors that are shut down at the end, whatever their calls wait for."""
    made = []

    def make(plan: str | None = None, **options: Any) -> poolwise.Executor:
        made.append(poolwise.Executor(plan=plan, **options))
        return made[-1]

    yield make
    gate.let_go(1000)
    for pool in made:
        pool.shutdown(cancel_futures=True)


@pytest.fixture(params=PLANS, ids=str)
def pool(request: pytest.FixtureRequest, make: Make) -> poolwise.Executor:
    return make(request.param)


@pytest.fixture(params=WIDE_PLANS, ids=str)
def wide_pool(request: pytest.FixtureRequest, make: Make) -> poolwise.Executor:
    return make(request.param)


def result(future: cf.Future[Any]) -> Any:
    return future.result(DEADLINE)


@contextlib.contextmanager
def ctrl_c() -> Iterator[None]:
    """Interrupts the block: one KeyboardInterrupt is raised in it, and expected to come out.

    The signal is repeated, because one that arrives just before this thread begins to wait is
    not seen until it has waited.
    """
    caught = threading.Event()

    def handle(*_: object) -> None:
        if not caught.is_set():
            caught.set()
            raise KeyboardInterrupt

    def press() -> None:
        while not caught.wait(0.02):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    before = signal.signal(signal.SIGINT, handle)
    pressing = threading.Thread(target=press)
    try:
        pressing.start()
        yield
    except KeyboardInterrupt:
        pass
    else:
        pytest.fail("Ctrl-C was not seen")
    finally:
        caught.set()
        pressing.join()
        signal.signal(signal.SIGINT, before)


def dispatchers() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name == "poolwise-dispatcher"}


# ---- calls and futures ---------------------------------------------------------------------------


def test_a_call_runs_and_its_future_is_a_standard_one(pool: poolwise.Executor) -> None:
    future = pool.submit(square, 7)
    assert isinstance(pool, cf.Executor)
    assert isinstance(future, cf.Future)
    assert result(future) == 49
    assert future.done()
    assert not future.cancel()


def test_any_keyword_belongs_to_the_call(pool: poolwise.Executor) -> None:
    assert result(pool.submit(capture, 1, self=2, fn=3, timeout=4)) == (
        (1,),
        {"self": 2, "fn": 3, "timeout": 4},
    )
    with pytest.raises(TypeError):
        pool.submit(fn=square, number=1)  # type: ignore[call-arg]


def test_lambdas_and_closures_run(pool: poolwise.Executor) -> None:
    factor = 3
    futures = [pool.submit(lambda number: number * factor, number) for number in range(5)]
    assert [result(future) for future in futures] == [0, 3, 6, 9, 12]


def test_nothing_runs_in_the_callers_thread(pool: poolwise.Executor) -> None:
    places = {result(future) for future in [pool.submit(where) for _ in range(20)]}
    assert where() not in places


def test_an_exception_is_the_calls_own_and_tells_where_it_was_raised(
    pool: poolwise.Executor,
) -> None:
    error = pool.submit(fail, KeyError("missing")).exception(DEADLINE)
    assert type(error) is KeyError
    assert error.args == ("missing",)
    assert "in fail" in "".join(traceback.format_exception(error))
    if error.__traceback__ is not None:  # it was raised in this process
        assert traceback.extract_tb(error.__traceback__)[0].name == "fail"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(1)])
@pytest.mark.fault
def test_no_exception_ends_a_worker(pool: poolwise.Executor, error: BaseException) -> None:
    assert type(pool.submit(fail, error).exception(DEADLINE)) is type(error)
    assert result(pool.submit(square, 2)) == 4


def test_futures_can_be_waited_for_beside_standard_ones(wide_pool: poolwise.Executor) -> None:
    with cf.ThreadPoolExecutor(2) as other:
        futures = {each.submit(square, n) for n in range(20) for each in (wide_pool, other)}
        done, pending = cf.wait(futures, timeout=DEADLINE)
        assert not pending
        assert sorted(each.result() for each in done) == sorted(2 * [n * n for n in range(20)])
        more = [each.submit(square, 3) for each in (wide_pool, other)]
        assert [each.result() for each in cf.as_completed(more, DEADLINE)] == [9, 9]


def test_other_libraries_find_its_size(make: Make) -> None:
    for pool, size in (
        (make(), min(32, (os.cpu_count() or 1) + 4)),
        (make(max_workers=3), 3),
        (make("process:2x3"), 6),
        (make("process:2x3", max_concurrency=5), 5),
        (make("thread:4", max_concurrency=3), 3),
        (make("inline"), 1),
    ):
        assert isinstance(pool._max_workers, Integral)
        assert pool._max_workers == pool.size == size


def test_asyncio_runs_calls_in_it(wide_pool: poolwise.Executor) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(wide_pool, square, number) for number in range(20)]
        with pytest.raises(KeyError, match="missing"):
            await loop.run_in_executor(wide_pool, fail, KeyError("missing"))
        return await asyncio.wait_for(asyncio.gather(*calls), DEADLINE)

    assert asyncio.run(main()) == [number * number for number in range(20)]


@pytest.mark.fault
def test_cancelling_an_asyncio_future_cancels_a_call_that_waits(make: Make, gate: Gate) -> None:
    pool = make("thread:1")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first = loop.run_in_executor(pool, gate)
        waiting = loop.run_in_executor(pool, gate)
        await asyncio.to_thread(gate.await_started)
        waiting.cancel()
        await asyncio.sleep(0)  # the loop passes it on
        gate.let_go(2)
        await first

    asyncio.run(main())
    pool.shutdown()
    assert not gate.started()


# ---- how many at once ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"max_workers": 3},
        {"plan": "thread:3"},
        {"plan": "thread:9", "max_concurrency": 3},
        {"mechanism": "process", "max_workers": 3},
        {"plan": "process:2x3", "max_concurrency": 3},
        {"plan": "process:1x3"},
    ],
    ids=str,
)
def test_never_more_calls_at_once_than_asked_for_and_not_fewer(
    make: Make, gate: Gate, options: dict[str, Any]
) -> None:
    pool, ended = make(**options), threading.Semaphore(0)
    futures = [pool.submit(gate) for _ in range(12)]
    for future in futures:
        future.add_done_callback(lambda _: ended.release())
    gate.await_started(3)
    started = 3
    for count in range(1, 13):
        gate.let_go()
        assert ended.acquire(timeout=DEADLINE)
        started += gate.started()
        assert started <= count + 3
    assert started == len([result(future) for future in futures])


def test_a_program_that_relies_on_the_standard_width_runs(make: Make) -> None:
    width = cf.ThreadPoolExecutor()._max_workers
    barrier = threading.Barrier(width)
    pool = make()
    futures = [pool.submit(barrier.wait, DEADLINE) for _ in range(width)]
    assert sorted(result(future) for future in futures) == list(range(width))


def test_the_standard_width_is_there_whatever_the_quota(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = MachineProfile(replace(this_machine().facts, usable_cpus=0.5))
    monkeypatch.setattr("poolwise.executor.executor.this_machine", lambda: few)
    width = min(32, (os.cpu_count() or 1) + 4)
    assert make().size == make(mechanism="thread").size == width


def threads_named(prefix: str) -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith(f"{prefix}_")]


@pytest.mark.parametrize("plan", ["thread:30", None], ids=str)
def test_a_thread_starts_when_a_call_needs_it(make: Make, gate: Gate, plan: str | None) -> None:
    prepared: list[int] = []
    options: dict[str, Any] = {} if plan else {"max_workers": 30}
    pool = make(
        plan,
        thread_name_prefix="needed",
        initializer=lambda: prepared.append(threading.get_ident()),
        **options,
    )
    result(pool.submit(square, 1))
    assert threads_named("needed") == ["needed_0"]
    assert len(prepared) == 1
    futures = [pool.submit(gate) for _ in range(30)]
    for _ in futures:
        gate.await_started()
    assert len(threads_named("needed")) == len({*prepared}) == 30
    gate.let_go(30)
    for future in futures:
        result(future)


@pytest.mark.parametrize("plan", ["thread:4", None], ids=str)
def test_initializers_may_wait_for_each_other(make: Make, plan: str | None) -> None:
    meeting = threading.Barrier(4)
    options: dict[str, Any] = {} if plan else {"max_workers": 4}
    pool = make(plan, initializer=meeting.wait, initargs=(DEADLINE,), **options)
    futures = [pool.submit(square, number) for number in range(4)]
    assert [result(future) for future in futures] == [0, 1, 4, 9]


class _InProcesses(Learning):
    """Has made up its mind: all calls belong into processes."""

    def begin(self, dispatch: Dispatch) -> None:
        super().begin(dispatch)
        self._open("process")

    def route(self, seen: Seen) -> str:
        return "process" if self._ready("process") else "thread"


def test_calls_that_wait_for_more_others_than_there_are_processes_meet_them(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolwise.executor.routing.Learning", _InProcesses)
    pool = make(max_workers=6)
    while result(pool.submit(os.getpid)) == os.getpid():
        pass  # the processes start
    meeting = Barrier(6, timeout=DEADLINE)
    futures = [pool.submit(meeting.wait) for _ in range(12)]
    assert sorted(result(future) for future in futures) == sorted(2 * [*range(6)])


@pytest.mark.parametrize("plan", ["thread:4", None], ids=str)
def test_calls_may_wait_for_calls_that_were_submitted_later(make: Make, plan: str | None) -> None:
    # Each four that follow one another must run at once, although they come after many short
    # calls, which one would like to send in batches.
    pool = make(plan, **({} if plan else {"max_workers": 4}))
    short = [pool.submit(square, number) for number in range(500)]
    barrier = threading.Barrier(4)
    meetings = [pool.submit(barrier.wait, DEADLINE) for _ in range(100)]
    assert [result(future) for future in short] == [number * number for number in range(500)]
    assert sum(result(future) for future in meetings) == 25 * (0 + 1 + 2 + 3)


def test_short_calls_travel_to_processes_in_batches(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    send = ProcessPool.send
    monkeypatch.setattr(
        ProcessPool, "send", lambda pool, batch: (batches.append(batch.calls), send(pool, batch))
    )
    pool = make("process:2")
    futures = [pool.submit(square, number) for number in range(3000)]
    assert [result(future) for future in futures] == [number * number for number in range(3000)]
    assert sum(batches) >= 3000  # what was taken back is sent again
    assert len(batches) < 1000
    assert batches[0] == 1  # before anything is known of the calls


# ---- nested calls --------------------------------------------------------------------------------


def test_a_callback_submits(wide_pool: poolwise.Executor) -> None:
    done: queue.SimpleQueue[cf.Future[int]] = queue.SimpleQueue()

    def submit_next(future: cf.Future[int]) -> None:
        if future.result() < 1000:
            wide_pool.submit(square, future.result()).add_done_callback(submit_next)
        else:
            done.put(future)

    wide_pool.submit(square, 2).add_done_callback(submit_next)
    assert result(done.get(timeout=DEADLINE)) == 65536


@pytest.mark.parametrize("plan", ["thread:4", None], ids=str)
def test_calls_wait_for_calls_that_they_submit(make: Make, plan: str | None) -> None:
    pool = make(plan)

    def descend(depth: int) -> int:
        return 1 + result(pool.submit(descend, depth - 1)) if depth else 0

    assert [result(pool.submit(descend, 3)) for _ in range(20)] == [3] * 20


def test_a_call_that_ends_its_own_executor_is_told_that_it_cannot_wait(make: Make) -> None:
    pool = make("thread:2")
    with pytest.raises(RuntimeError, match="cannot wait"):
        result(pool.submit(pool.shutdown))
    told: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def end(_: object) -> None:
        try:
            other.shutdown()
        except RuntimeError as error:
            told.put(error)

    other = make("process:1")
    other.submit(square, 1).add_done_callback(end)
    assert "cannot wait" in str(told.get(timeout=DEADLINE))


def test_many_threads_submit_at_once(wide_pool: poolwise.Executor) -> None:
    begin = threading.Barrier(8)

    def use(number: int) -> int:
        begin.wait(DEADLINE)
        return sum(result(wide_pool.submit(square, number)) for _ in range(30))

    with cf.ThreadPoolExecutor(8) as users:
        assert list(users.map(use, range(8))) == [30 * number * number for number in range(8)]


def test_a_signal_handler_may_submit_while_it_interrupts_a_submission(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, nested = make("thread:2"), []
    arrive = Submissions.arrive

    def interrupted(submissions: Submissions, submission: Any) -> None:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGUSR1)
        arrive(submissions, submission)

    before = signal.signal(signal.SIGUSR1, lambda *_: nested.append(pool.submit(square, 4)))
    try:
        monkeypatch.setattr(Submissions, "arrive", interrupted)
        assert result(pool.submit(square, 3)) == 9
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [result(future) for future in nested] == [16]


@pytest.mark.parametrize("put", [False, True], ids=["before it is posted", "before the bell"])
def test_a_signal_handler_may_wait_for_what_it_submits(
    make: Make, monkeypatch: pytest.MonkeyPatch, put: bool
) -> None:
    """Though what it has interrupted was about to tell of all new calls, and cannot go on."""
    pool, nested = make("thread:2"), []
    assert result(pool.submit(square, 2)) == 4
    post = Inbox.post

    def interrupted(inbox: Inbox, action: Any) -> None:
        monkeypatch.undo()
        if put:
            inbox._posted.put(action)
        signal.raise_signal(signal.SIGUSR1)
        if not put:
            post(inbox, action)

    def handle(*_: object) -> None:
        nested.append(result(pool.submit(square, 4)))

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        monkeypatch.setattr(Inbox, "post", interrupted)
        assert result(pool.submit(square, 3)) == 9
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert nested == [16]


# ---- cancelling ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("plan", "sent"), [("thread:1", 1), (None, 1), ("process:1", 2)], ids=str)
@pytest.mark.fault
def test_what_waits_can_be_cancelled_and_what_runs_cannot(
    make: Make, gate: Gate, plan: str | None, sent: int
) -> None:
    # A process has its next call already; threads decide at the last moment.
    pool = make(plan, **({} if plan else {"max_workers": 1}))
    futures = [pool.submit(gate, number) for number in range(5)]
    gate.await_started()
    assert futures[0].running()
    assert not futures[0].cancel()
    assert [future.cancel() for future in futures[2:]] == [True] * 3
    gate.let_go(5)
    assert [result(future) for future in futures[:2]] == [0, 1]
    # Those who wait for it hear of a cancelled future too.
    assert not cf.wait(futures, DEADLINE).not_done
    assert all(future.cancelled() for future in futures[2:])
    pool.shutdown()
    gate.await_started(1)
    assert not gate.started()


@pytest.mark.fault
def test_of_calls_that_are_cancelled_at_any_moment_each_runs_or_not(make: Make) -> None:
    pool, ran = make("thread:4"), set()
    futures = [pool.submit(ran.add, number) for number in range(2000)]
    chance = random.Random(1)
    for future in chance.sample(futures, len(futures)):
        future.cancel()
    pool.shutdown()
    assert all(future.done() for future in futures)
    assert ran == {number for number, future in enumerate(futures) if not future.cancelled()}


@pytest.mark.fault
def test_callbacks_that_raise_harm_nobody(
    pool: poolwise.Executor, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    for error in (ValueError("of a callback"), SystemExit(1)):
        future = pool.submit(gate, 4)
        future.add_done_callback(lambda _, error=error: fail(error))  # type: ignore[misc]
        gate.let_go()
        assert result(future) == 4
    assert result(pool.submit(square, 3)) == 9
    pool.shutdown()
    assert len([record for record in caplog.records if "callback" in record.message]) == 2


@pytest.mark.fault
def test_futures_that_somebody_else_ends_harm_nobody(
    wide_pool: poolwise.Executor, gate: Gate
) -> None:
    running = wide_pool.submit(gate)
    gate.await_started()
    running.set_result("from elsewhere")
    waiting = [wide_pool.submit(gate, number) for number in range(20)]
    waiting[-1].set_result("from elsewhere")
    gate.let_go(21)
    assert [result(future) for future in waiting] == [*range(19), "from elsewhere"]
    assert result(running) == "from elsewhere"


# ---- map -----------------------------------------------------------------------------------------


def test_map_is_ordered_and_pairs_like_zip(pool: poolwise.Executor) -> None:
    assert list(pool.map(square, range(100))) == [number * number for number in range(100)]
    assert list(pool.map(pow, [2, 3, 4], itertools.count(1), chunksize=3)) == [2, 9, 64]
    assert list(pool.starmap(pow, [(2, 5), [3, 2]])) == [32, 9]
    assert list(pool.map(square, [])) == list(pool.map(square)) == []


def test_map_starts_at_once_and_draws_everything(make: Make, gate: Gate) -> None:
    inputs = iter(range(3))
    results = make("thread:1").map(gate, inputs)
    gate.await_started()
    assert next(inputs, None) is None
    gate.let_go(3)
    assert list(results) == [0, 1, 2]


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_a_buffer_bounds_what_is_drawn_ahead(make: Make, size: int) -> None:
    inputs = itertools.count()
    results = make("thread:2").map(square, inputs, buffersize=size)
    assert next(inputs) == size
    assert [next(results) for _ in range(3)] == [0, 1, 4][: min(3, size)] + [
        number * number for number in range(size + 1, 4)
    ][: max(0, 3 - size)]
    assert next(inputs) == size + 4


def test_iteration_goes_on_after_exceptions(pool: poolwise.Executor) -> None:
    for own in (time_out_on_one, stop_on_one):
        for timeout in (None, DEADLINE):
            results = pool.map(own, range(4), timeout=timeout)
            assert next(results) == 0
            # What would end the iteration early is wrapped.
            with pytest.raises((TimeoutError, RuntimeError), match=r"its own|StopIteration"):
                next(results)
            assert list(results) == [2, 3]


def test_map_gives_up_after_its_timeout_and_cancels_the_rest(make: Make, gate: Gate) -> None:
    pool = make("thread:1")
    blocker = pool.submit(gate)
    gate.await_started()
    results = pool.map(gate, range(3), timeout=0.01)
    with pytest.raises(TimeoutError):
        next(results)
    assert list(results) == []
    gate.let_go()
    result(blocker)
    pool.shutdown()
    assert not gate.started()


@pytest.mark.fault
def test_closing_results_cancels_what_has_not_started(make: Make, gate: Gate) -> None:
    for end in (lambda results: results.close(), lambda results: None):
        pool = make("thread:1")
        results = pool.map(gate, range(9))
        gate.let_go()
        assert next(results) == 0
        gate.await_started(2)
        end(results)
        del results
        gate.let_go()
        pool.shutdown()
        assert not gate.started()


def test_results_that_nobody_reads_are_computed(make: Make) -> None:
    ran: list[int] = []
    with make("thread:1") as pool:
        pool.map(ran.append, range(100))
    assert ran == list(range(100))


def test_an_input_that_cannot_be_had_comes_at_its_place(make: Make) -> None:
    def inputs() -> Iterator[int]:
        yield 0
        yield 1
        raise KeyError("no more")

    results = make("thread:2").map(square, inputs(), buffersize=1)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(KeyError, match="no more"):
        next(results)
    assert list(results) == []
    with pytest.raises(KeyError, match="no more"):
        make("thread:2").map(square, inputs())


def test_what_cannot_be_submitted_after_shutdown_is_said_at_its_place(make: Make) -> None:
    pool = make("thread:2")
    results = pool.map(square, range(4), buffersize=2)
    pool.shutdown()
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(RuntimeError, match="after shutdown"):
        next(results)
    assert list(results) == []


def test_map_checks_its_options(make: Make) -> None:
    for options, error, text in (
        ({"chunksize": 0}, ValueError, "chunksize must be >= 1, not 0"),
        ({"buffersize": 0}, ValueError, "buffersize must be None or > 0, not 0"),
        ({"buffersize": 2.0}, TypeError, "buffersize must be an integer or None, not 2.0"),
    ):
        inputs = iter([1])
        with pytest.raises(error, match=text):
            make("thread:1").map(square, inputs, **options)  # type: ignore[arg-type]
        assert next(inputs) == 1


@pytest.mark.fault
def test_ctrl_c_while_a_result_is_awaited_cancels_the_rest(make: Make, gate: Gate) -> None:
    pool = make("thread:1")
    results = pool.map(gate, range(9))
    gate.await_started()
    with ctrl_c():
        next(results)
    gate.let_go()
    pool.shutdown()
    assert not gate.started()


# ---- the end -------------------------------------------------------------------------------------


@pytest.mark.fault
def test_after_shutdown_nothing_can_be_submitted(pool: poolwise.Executor) -> None:
    future = pool.submit(square, 3)
    pool.shutdown()
    assert future.result(0) == 9
    for use in (partial(pool.submit, square, 3), partial(pool.map, square, [3])):
        with pytest.raises(RuntimeError, match="shutdown"):
            use()
    pool.shutdown()
    pool.shutdown(wait=False, cancel_futures=True)


@pytest.mark.fault
def test_an_executor_without_calls_ends_and_starts_nothing(make: Make) -> None:
    before = dispatchers()
    with make():
        assert dispatchers() == before
    make().shutdown(cancel_futures=True)


@pytest.mark.fault
def test_leaving_a_block_waits_for_its_calls(wide_pool: poolwise.Executor) -> None:
    with contextlib.suppress(KeyError), wide_pool:
        futures = list(map(partial(wide_pool.submit, square), range(50)))
        raise KeyError("of the block")
    assert [future.result(0) for future in futures] == [number * number for number in range(50)]


@pytest.mark.fault
def test_shutdown_without_waiting_lets_calls_end(wide_pool: poolwise.Executor, gate: Gate) -> None:
    futures = [wide_pool.submit(gate, number) for number in range(9)]
    wide_pool.shutdown(wait=False)
    gate.let_go(9)
    assert [result(future) for future in futures] == list(range(9))


@pytest.mark.parametrize("plan", ["thread:2", None], ids=str)
@pytest.mark.fault
def test_shutdown_cancels_at_once_all_that_has_not_started(
    make: Make, gate: Gate, plan: str | None
) -> None:
    pool = make(plan, **({} if plan else {"max_workers": 2}))
    futures = [pool.submit(gate, number) for number in range(30)]
    gate.await_started(2)
    pool.shutdown(wait=False, cancel_futures=True)
    assert [future.cancelled() for future in futures] == [False] * 2 + [True] * 28
    done, _ = cf.wait(futures[2:], DEADLINE)
    assert len(done) == 28
    gate.let_go(2)
    assert [result(future) for future in futures[:2]] == [0, 1]
    pool.shutdown()
    assert not gate.started()


@pytest.mark.fault
def test_shutdown_cancels_what_was_not_sent_to_a_process(make: Make, gate: Gate) -> None:
    pool = make("process:1")
    futures = [pool.submit(gate, number) for number in range(9)]
    gate.await_started()
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in futures[2:])
    gate.let_go(2)
    assert result(futures[0]) == 0
    assert futures[1].cancelled() or result(futures[1]) == 1  # it may have gone ahead


@pytest.mark.fault
def test_a_call_submitted_while_others_shut_down_runs_or_is_refused(
    wide_pool: poolwise.Executor,
) -> None:
    begin = threading.Barrier(4)

    def submit_until_refused(_: object) -> list[cf.Future[int]]:
        begin.wait(DEADLINE)
        futures = []
        with contextlib.suppress(RuntimeError):
            while True:
                futures.append(wide_pool.submit(square, len(futures)))
        return futures

    with cf.ThreadPoolExecutor(3) as users:
        all_futures = users.map(submit_until_refused, range(3))
        begin.wait(DEADLINE)
        wide_pool.shutdown()
        for futures in all_futures:
            assert [each.result(0) for each in futures] == [n * n for n in range(len(futures))]


@pytest.mark.parametrize("plan", WIDE_PLANS, ids=str)
@pytest.mark.fault
def test_an_executor_that_nobody_holds_finishes_its_work_and_ends(
    gate: Gate, plan: str | None
) -> None:
    before = dispatchers()
    pool = poolwise.Executor(plan=plan)
    futures = [pool.submit(gate, number) for number in range(9)]
    (thread,) = dispatchers() - before
    gate.await_started()
    gone = weakref.ref(pool)
    del pool
    assert gone() is None
    gate.let_go(9)
    assert [result(future) for future in futures] == list(range(9))
    thread.join(DEADLINE)
    assert not thread.is_alive()


def test_results_outlive_their_executor() -> None:
    before = dispatchers()
    assert list(poolwise.Executor(2).map(square, range(9))) == [n * n for n in range(9)]
    results = poolwise.Executor(2).map(square, range(9), buffersize=2)
    assert list(results) == [n * n for n in range(9)]
    del results
    for thread in dispatchers() - before:
        thread.join(DEADLINE)
        assert not thread.is_alive()


@pytest.mark.fault
def test_a_thousand_executors_leave_nothing() -> None:
    for number in range(1000):
        with poolwise.Executor(plan="thread:1") as pool:
            assert result(pool.submit(square, number)) == number * number
    # What is left is seen by the fixture that watches every test.


def test_what_is_let_go_is_not_kept(pool: poolwise.Executor) -> None:
    gc.disable()  # nothing needs it
    try:
        for use in (
            lambda thing: pool.submit(identity, thing),
            lambda thing: pool.submit(thing.method),
            lambda thing: pool.submit(raise_with, thing),
            lambda thing: pool.submit(lambda: thing),
        ):
            gone = threading.Event()
            thing = Thing()
            weakref.finalize(thing, gone.set)
            future = use(thing)
            cf.wait([future], DEADLINE)
            del thing, future
            assert gone.wait(DEADLINE)
        things = pool.map(make_thing, range(5))
        for thing in things:
            gone = weakref.ref(thing)
            del thing
            assert gone() is None
    finally:
        gc.enable()


def test_calls_in_processes_see_variables_as_they_are_when_the_call_is_sent(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make("process:1")
    for number in range(6):
        monkeypatch.setitem(SETTINGS, "level", number // 2)
        # Small variables are looked at again before almost every batch.
        while result(pool.submit(use_settings, number))[0] != number // 2:
            pass
        # What calls there have made of a variable that nobody changes here stays.
        assert result(pool.submit(use_settings, number)) == (number // 2, number + 1)


def test_an_executor_cannot_be_sent_away(make: Make) -> None:
    with pytest.raises(pickle.PicklingError, match="an executor stays in its process"):
        pickle.dumps(make())


# ---- things that fail ----------------------------------------------------------------------------


@pytest.mark.fault
def test_a_dead_worker_costs_only_the_call_it_ran(make: Make) -> None:
    pool = make("process:2")
    futures = [pool.submit(die_on, number, 23) for number in range(60)]
    error = futures[23].exception(DEADLINE)
    assert isinstance(error, poolwise.WorkerCrashed)
    assert isinstance(error, cf.BrokenExecutor)
    assert "die_on" in str(error)
    assert "SIGKILL" in str(error)
    rest = futures[:23] + futures[24:]
    assert [result(future) for future in rest] == [*range(23), *range(24, 60)]
    assert result(pool.submit(square, 3)) == 9


@pytest.mark.fault
def test_what_cannot_be_sent_fails_alone(make: Make) -> None:
    pool = make("process:1")
    lock = threading.Lock()
    good = [pool.submit(identity, number) for number in range(10)]
    bad = pool.submit(identity, lock)
    worse = pool.submit(partial(identity), lambda: lock)
    good += [pool.submit(identity, number) for number in range(10, 20)]
    for future in (bad, worse, pool.submit(threading.Lock)):
        error = future.exception(DEADLINE)
        assert isinstance(error, poolwise.TransferError)
        assert 'mechanism="thread"' in str(error)  # what to do
        assert "a poolwise.Lock can be sent" in str(error)
    assert [result(future) for future in good] == list(range(20))


class Raising:
    """Raises what is no `Exception` where it is pickled, or where it is read."""

    def __init__(self, error: type[BaseException], there: bool) -> None:
        self.error, self.there = error, there

    def __reduce__(self) -> Any:
        if not self.there:
            raise self.error("no")
        return raise_one, (self.error,)


def raise_one(error: type[BaseException]) -> Any:
    raise error("no")


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError, KeyboardInterrupt])
def test_what_raises_no_exception_when_it_is_sent_or_read_fails_alone(
    make: Make, error: type[BaseException]
) -> None:
    """It comes from no signal handler: these run in the main thread."""
    pool = make("process:1")
    good = [pool.submit(identity, number) for number in range(5)]
    bad = [
        pool.submit(identity, Raising(error, False)),
        pool.submit(identity, [Raising(error, False)]),
        pool.submit(identity, Raising(error, True)),
        pool.submit(Raising, error, True),
    ]
    good += [pool.submit(identity, number) for number in range(5, 10)]
    for future in bad:
        assert isinstance(future.exception(DEADLINE), poolwise.TransferError), future
    assert [result(future) for future in good] == list(range(10))


class Untold(OSError):
    def __reduce__(self) -> Any:
        raise TypeError("no")


def raise_untold(_: object) -> None:
    raise Untold("no")


def test_an_exception_that_does_not_pickle_is_said_to_be_of_the_function(make: Make) -> None:
    error = make("process:1").submit(raise_untold, 1).exception(DEADLINE)
    assert isinstance(error, poolwise.TransferError)
    assert str(error).startswith("raise_untold raised an exception that cannot be pickled")


@pytest.mark.parametrize("mechanism", ["thread", "auto"])
def test_any_number_of_threads_may_be_asked_for(mechanism: str) -> None:
    """They start on demand; many say so that they have no limit."""
    with poolwise.Executor(10**9, mechanism=mechanism) as pool:
        assert list(pool.map(identity, range(20))) == list(range(20))


@pytest.fixture
def inject(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str, int], Iterator[int]]:
    """Makes a method fail once, after some calls; counts them."""

    def inject(cls: type, method: str, after: int) -> Iterator[int]:
        works, calls = getattr(cls, method), itertools.count()

        def fails(*args: Any) -> Any:
            if next(calls) == after:
                raise ZeroDivisionError("injected")
            return works(*args)

        monkeypatch.setattr(cls, method, fails)
        return calls

    return inject


def assert_own_fault(error: BaseException) -> None:
    """It is told from an error of the call, says what to do, and where it was."""
    assert isinstance(error, poolwise.PoolFailed)
    assert isinstance(error, cf.BrokenExecutor)
    assert "ZeroDivisionError: injected; if this is a fault of poolwise, please report it" in str(
        error
    )
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert "in fails" in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize(
    ("cls", "method", "after"),
    [
        (Dispatch, "fill", 3),
        (Dispatch, "done", 5),
        (Dispatch, "open", 0),
        (Submissions, "draw", 5),
        (Submissions, "add", 3),
        (Submissions, "_put", 6),
    ],
)
@pytest.mark.fault
def test_when_the_dispatcher_fails_every_future_does_and_the_next_call_runs(
    make: Make,
    inject: Callable[..., Iterator[int]],
    plan: str | None,
    cls: type,
    method: str,
    after: int,
) -> None:
    calls = inject(cls, method, after)
    pool = make(plan)
    futures = [pool.submit(square, number) for number in range(200)]
    cf.wait(futures, DEADLINE)
    for number, future in enumerate(futures):
        error = future.exception(0)
        if error is None:
            assert future.result() == number * number
        else:
            assert_own_fault(error)
    assert next(calls) > after
    assert result(pool.submit(square, 3)) == 9


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.fault
def test_who_submits_again_at_the_sight_of_the_failure_is_served(
    make: Make, inject: Callable[..., Iterator[int]], plan: str | None
) -> None:
    """While others are still being told, in the very thread that tells them."""
    inject(Dispatch, "fill", 3)
    pool = make(plan)
    again: list[cf.Future[int]] = []

    def once_more(future: cf.Future[int]) -> None:
        if future.exception() is not None:
            again.append(pool.submit(square, 3))

    futures = [pool.submit(square, number) for number in range(50)]
    for future in futures:
        future.add_done_callback(once_more)
    cf.wait(futures, DEADLINE)
    assert again
    assert {result(future) for future in again} == {9}


@pytest.mark.parametrize("plan", ["inline", "thread:4", None], ids=str)
@pytest.mark.parametrize(
    ("cls", "method"), [(Running, "run"), (Submission, "begin"), (Submission, "run")]
)
@pytest.mark.fault
def test_when_a_worker_thread_fails_every_future_ends_and_the_next_call_runs(
    make: Make, inject: Callable[..., Iterator[int]], plan: str | None, cls: type, method: str
) -> None:
    calls = inject(cls, method, 5)
    pool = make(plan)
    futures = [pool.submit(square, number) for number in range(200)]
    assert not cf.wait(futures, DEADLINE).not_done
    errors = [error for error in (future.exception(0) for future in futures) if error]
    assert errors
    for error in errors:
        assert_own_fault(error)
    assert next(calls) > 5
    assert result(pool.submit(square, 3)) == 9


@pytest.mark.fault
def test_without_any_thread_a_call_is_refused_or_fails(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(refused):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    pool = make("thread:2")
    refused = "poolwise-dispatcher"
    with pytest.raises(RuntimeError, match="can't start"):
        pool.submit(square, 3)
    refused = "poolwise-"
    monkeypatch.setattr(threading.Thread, "start", refuse)
    refused = "poolwise-0"
    error = pool.submit(square, 3).exception(DEADLINE)
    assert isinstance(error, poolwise.PoolFailed)
    assert isinstance(error, cf.thread.BrokenThreadPool)
    refused = "nothing"
    assert result(pool.submit(square, 3)) == 9


@pytest.mark.fault
def test_ctrl_c_while_a_future_is_awaited_harms_nothing(make: Make, gate: Gate) -> None:
    pool = make("thread:1")
    future = pool.submit(gate, "value")
    with ctrl_c():
        future.result(DEADLINE)
    gate.let_go()
    assert result(future) == "value"
    assert result(pool.submit(square, 3)) == 9


# ---- whole programs ------------------------------------------------------------------------------


def run(program: str, *, code: int = 0) -> list[str]:
    """Run a program to its end and return the lines that it wrote, sorted."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (ended.returncode, ended.stderr) == (code, "")
    return sorted(ended.stdout.splitlines())


@pytest.mark.parametrize("plan", ["thread:2", "process:2", None], ids=str)
@pytest.mark.parametrize("end", ["", "pool.shutdown(wait=False)", "del pool", "sys.exit(0)"])
@pytest.mark.fault
def test_what_was_submitted_is_finished_at_the_end_of_the_program(
    plan: str | None, end: str
) -> None:
    assert run(
        f"""
        import os, sys, time, poolwise
        def call(number):
            time.sleep(0.01)
            os.write(1, b"%d\\n" % number)
        pool = poolwise.Executor(plan={plan!r})
        for number in range(8):
            pool.submit(call, number)
        {end}
        """
    ) == [str(number) for number in range(8)]


@pytest.mark.parametrize("plan", ["thread:2", "process:2", "inline", None], ids=str)
@pytest.mark.fault
def test_daemon_threads_that_go_on_submitting_do_not_keep_the_program(plan: str | None) -> None:
    assert (
        run(
            f"""
        import threading, time, poolwise
        pool = poolwise.Executor(plan={plan!r})
        begun = threading.Semaphore(0)
        def go_on():
            try:
                while True:
                    pool.submit(time.sleep, 0.01).result()
                    begun.release()
            except RuntimeError as error:
                assert "after interpreter shutdown" in str(error), error
        for _ in range(3):
            threading.Thread(target=go_on, daemon=True).start()
        for _ in range(6):
            begun.acquire()
        """
        )
        == []
    )


@pytest.mark.fault
def test_calls_that_run_at_the_end_of_the_program_may_submit_others() -> None:
    assert run(
        """
        import os, threading, poolwise
        from concurrent.futures import ThreadPoolExecutor
        def say(text):
            os.write(1, f"{text}\\n".encode())
        pool, standard, ending = poolwise.Executor(2), ThreadPoolExecutor(1), threading.Event()
        threading._register_atexit(ending.set)
        def call(depth):
            ending.wait()
            if depth:
                pool.submit(call, depth - 1)
            else:
                poolwise.Executor(2).submit(say, "other executors start")
                standard.submit(say, "standard executors work").result()
            say(depth)
        def late():
            threading.main_thread().join()
            say(f"late {pool.submit(pow, 2, 3).result()}")
        threading.Thread(target=late).start()
        pool.submit(call, 3)
        """
    ) == ["0", "1", "2", "3", "late 8", "other executors start", "standard executors work"]


@pytest.mark.fault
def test_what_exit_handlers_submit_is_refused_because_nobody_would_wait_for_it() -> None:
    assert run(
        """
        import atexit, poolwise
        pool = poolwise.Executor(2)
        assert pool.submit(pow, 2, 3).result() == 8
        @atexit.register
        def late():
            try:
                pool.submit(print, "lost")
            except RuntimeError as error:
                print(error)
        """
    ) == ["cannot schedule new futures after interpreter shutdown"]


@pytest.mark.fault
def test_a_child_that_the_user_forks_ends_and_has_executors_of_its_own() -> None:
    assert run(
        """
        import os, sys, threading, warnings, poolwise
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        pools = [poolwise.Executor(plan=plan) for plan in ("thread:2", "process:2", None)]
        hold, busy = threading.Event(), threading.Event()
        def wait():
            busy.set()
            hold.wait()
        running = pools[0].submit(wait)
        assert busy.wait(20)
        assert [pool.submit(pow, 2, 3).result(20) for pool in pools] == [8, 8, 8]
        # Another thread is in the middle of submitting, whenever that is.
        stop = threading.Event()
        def submit():
            while not stop.is_set():
                pools[0].submit(pow, 2, 3)
        submitting = threading.Thread(target=submit)
        submitting.start()
        children = []
        for _ in range(5):
            child = os.fork()
            if not child:
                assert [pool.submit(pow, 2, 4).result(20) for pool in pools] == [16, 16, 16]
                with poolwise.Executor() as own:
                    assert own.submit(pow, 2, 5).result(20) == 32
                pools[0].shutdown()
                os.write(1, b"child\\n")
                sys.exit(0)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 5
        stop.set()
        submitting.join()
        hold.set()
        assert [pool.submit(pow, 2, 3).result(20) for pool in pools] == [8, 8, 8]
        print("parent")
        """
    ) == [*["child"] * 5, "parent"]


@pytest.mark.fault
def test_ctrl_c_ends_a_program_that_waits() -> None:
    program = """
        import os, signal, time, poolwise
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has none
        def call(number):
            if number == 0:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            os.write(1, b"%d\\n" % number)  # two prints at once would not be two lines
        with poolwise.Executor(1) as pool:
            try:
                for _ in pool.map(call, range(1000)):
                    pass
            except KeyboardInterrupt:
                os.write(1, b"interrupted\\n")
        """
    lines = run(program)
    assert lines[-1] == "interrupted"
    assert len(lines) <= 4


class SlowToRead:
    """Takes longer to be read than any call takes to run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _read_slowly, ()


def _read_slowly() -> SlowToRead:
    time.sleep(0.05)
    return SlowToRead()


@pytest.mark.parametrize("options", [{}, {"task_timeout": 60}])
def test_arguments_that_take_longer_to_read_than_calls_to_run(options: dict[str, Any]) -> None:
    with poolwise.Executor(2, mechanism="process", **options) as pool:
        assert pool.submit(type, 0).result() is int  # calls are known to be short
        futures = [pool.submit(type, SlowToRead()) for _ in range(8)]
        assert [each.result() for each in futures] == [SlowToRead] * 8
    inputs = [SlowToRead() for _ in range(8)]
    assert list(poolwise.map(type, inputs, plan="process:2")) == [SlowToRead] * 8
