"""Lost calls run again, by themselves; raised exceptions only where they are listed."""

from __future__ import annotations

import os
import random
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import pytest
from fault_calls import Deadly, Flaky, started

import poolwise
from poolwise.executor.again import runs
from poolwise.task import Outcomes
from thorough import thorough

pytestmark = pytest.mark.fault

PLANS = pytest.mark.parametrize("plan", ["process:1", "process:1x4", None, *thorough("process:2")])
PINNED = pytest.mark.parametrize(
    "plan", ["process:2", "process:1x4", *thorough("process:1", "process:2x4")]
)
EVERYWHERE = pytest.mark.parametrize("plan", ["inline", "thread:3", "process:2", "process:1x4"])
ORDERS = pytest.mark.parametrize("ordered", [True, False])


def outcomes(run: poolwise.Run[Any]) -> list[Any]:
    got = list(run)
    assert run.record().finished
    assert run.record().started == len(got)
    return got


@PLANS
@ORDERS
@pytest.mark.parametrize("how", ["SIGKILL", "segfault", "exit"])
def test_a_lost_call_runs_again(how: str, plan: str | None, ordered: bool, tmp_path: Path) -> None:
    fn = Deadly(tmp_path, how, {7: 1, 23: 2})
    run = poolwise.map(fn, range(40), plan=plan, ordered=ordered, retries=2)
    got = outcomes(run)
    assert sorted(got) == list(range(40))
    assert got == sorted(got) or not ordered
    assert run.record().retried >= (3 if plan else 0)
    assert plan is None or "started again" in str(run.explain())


@PINNED
@ORDERS
def test_what_kills_every_worker_ends_after_its_retries(
    plan: str, ordered: bool, tmp_path: Path
) -> None:
    fn = Deadly(tmp_path, "SIGSEGV", {5: 99})
    run = poolwise.map(fn, range(30), plan=plan, ordered=ordered, retries=3, on_error="return")
    failed = [each for each in outcomes(run) if isinstance(each, BaseException)]
    assert [each.index for each in failed] == [5]
    assert started(tmp_path, 5) == 4
    assert failed[0].tries == 4
    for part in ("call 5", "SIGSEGV", "library written in C", "started 4 times"):
        assert part in str(failed[0])
    # Each death costs one try of every call that ran beside it, and once only: then they are alone.
    assert run.record().lost_workers == 4


@pytest.mark.parametrize(
    ("plan", "ordered"),
    [
        ("process:2", True),
        (None, False),
        *thorough(
            ("process:2", False), ("process:1x4", True), ("process:1x4", False), (None, True)
        ),
    ],
)
def test_a_thousand_calls_survive_fifty_kills(
    plan: str | None, ordered: bool, tmp_path: Path
) -> None:
    chance = random.Random(5)
    fn = Deadly(tmp_path, "SIGKILL", dict.fromkeys(chance.sample(range(1000), 50), 1), 5e-4)
    run = poolwise.map(fn, range(1000), plan=plan, ordered=ordered, retries=50)
    got = outcomes(run)
    assert sorted(got) == list(range(1000))
    assert got == sorted(got) or not ordered
    if plan is not None:  # threads of one process may kill it at once
        assert 25 <= run.record().lost_workers <= 50
    assert list(poolwise.map(abs, range(9), plan=plan)) == list(range(9))


@PINNED
def test_without_retries_only_what_had_started_fails(plan: str, tmp_path: Path) -> None:
    fn = Deadly(tmp_path, "exit", {11: 99})
    got = outcomes(poolwise.map(fn, range(30), plan=plan, on_error="return"))
    failed = [each for each in got if isinstance(each, BaseException)]
    assert all(isinstance(each, poolwise.WorkerCrashed) for each in failed)
    assert 11 in [each.index for each in failed]
    assert len(failed) <= (4 if plan.endswith("x4") else 1)
    assert "retries=1" in str(failed[0])
    assert "exit code 3" in str(failed[0])
    # One that dies with a neighbour may count as started and have come no further.
    assert all(started(tmp_path, each) <= 1 for each in range(30))


@pytest.mark.parametrize("plan", ["process:2", "process:1x4"])
def test_futures_survive_deaths(plan: str, tmp_path: Path) -> None:
    fn = Deadly(tmp_path, "SIGKILL", {3: 1, 8: 99})
    with poolwise.Executor(plan=plan, retries=2) as pool:
        futures = {pool.submit(fn, each): each for each in range(20)}
        for future in as_completed(futures):
            if futures[future] == 8:
                error = future.exception()
                assert isinstance(error, poolwise.WorkerCrashed)
                assert error.tries == 3
            else:
                assert future.result() == futures[future]
        assert pool.submit(abs, -1).result() == 1


@EVERYWHERE
@ORDERS
def test_exceptions_that_are_listed_are_tried_again(
    plan: str, ordered: bool, tmp_path: Path
) -> None:
    victims = {2: 1, 3: 1, 9: 9}
    fn = Flaky(tmp_path, ConnectionResetError, victims)
    run = poolwise.map(
        fn, range(20), plan=plan, ordered=ordered, retries=2, retry_on=OSError, on_error="return"
    )
    got = outcomes(run)
    assert sorted(each for each in got if isinstance(each, int)) == [
        each for each in range(20) if each != 9
    ]
    assert [type(each) for each in got if not isinstance(each, int)] == [ConnectionResetError]
    assert [started(tmp_path, each) for each in (2, 3, 9, 10)] == [2, 2, 3, 1]
    assert run.record().retried == 4
    assert run.record().failed == 1


@EVERYWHERE
def test_others_are_not(plan: str, tmp_path: Path) -> None:
    fn = Flaky(tmp_path, KeyError, {2: 1})
    with pytest.raises(KeyError):
        list(poolwise.map(fn, range(5), plan=plan, retries=5, retry_on=OSError))
    assert started(tmp_path, 2) == 1


@pytest.mark.parametrize("plan", ["inline", "thread:3", "process:2", None])
def test_futures_are_tried_again(plan: str | None, tmp_path: Path) -> None:
    fn = Flaky(tmp_path, TimeoutError, {2: 1, 9: 9})
    with poolwise.Executor(plan=plan, retries=2, retry_on=(KeyError, TimeoutError)) as pool:
        futures = [pool.submit(fn, each) for each in range(12)]
        assert isinstance(futures.pop(9).exception(), TimeoutError)
        assert [each.result() for each in futures] == [each for each in range(12) if each != 9]
    assert [started(tmp_path, each) for each in (2, 9, 10)] == [2, 3, 1]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"retries": -1}, ValueError, "retries takes a whole number of at least 0, not -1"),
        ({"retries": 1.5}, TypeError, "retries takes a whole number"),
        ({"retries": True}, TypeError, "retries takes a whole number"),
        ({"retries": 1, "retry_on": OSError()}, TypeError, "retry_on takes an exception type"),
        ({"retries": 1, "retry_on": (int,)}, TypeError, "retry_on takes an exception type"),
        ({"retry_on": OSError}, ValueError, "give retries"),
    ],
)
def test_what_cannot_be_is_refused(options: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        poolwise.map(abs, [1], **options)
    with pytest.raises(error, match=words):
        poolwise.Executor(**options)


def test_runs_divide_without_a_gap() -> None:
    assert list(runs([], 3)) == [(0, 3, False)]
    assert list(runs([0, 1, 2], 3)) == [(0, 3, True)]
    assert list(runs([0, 2, 3], 5)) == [
        (0, 1, True),
        (1, 2, False),
        (2, 4, True),
        (4, 5, False),
    ]


def test_a_part_of_outcomes_has_their_errors() -> None:
    error = KeyError(1)
    part = Outcomes([0, None, 2, 3], {1: error}, 4.0, 2.0).part(1, 3)
    assert part.values == [None, 2]
    assert part.errors == {0: error}
    assert (part.service, part.cpu) == (2.0, 1.0)


class ExitsWhenRead:
    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (3,)


def test_arguments_that_end_a_worker_take_no_call_along_that_had_ended() -> None:
    inputs: list[object] = [*range(2000)]
    inputs[700] = ExitsWhenRead()
    got = outcomes(poolwise.map(type, inputs, plan="process:2", on_error="return"))
    failed = [each for each in got if isinstance(each, BaseException)]
    assert [each.index for each in failed if isinstance(each, poolwise.WorkerCrashed)] == [700]
    assert len(failed) == 1
