"""What workers are like: initializers, names, start methods; checked as the standard pools do."""

from __future__ import annotations

import concurrent.futures as cf
import itertools
import logging
import multiprocessing as mp
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from concurrent.futures.thread import BrokenThreadPool
from pathlib import Path
from typing import Any

import pytest

import poolwise
from executor.calls import DEADLINE, Gate, current_thread_name, initialized, pid_of, prepare, square
from poolwise.executor.workers import worker_options
from poolwise.machine import this_machine

pytestmark = pytest.mark.fault

PLANS = ["inline", "thread:4", None]


@pytest.fixture(params=PLANS, ids=str)
def plan(request: pytest.FixtureRequest) -> str | None:
    value: str | None = request.param
    return value


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path)
    yield gate
    gate.let_go(100)
    gate.close()


def refuse(*_: object) -> None:
    raise ValueError("not today")


def submit_until_refused(pool: poolwise.Executor) -> None:
    while True:  # whoever waits for a future hears of its end a moment before `submit` does
        pool.submit(square, 1).exception(DEADLINE)


# ---- checks --------------------------------------------------------------------------------------

BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"max_workers": 0}, ValueError, "max_workers must be greater than 0, not 0"),
    ({"max_workers": -1}, ValueError, "max_workers must be greater than 0, not -1"),
    ({"max_workers": 2.0}, TypeError, "max_workers takes a whole number"),
    ({"initializer": 1}, TypeError, "initializer must be a callable, not 1"),
    ({"initializer": print, "initargs": 1}, TypeError, "initargs takes a tuple"),
    ({"mp_context": 1}, TypeError, "mp_context takes a context"),
    ({"mp_context": "spawn"}, TypeError, "give start_method='spawn'"),
    ({"max_tasks_per_child": "1"}, TypeError, "max_tasks_per_child must be an integer, not '1'"),
    ({"max_tasks_per_child": 0}, ValueError, "max_tasks_per_child must be >= 1, not 0"),
    (
        {"max_tasks_per_child": 1, "mp_context": mp.get_context("fork")},
        ValueError,
        "incompatible with the 'fork' multiprocessing start method",
    ),
    ({"thread_name_prefix": 1}, TypeError, "thread_name_prefix takes a text"),
    ({"mp_context": "a", "thread_name_prefix": "b"}, TypeError, "given twice: 'a' comes second"),
    ({"start_method": "vfork"}, ValueError, "start_method takes one of forkserver, spawn, fork"),
    (
        {"start_method": "spawn", "mp_context": mp.get_context("fork")},
        ValueError,
        "mp_context says 'fork' and start_method 'spawn'",
    ),
]


@pytest.mark.parametrize(("options", "kind", "text"), BAD, ids=[str(bad[0]) for bad in BAD])
def test_bad_options_are_named_in_the_words_of_the_standard_executors(
    options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=re.escape(text)):
        poolwise.Executor(**options)


def test_options_may_be_given_by_position_as_to_either_standard_executor() -> None:
    for method in ("spawn", "forkserver", "fork"):
        assert worker_options(mp_context=mp.get_context(method)).start_method == method
    prepared: list[int] = []
    with poolwise.Executor(1, "mine", prepared.append, (5,)) as pool:
        assert pool.submit(current_thread_name).result(DEADLINE) == "mine_0"
    assert prepared == [5]
    with poolwise.Executor(1, mp.get_context("spawn"), os.putenv, ("a", "b")) as pool:
        assert pool.submit(square, 2).result(DEADLINE) == 4


@pytest.mark.parametrize(
    "options", [{"mp_context": mp.get_context("forkserver")}, {"max_tasks_per_child": 5}], ids=str
)
def test_what_only_a_process_pool_takes_asks_for_processes(options: dict[str, Any]) -> None:
    with poolwise.Executor(1, **options) as pool:
        assert pool.submit(os.getpid).result(DEADLINE) != os.getpid()
        assert str(pool.stats().plan) == "1 process"
    # As wide as a process pool, whatever the environment would have `auto` do.
    with poolwise.Executor(**options) as pool:
        assert pool.size == this_machine().facts.whole_cpus


@pytest.mark.parametrize("threads", [{"plan": "thread:2"}, {"mechanism": "thread"}], ids=str)
def test_a_context_for_processes_contradicts_threads(threads: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"mp_context= says processes, and the plan .* thread"):
        poolwise.Executor(mp_context=mp.get_context("spawn"), **threads)


# ---- how long workers live ---------------------------------------------------------------------


def test_each_worker_has_as_many_calls_as_it_may() -> None:
    with poolwise.Executor(1, mechanism="process", max_tasks_per_child=2) as pool:
        pids = [pool.submit(os.getpid).result(DEADLINE) for _ in range(8)]
    # Calls wait while a worker starts, and are taken back and sent again: no call counts twice.
    assert [len([*group]) for _, group in itertools.groupby(pids)] == [2, 2, 2, 2]


def test_workers_end_with_their_executor_unless_they_are_to_wait_for_the_next() -> None:
    for seconds, same in ((0, False), (30, True)):
        pids = []
        for _ in range(2):
            with poolwise.Executor(1, mechanism="process", idle_timeout=seconds) as pool:
                pids.append(pool.submit(os.getpid).result(DEADLINE))
        assert (pids[0] == pids[1]) == same


def test_isolated_calls_never_run_here() -> None:
    with poolwise.Executor(isolate=True) as pool:
        assert os.getpid() not in {*pool.map(pid_of, range(9))}
    assert os.getpid() not in {*poolwise.map(pid_of, range(9), isolate=True)}


# ---- initializers --------------------------------------------------------------------------------


def test_each_worker_is_initialized_before_its_first_call(plan: str | None) -> None:
    with poolwise.Executor(4 if plan is None else None, plan=plan, initializer=prepare) as pool:
        futures = [pool.submit(initialized) for _ in range(50)]
        assert all(future.result(DEADLINE) for future in futures)


def test_a_map_initializes_its_workers_too(plan: str | None) -> None:
    run = poolwise.map(lambda _: initialized(), range(50), plan=plan, initializer=prepare)
    assert all(run)


def test_an_initializer_that_raises_breaks_the_executor_for_good(
    plan: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with poolwise.Executor(plan=plan, initializer=refuse) as pool:
        try:
            futures = [pool.submit(square, number) for number in range(9)]
        except cf.BrokenExecutor:  # so soon
            futures = []
        errors = [future.exception(DEADLINE) for future in futures]
        for error in errors:
            assert isinstance(error, poolwise.InitializerFailed)
            assert isinstance(error, BrokenThreadPool)
            assert isinstance(error, BrokenProcessPool)
            assert isinstance(error.__cause__, ValueError)
            assert "not today" in str(error)
        assert len(set(map(id, errors))) == len(errors)
        with pytest.raises(cf.BrokenExecutor, match="not today"):
            submit_until_refused(pool)
    critical = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert critical
    assert {(each.name, each.message) for each in critical} == {
        ("concurrent.futures", "Exception in initializer:")
    }


def test_an_initializer_that_raises_in_one_worker_breaks_all_and_running_calls_end(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    number = threading.local()
    threads, begun = iter(range(4)), threading.Event()

    def initialize() -> None:
        number.value = next(threads)
        if number.value == 3:
            begun.wait(DEADLINE)
            raise SystemExit("of one")

    pool = poolwise.Executor(plan="thread:4", initializer=initialize)
    running = [pool.submit(gate, number) for number in range(3)]
    gate.await_started(3)
    waiting = pool.submit(square, 2)
    begun.set()
    assert isinstance(waiting.exception(DEADLINE), poolwise.InitializerFailed)
    gate.let_go(3)
    assert [future.result(DEADLINE) for future in running] == [0, 1, 2]
    pool.shutdown()


def test_an_initializer_that_raises_ends_a_map(
    plan: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    run = poolwise.map(square, range(9), plan=plan, initializer=refuse)
    with pytest.raises(poolwise.InitializerFailed, match="not today"):
        next(run)
    assert list(run) == []


# ---- ending at once ------------------------------------------------------------------------------

Kill = Callable[[poolwise.Executor], None]
KILLS: list[Kill] = [poolwise.Executor.kill_workers, poolwise.Executor.terminate_workers]


@pytest.mark.parametrize("kill", KILLS)
@pytest.mark.parametrize("plan", ["process:2", None], ids=str)
def test_killing_ends_what_runs_and_cancels_what_waits(
    gate: Gate, kill: Kill, plan: str | None
) -> None:
    before = set(threading.enumerate())
    pool = poolwise.Executor(None if plan else 2, plan=plan)
    futures = [pool.submit(gate, number) for number in range(20)]
    gate.await_started(2)
    kill(pool)
    done, not_done = cf.wait(futures, DEADLINE)
    assert not not_done
    running = [future for future in done if not future.cancelled()]
    assert 2 <= len(running) < 8  # those that were sent ahead count as running
    for future in running:
        assert isinstance(future.exception(), BrokenProcessPool)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(square, 1)
    pool.shutdown()
    kill(pool)
    gate.let_go(20)
    for abandoned in set(threading.enumerate()) - before:
        abandoned.join(DEADLINE)


@pytest.mark.parametrize("kill", KILLS)
def test_killing_an_executor_that_has_not_begun_shuts_it_down(kill: Kill) -> None:
    pool = poolwise.Executor()
    kill(pool)
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(square, 1)


@pytest.mark.parametrize("kill", KILLS)
@pytest.mark.parametrize("plan", ["thread:2", "inline"])
def test_threads_cannot_be_killed_and_the_refusal_says_what_would_do(kill: Kill, plan: str) -> None:
    with poolwise.Executor(plan=plan) as pool:
        with pytest.raises(poolwise.PlanRefused, match=r"cannot end threads; .*cancel_futures"):
            kill(pool)
        assert pool.submit(square, 3).result(DEADLINE) == 9


def test_killed_workers_are_gone() -> None:
    pool = poolwise.Executor(plan="process:2")
    pids = {pool.submit(os.getpid).result(DEADLINE) for _ in range(20)}
    pool.kill_workers()
    pool.shutdown()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
