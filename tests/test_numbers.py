"""Numbers of any type are taken where a number is asked for, as NumPy's are, and converted once."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest

import poolwise
from executor.calls import compute
from poolwise.executor.guards import guards_of
from poolwise.executor.workers import worker_options
from poolwise.plan import check_count
from programs import NEEDS_NUMPY


class Index:
    """A whole number that is no `int`."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __index__(self) -> int:
        return self._number


COUNTS = [
    {"max_workers": Index(2)},
    {"mechanism": "process", "max_workers": Index(2), "threads_per_worker": Index(1)},
    {"max_concurrency": Index(3)},
    {"max_tasks_per_child": Index(9), "plan": "process:1"},
    {"retries": Index(1)},
    {"memory_limit": Index(10**9)},
    {"memory_limit": 1e9},
    {"task_timeout": Fraction(60)},
    {"idle_timeout": Fraction(1, 2)},
]
OF_A_MAP = [
    {"chunksize": Index(3)},
    {"buffersize": Index(4)},
    {"total": Index(9)},
    {"seed": Index(1)},
]


@pytest.mark.parametrize("options", COUNTS + OF_A_MAP, ids=str)
def test_a_map_takes_them(options: dict[str, Any]) -> None:
    assert list(poolwise.map(abs, range(9), **options)) == list(range(9))


@pytest.mark.parametrize("options", COUNTS, ids=str)
def test_an_executor_takes_them(options: dict[str, Any]) -> None:
    with poolwise.Executor(**options) as pool:
        assert pool.submit(abs, -1).result(Fraction(30)) == 1  # type: ignore[arg-type]
        results = pool.map(abs, [1], timeout=Fraction(30), chunksize=Index(1), buffersize=Index(1))  # type: ignore[arg-type]
        assert list(results) == [1]
        pool.shutdown(grace=Fraction(30))  # type: ignore[arg-type]


def test_advice_takes_them() -> None:
    advice = poolwise.advise(abs, range(9), max_workers=Index(2), total=Index(9))  # type: ignore[arg-type]
    assert list(advice.run()) == list(range(9))


def test_a_plan_has_plain_numbers() -> None:
    plan = poolwise.Plan("process", Index(2), Index(3), Index(4))  # type: ignore[arg-type]
    assert plan == poolwise.Plan("process", 2, 3, 4)
    assert plan.spec == "process:2x3/4"
    assert json.dumps([plan.workers, plan.threads_per_worker, plan.batch_size]) == "[2, 3, 4]"


@pytest.mark.parametrize("limit", [1.5, float("nan"), float("inf"), True, None.__class__])
def test_a_part_of_a_byte_is_none(limit: Any) -> None:
    with pytest.raises(TypeError, match="memory_limit takes bytes above 0"):
        guards_of(None, limit, False, False)


@pytest.mark.parametrize("count", [True, 2.0, "2", Fraction(2)])
def test_what_is_no_count(count: Any) -> None:
    with pytest.raises(TypeError, match="takes a whole number"):
        check_count("max_workers", count)


def test_more_seconds_than_a_float_holds_are_out_of_range() -> None:
    with pytest.raises(ValueError, match="task_timeout takes seconds"):
        guards_of(10**400, None, False, False)


@NEEDS_NUMPY
def test_numpys_are_converted_where_they_are_checked() -> None:
    import numpy

    guards = guards_of(numpy.float32(3), numpy.int64(10**9), False, False)  # type: ignore[arg-type]
    assert repr((guards.timeout, guards.memory)) == "(3.0, 1000000000)"
    options = worker_options(idle_timeout=numpy.float16(2), max_tasks_per_child=numpy.uint8(3))  # type: ignore[arg-type]
    assert repr((options.idle_timeout, options.calls_per_worker)) == "(2.0, 3)"
    assert poolwise.Plan("thread", numpy.int64(2)).spec == "thread:2"  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="max_workers takes a whole number"):
        poolwise.Executor(max_workers=numpy.bool_(True))  # type: ignore[arg-type]


@NEEDS_NUMPY
def test_a_wait_is_as_long_as_numpy_says() -> None:
    import numpy

    queue: poolwise.Queue[int] = poolwise.Queue(maxsize=numpy.int64(2))  # type: ignore[arg-type]
    queue.put(1, timeout=numpy.float32(30))  # type: ignore[arg-type]
    assert queue.get(timeout=numpy.float32(30)) == 1  # type: ignore[arg-type]
    with poolwise.Executor(1) as pool:
        assert pool.submit(compute, 1e-3).result(numpy.float32(30)) > 0  # type: ignore[arg-type]
