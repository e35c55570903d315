"""What speaks against threads or processes can be seen before anything runs."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

import poolwise
from poolwise.probe import carrying_refusal, pickling_refusal, read_traits
from poolwise.task import Task, TaskTraits

LOCK = threading.Lock()


def plain(number: int) -> int:
    return number


async def coroutine(number: int) -> int:
    return number


async def async_generator(number: int) -> AsyncIterator[int]:
    yield number


def generator(number: int) -> Iterator[int]:
    yield number


class Identity:
    """Its instances can be called, and methods of each kind."""

    func = None  # a name that `functools.partial` has as well

    def __call__(self, number: int) -> int:
        return number

    def method(self, number: int) -> int:
        return number

    @classmethod
    def of(cls, number: int) -> int:
        return number

    @staticmethod
    def static(number: int) -> int:
        return number


class Async(Identity):
    async def __call__(self, number: int) -> int:  # type: ignore[override]
        return number


class Generating(Identity):
    def __call__(self, number: int) -> Iterator[int]:  # type: ignore[override]
        yield number


class Locked(Identity):
    def __init__(self) -> None:
        self.lock = threading.Lock()


def of(function: Callable[..., object]) -> TaskTraits:
    return read_traits(Task(function))


def closure_over(value: object) -> Callable[[object], object]:
    return lambda number: (value, number)


@functools.lru_cache
def cached(number: int) -> int:
    return number


@pytest.mark.parametrize(
    "function",
    [
        plain,
        len,
        str.upper,
        "text".join,
        int,
        Identity,
        Identity(),
        Identity().method,
        Identity.of,
        Identity.static,
        functools.partial(plain, 1),
        functools.partial(functools.partial(pow, 2), mod=7),
        functools.partial(Identity()),
        closure_over(3),
        cached,
        lambda number: asyncio.run(coroutine(number)),
    ],
)
def test_nothing_speaks_against_what_can_be_called_and_pickled(
    function: Callable[..., object],
) -> None:
    assert of(function) == TaskTraits()


@pytest.mark.parametrize(
    "function",
    [
        coroutine,
        async_generator,
        Async(),
        Async().__call__,
        functools.partial(coroutine, 1),
        functools.partial(Async(), 1),
        functools.partial(async_generator),
    ],
)
def test_a_coroutine_function_is_for_the_loop_alone(function: Callable[..., object]) -> None:
    traits = of(function)
    assert traits.concurrent is not None
    assert "coroutine function" in traits.concurrent.reason
    assert "asyncio.run" in traits.concurrent.remedy
    assert traits.elsewhere == traits.concurrent


@pytest.mark.parametrize(
    "function", [generator, Generating(), functools.partial(generator, 1), Generating().__call__]
)
def test_a_generator_function_is_for_the_loop_alone(function: Callable[..., object]) -> None:
    traits = of(function)
    assert traits.concurrent is not None
    assert traits.elsewhere is not None
    assert "generator function" in traits.concurrent.reason
    assert "cannot be pickled" in traits.elsewhere.reason
    assert "list" in traits.elsewhere.remedy


@pytest.mark.parametrize(
    "function",
    [
        closure_over(LOCK),
        Locked(),
        Locked().method,
        functools.partial(plain, LOCK),
        LOCK.acquire,
        closure_over(number for number in range(3)),
    ],
)
def test_what_does_not_pickle_is_for_threads(function: Callable[..., object]) -> None:
    assert of(function) == TaskTraits()
    refusal = pickling_refusal(Task(function))
    assert refusal is not None
    assert "cannot be pickled" in refusal.reason
    assert refusal.remedy == "use threads or a plain loop"


@pytest.mark.parametrize("mode", ["r", "rb", "a"])
def test_a_file_that_is_read_in_turn_stays_here(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lines").write_text("1\n2\n")
    with open(tmp_path / "lines", mode) as file:
        refusal = pickling_refusal(Task(closure_over(file)))
        assert refusal is not None
        assert "cannot be pickled" in refusal.reason
        monkeypatch.setattr(sys.modules[__name__], "LINES", file)
        assert pickling_refusal(Task(reads_lines)) is None
        refusal = carrying_refusal(Task(reads_lines))
        assert refusal is not None
        assert "test_traits.LINES cannot be pickled" in refusal.reason
        with pytest.raises(poolwise.PlanRefused, match="cannot be pickled"):
            next(poolwise.map(closure_over(file), range(3), plan="process:1"))


def test_standard_output_is_that_of_whoever_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(tmp_path / "output", "w") as output:
        assert pickling_refusal(Task(closure_over(output))) is not None
        monkeypatch.setattr(sys, "stdout", output)
        assert pickling_refusal(Task(closure_over(output))) is None


LINES: object = None


def reads_lines(number: int) -> object:
    return LINES


def test_what_pickles_is_not_refused() -> None:
    assert pickling_refusal(Task(plain)) is None
    assert pickling_refusal(Task(closure_over(3))) is None


def test_a_refusal_names_the_function_and_the_cause() -> None:
    refusal = pickling_refusal(Task(closure_over(LOCK)))
    assert refusal is not None
    assert "closure_over" in refusal.reason
    assert "lock" in refusal.reason


def test_an_object_that_answers_to_every_name_is_taken_for_what_it_is() -> None:
    assert of(Mock()).concurrent is None


def test_looking_does_not_call() -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError

    assert of(fail) == TaskTraits()
