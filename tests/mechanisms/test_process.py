"""Worker processes, with real deaths."""

from __future__ import annotations

import itertools
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from process_calls import (
    Deadly,
    SlowlyUnreadable,
    Unpicklable,
    UnreadableAfter,
    UnreadableIn,
    add_in_child,
    die,
    fail_deep_inside,
    fail_on,
    fail_or_die_on,
    fork_often,
    hold_the_gil,
    leave_a_child,
    make_moody,
    make_too_much,
    make_unpicklable,
    make_unreadable_for,
    process_id,
    raise_it,
    read_flags,
    recurse,
    run_program,
    same,
    surroundings,
    wait_for,
    wait_then_make,
    wait_then_write,
)

import poolwise
from poolwise.errors import TransferError
from poolwise.mechanisms import WorkerOptions, mechanism, servers
from poolwise.mechanisms.ending import _Ends
from poolwise.task import Exit, Outcomes, Task
from poolwise.testing import DEADLINE, End, Opened, Subject
from thorough import thorough

pytestmark = pytest.mark.fault

THREADS = pytest.mark.parametrize("threads", [1, 4], ids=["1 thread", "4 threads"])


@pytest.fixture(autouse=True, params=["forkserver", *thorough("fork")])
def _method(request: pytest.FixtureRequest) -> None:
    """Every test runs with both kinds of servers."""
    global method
    method = request.param


method = ""


def subject(workers: int = 1, threads: int = 1) -> Subject:
    return Subject(mechanism("process"), workers, threads, method)


def opened(workers: int = 1, threads: int = 1) -> Opened:
    """A pool whose workers are ready."""
    return subject(workers, threads).open().start()


def kinds(ends: list[End]) -> list[str]:
    return [end.kind for end in ends]


def values(ends: list[End]) -> list[Any]:
    assert kinds(ends) == ["done"] * len(ends)
    errors = [end.error for end in ends if end.error is not None]
    assert not errors, errors
    return [end.value for end in ends]


def error_of(end: End) -> BaseException:
    assert end.error is not None
    return end.error


def server_pid() -> int:
    return servers.server_for(method, []).pid


@contextmanager
def stopped_server() -> Iterator[int]:
    """Within the block the server does nothing, and so no word of a death comes."""
    with opened():
        pass  # what it was asked for before, it has done by now
    pid = server_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def ending(*pids: int, within: float = 2.0) -> Iterator[None]:
    """After the block, these processes must end within so many seconds."""
    watched = [os.pidfd_open(pid) for pid in pids]
    try:
        yield
        until = time.monotonic() + within
        for descriptor in watched:
            left = max(0.0, until - time.monotonic())
            assert select.select([descriptor], [], [], left)[0], "a process goes on"
    finally:
        for descriptor in watched:
            os.close(descriptor)


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    """A named pipe, at which calls wait."""
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    return path


def let_go(path: str) -> None:
    """Let one call go on that waits at a named pipe; waits for the call to have come there."""
    with open(path, "wb"):
        pass


# ---- death --------------------------------------------------------------------------------------


@THREADS
@pytest.mark.parametrize(
    ("how", "exit"),
    [("exit", (3, None)), ("kill", (None, 9)), ("segfault", (None, 11))],
)
def test_a_death_costs_the_call_that_ran(
    how: str, exit: tuple[int | None, int | None], threads: int
) -> None:
    with opened(threads=threads) as pool:
        (pid,) = values(pool.run(process_id, [0]))
        ends = pool.run(die, ["not yet", how, "never", "never"])
        assert kinds(ends)[1:] == ["lost", "returned", "returned"]
        assert ends[1].exit == Exit(pid, *exit)
        pool.wait(lambda: len(pool.sink.ready_workers) == 2)
        assert pool.sink.gone_workers == [(0, Exit(pid, *exit))]
        assert values(pool.run(process_id, [0])) != [pid]


def test_a_death_costs_the_neighbours_in_the_same_process_too(pipe: str) -> None:
    with opened(threads=4) as pool, open(pipe, "r+b", buffering=0):
        running = [pool.send(wait_for, [pipe, pipe]) for _ in range(3)]
        waiting = pool.send(same, [1, 2])
        pool.wait(lambda: pool.sink.has_ended(waiting))  # so the others have begun
        deadly = pool.send(die, ["kill", "never"])
        pool.wait(lambda: pool.sink.has_ended(deadly, *running))
        for batch in [deadly, *running]:
            assert kinds(pool.sink.ends_of(batch)) == ["lost", "returned"]


@pytest.mark.parametrize("size", [10, 100_000])
def test_outcomes_that_were_sent_before_a_death_count(size: int) -> None:
    # Word of the death is there before anything is read: what lies in the socket counts still.
    with opened() as pool:
        filling = [pool.send(bytes, [size]) for _ in range(2)]
        last = pool.send(die, ["kill"])
        (worker,) = pool.pool._workers.values()  # type: ignore[attr-defined]
        assert select.select([worker.ends.keeper], [], [], DEADLINE)[0]
        pool.wait(lambda: pool.sink.has_ended(last, *filling))
        for batch in filling:
            assert values(pool.sink.ends_of(batch)) == [bytes(size)]
        assert kinds(pool.sink.ends_of(last)) == ["lost"]


@THREADS
def test_an_idle_worker_that_is_killed_is_replaced(threads: int) -> None:
    with opened(threads=threads) as pool:
        (pid,) = values(pool.run(process_id, [0]))
        os.kill(pid, signal.SIGKILL)
        pool.wait(lambda: len(pool.sink.ready_workers) == 2)
        assert pool.sink.gone_workers == [(0, Exit(pid, signal=9))]
        assert values(pool.run(same, [1])) == [1]
        assert pool.pool.workers == 1


def test_what_waited_for_a_dead_worker_is_returned(pipe: str) -> None:
    with opened() as pool:
        (pid,) = values(pool.run(process_id, [0]))
        running, waiting = pool.send(wait_for, [pipe, pipe]), pool.send(same, [1, 2])
        with open(pipe, "wb"):
            os.kill(pid, signal.SIGKILL)
            pool.wait(lambda: pool.sink.has_ended(running, waiting))
        assert kinds(pool.sink.ends_of(running)) == ["lost", "returned"]
        assert kinds(pool.sink.ends_of(waiting)) == ["returned", "returned"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux'")
def test_what_workers_of_one_thread_queue_for_is_known_of_each() -> None:
    with opened(workers=2) as pool:
        before = pool.pool.queued
        assert before is not None
        assert set(before) == {each.pid for each in pool.pool._workers.values()}  # type: ignore[attr-defined]
        after = pool.pool.queued
        assert after is not None
        assert all(0.0 <= before[pid] <= after[pid] for pid in before)
    with opened(threads=4) as pool:
        assert pool.pool.queued is None  # main threads there run no calls


def test_nothing_is_sent_to_a_worker_that_is_known_to_be_dead() -> None:
    with opened(workers=2) as pool:
        dead, alive = pool.pool._workers.values()  # type: ignore[attr-defined]
        with stopped_server():
            os.kill(dead.pid, signal.SIGKILL)
            pool.wait(lambda: dead.reader.closed)
            for _ in range(3):
                assert values(pool.run(process_id, [0])) == [alive.pid]
        pool.wait(lambda: len(pool.sink.ready_workers) == 3)


def test_workers_that_never_get_ready_make_the_pool_fail() -> None:
    servers.stop()  # a fork that has this task already would not have to read it
    with subject().open():
        servers.server_for(method, [])
    with subject(2).open(Task(Deadly(os.getpid()))) as pool:
        waiting = pool.send(same, [1, 2])
        pool.pool.grow(2)
        pool.wait(lambda: pool.sink.failures)
        assert kinds(pool.sink.ends_of(waiting)) == ["returned", "returned"]
        assert pool.sink.gone_workers == []  # none was ever ready
        assert pool.pool.workers == 0


def test_nothing_is_sent_to_a_worker_that_may_be_killed_for_another_call(pipe: str) -> None:
    options = WorkerOptions(siblings=2, start_method=method, idle_timeout=0.0, killable=True)
    with Opened(subject(2), options).start() as pool:
        killed, other = pool.send(wait_for, [pipe]), pool.send(wait_for, [pipe])
        pool.pool.kill(killed.id)
        third = pool.send(same, [1])
        (worker,) = [each for each in pool.pool._workers.values() if other.id in each.sent]  # type: ignore[attr-defined]
        assert [*worker.sent] == [other.id]
        pool.wait(lambda: pool.sink.has_ended(third))
        assert values(pool.sink.ends_of(third)) == [1]
        pool.pool.kill(other.id)
        pool.wait(lambda: pool.sink.has_ended(killed, other))


# ---- the fork server dies -----------------------------------------------------------------------


def kill_server(pool: Opened) -> None:
    server = server_pid()
    with ending(server):
        os.kill(server, signal.SIGKILL)


@THREADS
def test_workers_go_on_without_the_fork_server(threads: int, pipe: str) -> None:
    with opened(threads=threads) as pool:
        (pid,) = values(pool.run(process_id, [0]))
        running = pool.send(wait_for, [pipe])
        old = server_pid()
        kill_server(pool)
        let_go(pipe)
        pool.wait(lambda: pool.sink.has_ended(running))
        assert values(pool.sink.ends_of(running)) == [pipe]
        pool.pool.grow(1)
        pool.wait(lambda: len(pool.sink.ready_workers) == 2)
        assert server_pid() != old
        assert pool.sink.gone_workers == []
        batches = [pool.send(process_id, [0]) for _ in range(2)]
        pool.wait(lambda: pool.sink.has_ended(*batches))
        pids = {values(pool.sink.ends_of(batch))[0] for batch in batches}
        assert pid in pids
        with ending(*pids):
            pool.pool.close(grace=None)


@pytest.mark.parametrize("grown", [False, True], ids=["no server", "a new server"])
def test_the_death_of_an_orphan_is_noticed(grown: bool) -> None:
    with opened() as pool:
        (pid,) = values(pool.run(process_id, [0]))
        kill_server(pool)
        if grown:
            pool.pool.grow(1)
            pool.wait(lambda: len(pool.sink.ready_workers) == 2)
        (victim,) = [worker.pid for worker in pool.pool._workers.values() if worker.orphan] or [pid]  # type: ignore[attr-defined]
        running = [pool.send(die, ["kill", "never"]), pool.send(die, ["kill", "never"])]
        os.kill(victim, signal.SIGKILL)
        pool.wait(lambda: pool.sink.has_ended(*running))
        pool.wait(lambda: (0, Exit(pid)) in pool.sink.gone_workers)
        alive = pool.pool.workers
        assert alive == (2 if grown else 1)
        pool.wait(lambda: len(pool.sink.ready_workers) - len(pool.sink.gone_workers) == alive)
        assert values(pool.run(same, [1])) == [1]


def test_closing_waits_for_the_call_of_an_orphan(pipe: str, tmp_path: Path) -> None:
    with opened() as pool:
        (pid,) = values(pool.run(process_id, [0]))
        kill_server(pool)
        made = tmp_path / "made"
        pool.send(wait_then_write, [pipe], [str(made)])
        let_go(pipe)
        with ending(pid):
            pool.pool.close(grace=None)
        assert made.exists()


def test_closing_ends_an_orphan_that_holds_the_gil() -> None:
    with opened(workers=2) as pool:
        batches = [pool.send(process_id, [0]) for _ in range(2)]
        pool.wait(lambda: pool.sink.has_ended(*batches))
        pids = [worker.pid for worker in pool.pool._workers.values()]  # type: ignore[attr-defined]
        kill_server(pool)
        pool.send(hold_the_gil, [0])
        with ending(*pids):
            pool.pool.close(grace=0.0)


def test_the_server_may_die_while_workers_start() -> None:
    with opened() as pool:
        with stopped_server() as server:  # so that it can answer nothing
            pool.pool.grow(4)
            with ending(server):
                os.kill(server, signal.SIGKILL)
        pool.wait(lambda: len(pool.sink.ready_workers) >= 5)
        assert pool.pool.workers == 5
        assert pool.sink.gone_workers == []


def test_the_server_may_die_while_the_pool_closes(pipe: str) -> None:
    with opened() as pool:
        server = server_pid()
        pool.send(wait_for, [pipe])
        killer = threading.Thread(target=kill_then_let_go, args=(server, pipe), daemon=True)
        killer.start()
        reports = pool.sink.reports
        pool.pool.close(grace=None)
        killer.join(DEADLINE)
        assert pool.sink.reports == reports


def kill_then_let_go(server: int, path: str) -> None:
    with open(path, "wb"):  # the call has begun
        os.kill(server, signal.SIGKILL)


def test_a_death_that_is_heard_of_while_the_pool_closes_is_not_reported() -> None:
    with opened() as pool:
        (worker,) = pool.pool._workers.values()  # type: ignore[attr-defined]
        with stopped_server() as server:
            batch = pool.send(die, ["kill", "never"])
            pool.wait(lambda: worker.reader.closed)
            with ending(server):
                os.kill(server, signal.SIGKILL)
        reports = pool.sink.reports
        pool.pool.close(grace=None)
        assert pool.sink.reports == reports
        assert batch.id not in pool.sink.ends


def test_shutdown_under_a_pool_is_a_death_of_the_server() -> None:
    with opened() as pool:
        (pid,) = values(pool.run(process_id, [0]))
        with ending(pid):
            servers.stop()
        pool.wait(lambda: len(pool.sink.ready_workers) == 2)
        assert values(pool.run(same, [1])) == [1]


# ---- what travels -------------------------------------------------------------------------------


def test_an_argument_that_does_not_pickle_fails_its_own_call() -> None:
    with opened() as pool:
        ends = pool.run(same, [1, Unpicklable(), threading.Lock(), 4])
        assert [end.value for end in ends] == [1, None, None, 4]
        for end, why in [(ends[1], "I stay here"), (ends[2], "cannot pickle")]:
            assert isinstance(end.error, TransferError)
            assert "same" in str(end.error)
            assert why in str(end.error)


class Config:
    def __init__(self) -> None:
        self.inner = {"db": [1, threading.Lock()]}


def test_the_error_names_the_part_at_fault() -> None:
    path = "argument 1.inner['db'][1] (in argument 1, a Config) is a lock"
    with opened() as pool:
        (end,) = pool.run(same, [Config()])
        assert path in str(end.error)
        (end,) = pool.run(lambda _: Config(), [0])
        assert "its result.inner['db'][1] (in its result, a Config) is a lock" in str(end.error)
    with poolwise.Executor(plan="process:1") as executor:
        assert path in str(executor.submit(same, Config()).exception())
        wanted = "keyword argument value.inner['db'][1]"
        assert wanted in str(executor.submit(same, value=Config()).exception())


def test_an_argument_that_cannot_be_read_there_fails_its_own_call() -> None:
    with opened() as pool:
        ends = pool.run(same, [1, UnreadableIn(os.getpid(), False), 3])
        assert [end.value for end in ends] == [1, None, 3]
        assert isinstance(ends[1].error, TransferError)
        assert "RuntimeError: not here" in str(ends[1].error)


def test_arguments_that_are_being_read_can_be_taken_back(pipe: str) -> None:
    with opened() as pool:
        batch = pool.send(same, [1, UnreadableAfter(pipe), 3])
        with open(pipe, "wb"):  # the worker is reading it
            pool.pool.take_back(batch.id)
        pool.wait(lambda: pool.sink.has_ended(batch))
        assert kinds(pool.sink.ends_of(batch)) == ["returned"] * 3
        assert values(pool.run(same, [1])) == [1]


def test_a_call_that_takes_long_until_it_cannot_be_read_is_not_sent_round() -> None:
    """There is another worker for it each time, which has nothing else to do."""
    inputs = [1, SlowlyUnreadable(), 3]
    one, error, three = poolwise.map(same, inputs, plan="process:2", on_error="return")
    assert (one, three) == (1, 3)
    assert isinstance(error, TransferError), error


def test_a_result_that_does_not_pickle_fails_its_own_call() -> None:
    with opened() as pool:
        ends = pool.run(make_unpicklable, [1, -1, 3])
        assert [end.value for end in ends] == [1, None, 3]
        assert isinstance(ends[1].error, TransferError)
        assert "I stay here" in str(ends[1].error)
        assert "make_unpicklable" in str(ends[1].error)


def test_a_result_that_pickles_now_and_then_fails_alone_or_comes() -> None:
    """As a whole they do not pickle; looked at by itself it does, and not when it is to be sent."""
    with opened() as pool:
        first, second, third = pool.run(make_moody, [1, -1, 3])
        assert (first.value, third.value) == (1, 3)
        assert second.value == 7 or "in a mood" in str(second.error), second


def test_an_exception_that_resists_fails_its_own_call() -> None:
    with opened() as pool:
        kinds = ["fine", "exits when pickled", "fine", "tells nothing", "fine"]
        ends = pool.run(raise_it, kinds)
        assert [end.value for end in ends] == ["fine", None, "fine", None, "fine"]
        assert type(ends[1].error).__name__ == "Exiting"  # its stand-in
        assert isinstance(ends[3].error, TransferError)


def test_outcomes_that_there_is_no_memory_for_are_errors() -> None:
    with opened() as pool:
        ends = pool.run(make_too_much, [1, 2])
        assert all(isinstance(end.error, MemoryError | TransferError) for end in ends), ends
        assert values(pool.run(same, [1])) == [1]


def test_a_result_that_cannot_be_read_here_is_an_error() -> None:
    with opened() as pool:
        (end,) = pool.run(make_unreadable_for, [os.getpid()])
        assert isinstance(end.error, TransferError)
        assert "RuntimeError: not here" in str(end.error)
        assert values(pool.run(same, [1])) == [1]


def test_an_exception_that_does_not_travel_has_a_stand_in() -> None:
    with opened() as pool:
        first, second, third = pool.run(raise_it, ["unpicklable", "fine", "attribute"])
        assert second.value == "fine"
        assert type(first.error) is ValueError
        assert "<_io." in str(first.error)
        assert "args[0]" in first.error.__notes__[0]
        assert "in raise_it" in str(first.error.__cause__)
        assert type(third.error) is KeyError
        assert third.error.args == ("kept",)
        assert third.error.code == 3  # type: ignore[attr-defined]
        assert third.error.__notes__ == ["mine", "(could not be sent from its worker: .lock)"]


def test_an_exception_without_a_stand_in_is_told_as_text() -> None:
    with opened() as pool:
        first, second = pool.run(raise_it, ["operating system", "fine"])
        assert second.value == "fine"
        assert isinstance(first.error, TransferError)
        assert "raise_it" in str(first.error)
        assert "OSError" in str(first.error)
        assert "in raise_it" in str(first.error.__cause__)


def test_an_exception_whose_constructor_takes_something_else_is_the_calls_own() -> None:
    with opened() as pool:
        (first,) = pool.run(raise_it, ["unreadable"])
        assert type(first.error).__name__ == "TwoArguments"
        assert str(first.error) == "1 and 2"
        assert "in raise_it" in str(first.error.__cause__)


def test_a_function_that_does_not_pickle_is_refused_at_once() -> None:
    lock = threading.Lock()
    with opened() as pool:
        with pytest.raises(TransferError, match="lambda"):
            pool.send(lambda _: lock, [1])
        assert values(pool.run(same, [1])) == [1]
    with (
        Subject(mechanism("process"), start_method="forkserver").open(Task(lambda _: lock)) as pool,
        pytest.raises(TransferError),
    ):
        pool.pool.grow(1)


def test_a_function_that_cannot_be_read_there_fails_each_call() -> None:
    with opened() as pool:
        function = UnreadableIn(os.getpid(), False)
        for end in pool.run(function, [1, 2]) + pool.run(function, [3]):
            assert isinstance(end.error, TransferError)
            assert "RuntimeError: not here" in str(end.error)


@pytest.mark.parametrize("method", [None, "forkserver"])
def test_functions_of_no_module_travel(method: str | None) -> None:
    made: dict[str, Any] = {}
    exec("N = 5\ndef times(x): return x * N", made)
    assert made["times"].__module__ is None
    run = poolwise.map(made["times"], range(4), plan="process:2", start_method=method)
    assert list(run) == [0, 5, 10, 15]


def test_lambdas_and_closures_travel() -> None:
    factor = 3
    with opened() as pool:
        assert values(pool.run(lambda value: value * factor, [1, 2])) == [3, 6]


def test_an_exception_comes_back_with_the_workers_traceback() -> None:
    with opened() as pool:
        (end,) = pool.run(fail_deep_inside, ["key"])
        error = error_of(end)
        assert type(error) is KeyError
        assert error.args == ("key",)
        text = str(error.__cause__)
        assert "in fail_deep_inside" in text
        assert "in deeper" in text
        assert "raise KeyError(value)" in text
        assert "KeyError: 'key'" in text
        assert "_poolwise_worker" not in text  # the user's frames only


def test_what_an_exception_carries_comes_along() -> None:
    with opened() as pool:
        group, noted = pool.run(raise_it, ["group", "notes"])
        assert isinstance(group.error, ExceptionGroup)
        assert [type(each) for each in group.error.exceptions] == [ValueError, TypeError]
        assert error_of(noted).__notes__ == ["a note"]


def test_of_a_group_that_cannot_be_sent_the_title_is_told() -> None:
    def fail(_: int) -> None:
        raise ExceptionGroup("title", [ValueError(threading.Lock()), KeyError(2)])

    with opened() as pool:
        (end,) = pool.run(fail, [0])
    assert "cannot be pickled: ExceptionGroup: title (2 sub-exceptions)" in str(end.error)


@THREADS
@pytest.mark.parametrize("kind", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
def test_an_exception_that_would_end_a_process_is_one_of_the_call(kind: str, threads: int) -> None:
    with opened(threads=threads) as pool:
        (pid,) = values(pool.run(process_id, [0]))
        first, second = pool.run(raise_it, [kind, "fine"])
        assert type(first.error).__name__ == kind
        assert second.value == "fine"
        assert values(pool.run(process_id, [0])) == [pid]


@pytest.mark.parametrize(("workers", "threads"), [(1, 1), (2, 4)])
def test_large_payloads_in_both_directions_at_once(workers: int, threads: int) -> None:
    # All of both socket directions is full at times: each side has more to send than fits.
    large = os.urandom(1 << 20) * 8
    with opened(workers, threads) as pool:
        batches = [pool.send(same, [large]) for _ in range(6)]
        batches += [pool.send(same, [1]) for _ in range(3)]
        pool.wait(lambda: pool.sink.has_ended(*batches))
        for batch in batches[:6]:
            assert values(pool.sink.ends_of(batch)) == [large]


def test_a_batch_that_is_still_being_written_can_be_taken_back(pipe: str) -> None:
    with opened() as pool:
        running = pool.send(wait_for, [pipe])
        with open(pipe, "wb"):
            filling = [pool.send(same, [bytes(60_000)]) for _ in range(8)]
            large = pool.send(same, [bytes(60_000)])
            small = pool.send(same, [1, 2])
            assert pool.pool._workers[0].writing  # type: ignore[attr-defined]
            pool.pool.take_back(small.id)
            assert pool.sink.has_ended(small)  # none of it has been written
            pool.pool.take_back(large.id)
            assert pool.sink.has_ended(large)
            for batch in filling:
                pool.pool.take_back(batch.id)
            pool.wait(lambda: pool.sink.has_ended(*filling))
        pool.wait(lambda: pool.sink.has_ended(running))
        for batch in [large, *filling]:
            assert kinds(pool.sink.ends_of(batch)) == ["returned"]
        assert kinds(pool.sink.ends_of(small)) == ["returned"] * 2


def test_a_batch_may_have_more_than_a_million_calls() -> None:
    # More than 20 bits count: the error, and the death, are where they belong.
    count = (1 << 20) + 100
    numbers = [1] * count
    numbers[-10], numbers[-5] = -1, 0
    with opened() as pool:
        done, errors = 0, []

        def add(batch: int, first: int, outcomes: Outcomes) -> None:
            nonlocal done
            done += len(outcomes.values)
            errors.extend(first + position for position in outcomes.errors)

        pool.sink.done = add  # type: ignore[method-assign]
        batch = pool.send(fail_or_die_on, numbers)
        pool.wait(lambda: pool.sink.gone_workers)
        ends = pool.sink.ends[batch.id]
        lost = [position for position, end in ends.items() if end.kind == "lost"]
        assert errors in ([], [count - 10])  # sent before the death, or lost
        assert lost == [*range(done, count - 4)]
        assert [*ends.keys() - lost] == [*range(count - 4, count)]


def test_a_worker_may_have_more_threads_than_a_page_has_marks(pipe: str) -> None:
    with opened(threads=600) as pool, open(pipe, "r+b", buffering=0):
        running = [pool.send(wait_for, [pipe, pipe]) for _ in range(599)]
        assert values(pool.run(same, [1])) == [1]  # so all of them are in their threads
        deadly = pool.send(die, ["kill"])
        pool.wait(lambda: pool.sink.has_ended(deadly, *running))
        for batch in running:
            assert kinds(pool.sink.ends_of(batch)) == ["lost", "returned"]


# ---- closing ------------------------------------------------------------------------------------


def test_closing_reads_what_a_call_still_returns(pipe: str) -> None:
    # A worker that waits until its large result is read would never end.
    with opened() as pool:
        (pid,) = values(pool.run(process_id, [0]))
        pool.send(wait_then_make, [pipe], [8 << 20])
        let_go(pipe)
        with ending(pid):
            pool.pool.close(grace=None)


def test_closing_kills_what_outlasts_its_grace() -> None:
    with opened(threads=2) as pool:
        (pid,) = values(pool.run(process_id, [0]))
        pool.send(hold_the_gil, [0])
        with ending(pid):
            pool.pool.close(grace=0.05)


def test_closing_has_a_stopped_worker_go_on() -> None:
    with opened(workers=2) as pool:
        stopped, _ = [worker.pid for worker in pool.pool._workers.values()]  # type: ignore[attr-defined]
        os.kill(stopped, signal.SIGSTOP)
        with ending(stopped):
            pool.pool.close(grace=None)


def test_an_interrupted_close_leaves_nothing(pipe: str) -> None:
    closed, interrupted = threading.Event(), False
    main = threading.get_ident()

    def interrupt() -> None:
        while not closed.wait(0.005):
            signal.pthread_kill(main, signal.SIGUSR1)

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        while frame is not None and not interrupted:
            if frame.f_code is _Ends.hear.__code__:
                interrupted = True
                raise KeyboardInterrupt
            frame = frame.f_back

    with opened() as pool:
        (pid,) = values(pool.run(process_id, [0]))
        pool.send(wait_for, [pipe])
        before = signal.signal(signal.SIGUSR1, handle)
        interrupting = threading.Thread(target=interrupt)
        with open(pipe, "wb"):  # the call has begun, and does not end
            interrupting.start()
            try:
                with ending(pid), pytest.raises(KeyboardInterrupt):
                    pool.pool.close(grace=None)
            finally:
                closed.set()
                interrupting.join(DEADLINE)
                signal.signal(signal.SIGUSR1, before)


def test_a_program_that_a_call_left_running_does_not_keep_the_pool() -> None:
    with opened() as pool:
        ((pid, child),) = values(pool.run(leave_a_child, [60]))
        os.kill(pid, signal.SIGKILL)
        pool.wait(lambda: len(pool.sink.ready_workers) == 2)
        pool.pool.close(grace=None)
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("pools", [120, *thorough(1000)])
def test_many_pools_leave_no_descriptors(pools: int) -> None:
    def descriptors() -> list[str]:
        return os.listdir("/proc/self/fd")

    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count("poolwise-marks")

    with opened():
        pass
    before = len(descriptors())
    for number in range(pools):
        with opened() as pool:
            if number % 3 == 0:
                pool.send(same, [number])
            elif number % 3 == 1:
                pool.run(same, [number])
    assert len(descriptors()) == before
    assert mappings() == 0
    server = Path(f"/proc/{server_pid()}/fd")
    assert len(list(server.iterdir())) < before + 20


def test_too_few_descriptors_make_the_pool_fail_and_leave_others_alone() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with opened() as other:
        (pid,) = values(other.run(process_id, [0]))
        server = server_pid()
        for spare in range(9):
            with subject().open() as pool:
                waiting = pool.send(same, [1])
                resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free(spare), hard))
                try:
                    pool.pool.grow(1)
                    pool.wait(lambda: pool.sink.failures)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                assert isinstance(pool.sink.failures[0], OSError)
                assert kinds(pool.sink.ends_of(waiting)) == ["returned"]
        assert values(other.run(process_id, [0])) == [pid]
        assert server_pid() == server


def lowest_free(spare: int) -> int:
    """Return a limit below which so many descriptors are free."""
    used = {int(entry) for entry in os.listdir("/proc/self/fd")}
    free = (number for number in itertools.count() if number not in used)
    return next(itertools.islice(free, spare, None))


# ---- surroundings -------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Surroundings that differ from those in which the fork server was started."""
    with opened():
        pass
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POOLWISE_TEST", "üml\udcffaut")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["program", "argument", "ünï"])
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])  # not a string: Python ignores it
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 1234)
    yield tmp_path
    sys.setrecursionlimit(limit)


def test_a_worker_sees_the_callers_surroundings(elsewhere: Path) -> None:
    with opened() as pool:
        seen = {
            name: values(pool.run(surroundings, [name]))[0]
            for name in ["cwd", "environ", "path", "argv", "recursionlimit", "flags"]
        }
    assert seen["cwd"] == str(elsewhere)
    assert seen["environ"] == dict(os.environ)
    assert seen["environ"]["POOLWISE_TEST"] == "üml\udcffaut"
    assert "HOME" not in seen["environ"]
    assert seen["path"] == [entry for entry in sys.path if isinstance(entry, str)]
    assert seen["argv"] == ["program", "argument", "ünï"]
    assert seen["recursionlimit"] == sys.getrecursionlimit()
    here = dict(read_flags())
    if method != "fork":
        here["safe_path"] = True  # no file in the working directory is a standard module
    assert dict(seen["flags"]) == here


def test_a_module_beside_the_caller_can_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_the_caller.py").write_text("def double(value):\n    return 2 * value\n")
    monkeypatch.syspath_prepend(tmp_path)
    import beside_the_caller  # type: ignore[import-not-found]

    with opened() as pool:
        assert values(pool.run(beside_the_caller.double, [1, 2])) == [2, 4]


def test_a_file_in_the_working_directory_is_no_standard_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "select", "socket", "struct", "signal", "traceback":
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported by mistake')\n")
    servers.stop()
    monkeypatch.chdir(tmp_path)
    with opened() as pool:
        assert isinstance(pool.run(fail_on, [-1])[0].error, ValueError)


@THREADS
def test_standard_input_of_a_call_is_empty(threads: int) -> None:
    with opened(threads=threads) as pool:
        assert values(pool.run(surroundings, ["stdin", "descriptor 0"])) == ["", b""]


def test_a_worker_imports_nothing_of_poolwise() -> None:
    if method == "fork":
        pytest.skip("a fork has what the caller has")
    with opened() as pool:
        (modules,) = values(pool.run(surroundings, ["modules"]))
    assert not [name for name in modules if name.partition(".")[0] in ("poolwise", "cloudpickle")]


def test_a_worker_imports_nothing_slow_of_the_standard_library() -> None:
    """`pickle`, with all that it imports, took a worker twice as long as the rest of its start."""
    program = """
import poolwise
with poolwise.Executor(plan="process:1", start_method="forkserver") as executor:
    print(*executor.submit(eval, "__import__('sys').modules.keys() - {0}").result())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    modules = set(done.stdout.split())
    assert "_poolwise_worker.runner" in modules
    assert not modules & {"pickle", "re", "enum", "typing", "dataclasses", "signal", "socket"}


def test_a_call_may_recurse_as_deep_as_in_a_loop() -> None:
    depth = sys.getrecursionlimit() - 100
    with opened() as pool:
        assert values(pool.run(recurse, [depth])) == [depth]


@THREADS
def test_a_call_may_start_programs(threads: int) -> None:
    with opened(threads=threads) as pool:
        assert values(pool.run(run_program, ["one", "two"])) == ["one\n", "two\n"]


def test_calls_may_fork_in_several_threads_at_once() -> None:
    # Signals are blocked around each fork; afterwards each thread has its own mask again.
    with opened(threads=4) as pool:
        batches = [pool.send(fork_often, [30]) for _ in range(4)]
        pool.wait(lambda: pool.sink.has_ended(*batches))
        for batch in batches:
            assert values(pool.sink.ends_of(batch)) == [[]]


@THREADS
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_call_may_start_multiprocessing_children(method: str, threads: int) -> None:
    with opened(threads=threads) as pool:
        assert values(pool.run(add_in_child, [method], [(1, 2)])) == [3]
        assert values(pool.run(same, [1])) == [1]


# ---- the caller ends, or forks ------------------------------------------------------------------

HERE = str(Path(__file__).parent)

CALLER = f"""
import os, signal, sys
sys.path.insert(0, {HERE!r})
from process_calls import *
from poolwise.mechanisms import mechanism
import sys
from poolwise.testing import Subject
pool = Subject(mechanism("process"), 2, int(sys.argv[1]), sys.argv[2]).open().start()
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def pids():
    return [worker.pid for worker in pool.pool._workers.values()]
"""


@contextmanager
def caller(program: str, threads: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A process of its own, in a group of its own, that uses a pool of two workers."""
    command = [sys.executable, "-W", "error", "-c", CALLER + program, str(threads), method]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end of a caller; return its exit code and what it complained about."""
    _, complaints = process.communicate(timeout=DEADLINE)
    return process.returncode, complaints


def line_of(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], DEADLINE)[0], "nothing was said"
    return process.stdout.readline().split()


@THREADS
@pytest.mark.parametrize(
    "busy",
    [
        "",
        "pool.send(sleep, [60]); pool.send(sleep, [60])",
        "pool.send(hold_the_gil, [0, 0])",
        "for pid in pids(): os.kill(pid, signal.SIGSTOP)",
    ],
    ids=["idle", "sleeping", "holding the GIL", "stopped"],
)
def test_workers_end_with_a_caller_that_is_killed(busy: str, threads: int) -> None:
    program = f"""
from poolwise.mechanisms import servers
{busy}
say(servers.server_for(sys.argv[2], []).pid, *pids())
pool.wait(lambda: False)
"""
    with caller(program, threads) as process:
        pids = [int(pid) for pid in line_of(process)]
        if "gil" in busy:
            wait_until_computing(pids[1:])
        with ending(*pids):
            process.kill()


def wait_until_computing(pids: list[int]) -> None:
    """Wait until one of them has used some CPU time: it is inside its call."""
    until = time.monotonic() + DEADLINE
    while max(map(cpu_ticks, pids)) < 10:
        assert time.monotonic() < until
        time.sleep(0.01)


def cpu_ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def test_workers_end_with_a_caller_whose_server_was_killed() -> None:
    program = """
from poolwise.mechanisms import servers
os.kill(servers.server_for(sys.argv[2], []).pid, signal.SIGKILL)
pool.send(hold_the_gil, [0])
say(*pids())
pool.wait(lambda: False)
"""
    with caller(program) as process:
        pids = [int(pid) for pid in line_of(process)]
        with ending(*pids):
            process.kill()


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise LookupError", "os._exit(4)"])
def test_workers_end_with_a_caller_that_ends(end: str) -> None:
    program = f"""
pool.send(sleep, [60])
say(*pids())
sys.stdin.readline()
sys.excepthook = lambda *_: None
{end}
"""
    with caller(program) as process:
        with ending(*(int(pid) for pid in line_of(process))):
            assert process.stdin is not None
            process.stdin.close()
            process.wait(DEADLINE)
        assert process.returncode == {"": 0, "sys": 3, "rai": 1, "os.": 4}[end[:3]]


def test_ctrl_c_reaches_the_caller_and_leaves_workers_alone() -> None:
    program = """
def interrupted(signum, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, interrupted)
before = pids()
running = pool.send(sleep, [0.1])
try:
    say("ready")
    pool.wait(lambda: False)
except KeyboardInterrupt:
    pool.wait(lambda: pool.sink.has_ended(running))
    assert pids() == before, "a worker died of it"
    assert pool.sink.ends_of(running)[0].error is None
    assert pool.run(same, [1])[0].value == 1
    pool.pool.close(grace=None)
    say("fine")
"""
    with caller(program) as process:
        assert line_of(process) == ["ready"]
        os.killpg(process.pid, signal.SIGINT)
        assert line_of(process) == ["fine"]
        assert end_of(process) == (0, "")


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit()"])
def test_a_process_that_the_user_forks_uses_poolwise_on_its_own(end: str) -> None:
    # While a call of the parent runs; the child lets go of the parent's pool, or just ends.
    program = f"""
running = pool.send(sleep, [0.1])
before = pids()
child = os.fork()
if child == 0:
    own = Subject(mechanism("process"), start_method=sys.argv[2]).open().start()
    assert own.run(same, [1])[0].value == 1
    assert not set(pids()) & {{own.run(process_id, [0])[0].value}}
    own.pool.close(grace=None)
    own.inbox.close()
    pool.pool.close(grace=None)
    pool.inbox.close()
    {end}
assert os.waitpid(child, 0)[1] == 0
pool.wait(lambda: pool.sink.has_ended(running))
assert pool.sink.ends_of(running)[0].error is None
assert pool.run(same, [1])[0].value == 1
assert pids() == before and not pool.sink.gone_workers
pool.pool.grow(1)
pool.wait(lambda: len(pool.sink.ready_workers) == 3)
pool.pool.close(grace=None)
say("fine")
"""
    with caller(program) as process:
        assert line_of(process) == ["fine"]
        assert end_of(process) == (0, "")


def test_a_forked_child_that_lives_on_keeps_no_worker(tmp_path: Path) -> None:
    program = """
child = os.fork()
if child == 0:
    sys.stdin.readline()
    os._exit(0)
say(child, *pids())
pool.wait(lambda: False)
"""
    with caller(program) as process:
        child, *pids = (int(pid) for pid in line_of(process))
        with ending(*pids):
            process.kill()
        with ending(child):
            assert process.stdin is not None
            process.stdin.close()


def test_classes_and_functions_of_the_main_script_travel(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        """
import enum
from dataclasses import dataclass
from poolwise.mechanisms import mechanism
import sys
from poolwise.testing import Subject

class Colour(enum.Enum):
    RED = 1

@dataclass
class Point:
    x: int
    colour: Colour = Colour.RED

class Odd(Exception):
    def __init__(self, number):
        super().__init__(number)
        self.number = number

STEP = 10

def move(point):
    if point.x % 2:
        raise Odd(point.x)
    assert point.colour is Colour.RED
    return Point(point.x + STEP, point.colour)

with Subject(mechanism("process"), start_method=sys.argv[1]).open().start() as pool:
    ends = pool.run(move, [Point(0), Point(1), Point(2)])
    assert [ends[0].value, ends[2].value] == [Point(10), Point(12)], ends
    assert type(ends[0].value) is Point and ends[0].value.colour is Colour.RED
    assert type(ends[1].error) is Odd and ends[1].error.number == 1
    assert "in move" in str(ends[1].error.__cause__)
print("fine")
"""
    )
    command = [sys.executable, "-W", "error", str(script), method]
    run = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (run.stdout, run.stderr) == ("fine\n", "")


def test_what_calls_print_comes_out_however_the_pool_ends(tmp_path: Path) -> None:
    # Into a file, where Python keeps what is printed until there is more of it.
    program = """
from poolwise.mechanisms import mechanism
import sys
from poolwise.testing import Subject
pool = Subject(mechanism("process"), start_method=sys.argv[1]).open().start()
pool.run(print, range(3))
pool.pool.close(grace=0.0)
"""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    for _ in range(5):
        run = subprocess.run(
            [sys.executable, "-c", program, method],
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
            timeout=DEADLINE,
            check=True,
        )
        assert run.stdout == "0\n1\n2\n"
