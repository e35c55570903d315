"""The plain loop: what a batch does that turns out to be longer than it should be."""

from __future__ import annotations

import json
import time

import pytest

import poolwise
from poolwise.mechanisms import inline, mechanism
from poolwise.mechanisms.inline import run_loop
from poolwise.task import Batch, Task
from poolwise.testing import Subject


class Ticks:
    """A clock that goes on by so much with each call that `lasts`, and with nothing else."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def lasts(self, seconds: float) -> float:
        self.now += seconds
        return seconds


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    ticks = Ticks()
    monkeypatch.setattr(inline, "perf_counter", ticks)
    return ticks


@pytest.mark.parametrize("calls", [1, 31, 32, 33, 1_000, 8_000])
def test_calls_that_come_to_last_end_their_batch_soon(ticks: Ticks, calls: int) -> None:
    works = [1e-7] * (calls // 2) + [1.0] * (calls - calls // 2)
    values, errors = run_loop(Batch(Task(ticks.lasts), (works,)))
    assert not errors
    assert values == works[: len(values)]
    assert values.count(1.0) <= max(1, calls // 32 + 1)


@pytest.mark.parametrize("calls", [2, 100, 8_000])
def test_calls_that_last_from_the_first_on_end_their_batch_with_the_first(
    ticks: Ticks, calls: int
) -> None:
    values, errors = run_loop(Batch(Task(ticks.lasts), ([1.0] * calls,)))
    assert (values, errors) == ([1.0], {})


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("calls", [1, 64, 100, 1_000])
def test_a_batch_that_takes_its_time_runs_whole(ticks: Ticks, calls: int, columns: int) -> None:
    numbers = list(range(calls))
    values, errors = run_loop(Batch(Task(max), ([numbers, numbers])[:columns] * 2))
    assert (values, errors) == (numbers, {})


def test_what_a_batch_has_not_begun_is_returned(ticks: Ticks) -> None:
    with Subject(mechanism("inline")).open().start() as pool:
        kinds = [end.kind for end in pool.run(ticks.lasts, [1.0] * 200)]
    assert kinds == ["done"] + ["returned"] * 199


def test_errors_stand_where_they_belong_across_looks(ticks: Ticks) -> None:
    def picky(number: int) -> int:
        if number % 7 == 0:
            raise ValueError(number)
        if number % 11 == 0:
            raise StopIteration(number)
        return number

    values, errors = run_loop(Batch(Task(picky), (list(range(1_000)),)))
    assert len(values) == 1_000
    for number, value in enumerate(values):
        if number % 7 == 0 or number % 11 == 0:
            assert value is None
            assert type(errors[number]) is (StopIteration if number % 7 else ValueError)
        else:
            assert value == number
            assert number not in errors


def test_a_map_of_calls_that_come_to_wait_leaves_the_loop() -> None:
    def call(number: int) -> int:
        if number >= 50_000:
            time.sleep(0.02)
        return number

    inputs = [*range(49_000), *range(50_000, 50_300)]
    assert list(poolwise.map(call, inputs)) == inputs
    told = poolwise.last_run().explain()
    # The plan in the end is for few calls, or for one.
    assert any(use["plan"]["workers"] > 1 for use in json.loads(told.to_json())["uses"]), str(told)
