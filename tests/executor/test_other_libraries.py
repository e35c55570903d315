"""The ways that other libraries have for an executor, with these libraries."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import dask
import joblib
import pytest

import poolwise

OPTIONS = [{"mechanism": "thread"}, {"mechanism": "process"}, {}]


@pytest.fixture(params=OPTIONS, ids=["thread", "process", "auto"])
def pool(request: pytest.FixtureRequest) -> Iterator[poolwise.Executor]:
    with poolwise.Executor(2, **request.param) as pool:
        yield pool


def place() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


HERE = place()


# ---- Dask: it asks an executor for `_max_workers` ------------------------------------------------


def test_dask_computes_on_it(pool: poolwise.Executor) -> None:
    squares = [dask.delayed(pow)(number, 2) for number in range(50)]
    total = dask.delayed(sum)(squares)
    assert total.compute(scheduler=pool) == sum(number**2 for number in range(50))
    with dask.config.set(scheduler=pool):
        assert dask.delayed(place)().compute() != HERE


def test_exceptions_pass_through_dask(pool: poolwise.Executor) -> None:
    with pytest.raises(ZeroDivisionError, match="division"):
        dask.delayed(lambda: 1 / 0)().compute(scheduler=pool)


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_dask_takes_it_for_its_pool(pool: poolwise.Executor, scheduler: str) -> None:
    with dask.config.set(pool=pool):
        assert dask.delayed(place)().compute(scheduler=scheduler) != HERE


# ---- joblib: it takes back ends, of which the documentation shows one on an executor -------------


class OnExecutor(joblib.parallel.ParallelBackendBase):  # type: ignore[misc]
    supports_retrieve_callback = True

    def __init__(self, executor: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.executor = executor

    def effective_n_jobs(self, n_jobs: int) -> int:
        return self.executor._max_workers

    def submit(self, function: Any, callback: Any) -> Any:
        future = self.executor.submit(function)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, future: Any) -> Any:
        return future.result()


@pytest.fixture
def parallel(pool: poolwise.Executor) -> Iterator[None]:
    joblib.register_parallel_backend("poolwise", OnExecutor)
    with joblib.parallel_config("poolwise", executor=pool):
        yield
    del joblib.parallel.BACKENDS["poolwise"]


@pytest.mark.parametrize("return_as", ["list", "generator", "generator_unordered"])
@pytest.mark.usefixtures("parallel")
def test_joblib_runs_on_it(return_as: str) -> None:
    results = joblib.Parallel(return_as=return_as)(
        joblib.delayed(pow)(number, 2) for number in range(200)
    )
    found = list(results)
    assert (sorted(found) if "un" in return_as else found) == [n**2 for n in range(200)]


@pytest.mark.usefixtures("parallel")
def test_exceptions_pass_through_joblib() -> None:
    with pytest.raises(ZeroDivisionError, match="division"):
        joblib.Parallel()(joblib.delayed(lambda n: 1 / n)(number) for number in (2, 1, 0))
