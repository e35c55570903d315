"""What type checkers must understand. Never run; see `test_typing.py`."""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor as StandardExecutor
from concurrent.futures import Future, as_completed, wait
from typing import assert_type

import poolwise
from poolwise import Executor, Plan, Run


def length(text: str) -> int:
    return len(text)


def repeat(text: str, times: int) -> list[str]:
    return [text] * times


def three(a: int, b: str, c: bytes) -> tuple[int, str, bytes]:
    return a, b, c


def four(a: int, b: int, c: int, d: int) -> float:
    return a + b + c + d


def five(a: int, b: int, c: int, d: int, e: str) -> str:
    return e * (a + b + c + d)


def six(a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    return a + b + c + d + e + f


def keywords(a: int, *, scale: float = 1.0, **rest: str) -> float:
    return a * scale


class Scaler:
    def __call__(self, number: float) -> complex:
        return complex(number)

    def method(self, number: int) -> bytes:
        return bytes(number)


def maps(texts: list[str], numbers: Iterator[int]) -> None:
    assert_type(poolwise.map(length, texts), Run[int])
    assert_type(list(poolwise.map(length, texts)), list[int])
    assert_type(next(poolwise.map(length, texts)), int)
    assert_type(poolwise.map(length, texts).results(), list[int])
    assert_type(poolwise.map(repeat, texts, numbers), Run[list[str]])
    assert_type(poolwise.map(three, [1], ["b"], [b"c"]), Run[tuple[int, str, bytes]])
    assert_type(poolwise.map(four, [1], [2], [3], [4]), Run[float])
    assert_type(poolwise.map(five, [1], [2], [3], [4], "e"), Run[str])
    assert_type(poolwise.map(six, [1], [2], [3], [4], [5], [6]), Run[int])
    assert_type(poolwise.map(Scaler(), [1.0]), Run[complex])
    assert_type(poolwise.map(Scaler().method, [1]), Run[bytes])
    assert_type(poolwise.map(functools.partial(repeat, times=2), texts), Run[list[str]])
    for text, result in zip(texts, poolwise.map(length, texts, ordered=True), strict=True):
        assert_type((text, result), tuple[str, int])


def options(texts: list[str]) -> None:
    assert_type(poolwise.map(length, texts, on_error="return"), Run[int | Exception])
    assert_type(poolwise.map(repeat, texts, [1], on_error="return"), Run[list[str] | Exception])
    assert_type(poolwise.map(length, texts, on_error="raise", max_workers=3), Run[int])
    assert_type(poolwise.map(length, texts, plan="process:2x3", buffersize=9), Run[int])
    assert_type(poolwise.map(length, texts, isolate=True, seed=7), Run[int])
    assert_type(poolwise.map(length, texts, plan=Plan("thread", 4), progress=print), Run[int])
    assert_type(poolwise.map(length, texts, initializer=print, initargs=("a",)), Run[int])
    with poolwise.map(length, texts) as run:
        assert_type(run, Run[int])
        assert_type(run.plan, Plan)


def executors(texts: list[str]) -> None:
    standard: StandardExecutor = Executor()
    assert_type(standard.submit(length, "a"), Future[int])
    context = multiprocessing.get_context("spawn")
    with Executor(4, context, print, ("a",), max_tasks_per_child=3) as pool:
        assert_type(pool, Executor)
        assert_type(pool.submit(length, "a"), Future[int])
        assert_type(pool.submit(repeat, "a", times=3).result(), list[str])
        assert_type(pool.submit(keywords, 1, scale=2.0, other="text"), Future[float])
        assert_type(list(pool.map(length, texts, timeout=3, buffersize=5)), list[int])
        assert_type(list(pool.starmap(repeat, [("a", 1)])), list[list[str]])
        futures = [pool.submit(length, text) for text in texts]
        for future in as_completed(futures):
            assert_type(future.result(), int)
        assert_type(wait(futures).done, set[Future[int]])
        pool.kill_workers()
    Executor(isolate=True, idle_timeout=3.5).shutdown()
    Executor(thread_name_prefix="mine", mechanism="thread").shutdown(wait=True, cancel_futures=True)


async def beside_a_loop() -> None:
    loop = asyncio.get_running_loop()
    assert_type(await loop.run_in_executor(Executor(), length, "a"), int)
