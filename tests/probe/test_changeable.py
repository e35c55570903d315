"""Which calls could change nothing that they share with the program."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from poolwise.probe.changeable import nothing_can_change
from poolwise.task import Task

LIMIT = 3
seen: list[int] = []
count = 0
remember = seen.append


@dataclass(frozen=True)
class Fixed:
    number: int


@dataclass
class Open:
    number: int


def plain(x: object) -> object:
    return x


def reads_a_constant(x: int) -> int:
    return min(x, LIMIT)


def sets_the_environment(x: int) -> None:
    os.environ["X"] = str(x)


def updates_the_environment(x: int) -> None:
    os.environ.update(X=str(x))


def sets_the_environment_for_a_while(x: int) -> None:
    os.environ["X"] = str(x)
    del os.environ["X"]


def reads_the_environment(x: int) -> str:
    return os.environ.get("X", "")


def calls_another(x: int) -> int:
    return reads_a_constant(x) + len(os.sep)


def has_variables_of_its_own(x: int) -> int:
    squares = []
    total = 0

    def add(y: int) -> None:
        nonlocal total
        total += y
        squares.append(y * y)

    add(x)
    return total


def fills(x: int) -> None:
    seen.append(x)


def fills_by_another_name(x: int) -> None:
    remember(x)


def counts(x: int) -> int:
    global count
    count += x
    return count


def counts_elsewhere(x: int) -> int:
    return counts(x)


def sets_by_name(x: int) -> None:
    globals()["count"] = x


def sets_an_attribute(x: int) -> None:
    plain.last = x  # type: ignore[attr-defined]


def closure() -> Callable[[int], int]:
    total = 0

    def add(x: int) -> int:
        nonlocal total
        total += x
        return total

    return add


class Counter:
    def __init__(self) -> None:
        self.total = 0

    def __call__(self, x: int) -> int:
        return x

    def method(self, x: int) -> int:
        return x


@pytest.mark.parametrize(
    "function",
    [
        plain, reads_a_constant, calls_another, has_variables_of_its_own, reads_the_environment,
        sets_the_environment_for_a_while, partial(pow, 2), len, int,
    ],
    ids=str,
)  # fmt: skip
def test_nothing_is_within_reach(function: Callable[..., object]) -> None:
    assert nothing_can_change(Task(function), ([1],))


@pytest.mark.parametrize(
    "function",
    [
        fills, fills_by_another_name, counts, counts_elsewhere, sets_by_name, sets_an_attribute,
        closure(), Counter(), Counter().method, seen.append, partial(plain, seen),
        sets_the_environment, updates_the_environment,
    ],
    ids=str,
)  # fmt: skip
def test_something_is(function: Callable[..., object]) -> None:
    assert not nothing_can_change(Task(function), ([1],))


@pytest.mark.parametrize("value", [1, "a", b"a", None, (1, ("a", 2.0)), range(3), Fixed(1)])
def test_arguments_that_stay_as_they_are(value: object) -> None:
    assert nothing_can_change(Task(plain), ([value],))


@pytest.mark.parametrize("value", [[1], {}, bytearray(), ([],), Open(1), Fixed([])])  # type: ignore[arg-type]
def test_arguments_that_can_be_changed(value: object) -> None:
    assert not nothing_can_change(Task(plain), ([value],))
