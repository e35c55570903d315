"""Calls that change what they share with the program are recognised, and lazy ones are not."""

from __future__ import annotations

import contextvars
import enum
import os
import threading
from collections.abc import Callable
from typing import ClassVar

import pytest

import poolwise
from poolwise.probe import EffectWatch
from poolwise.task import Task

counter = 0
seen: list[int] = []
table: dict[str, int] | None = None
CONFIG = {"factor": 3}


def counts(number: int) -> int:
    global counter
    counter += 1
    return counter


def collects(number: int) -> int:
    seen.append(number)
    return len(seen)


def fills(target: list[int]) -> list[int]:
    target.append(1)
    return target


def lazy(number: int) -> int:
    global table
    if table is None:
        table = {"one": 1}
    return table["one"] + number


def reads(number: int) -> int:
    return number * CONFIG["factor"]


class Keeps:
    def __init__(self) -> None:
        self.total = 0

    def __call__(self, number: int) -> int:
        self.total += number
        return self.total

    def method(self, number: int) -> int:
        self.total += number
        return self.total


def closure() -> Callable[[int], int]:
    total = 0

    def add(number: int) -> int:
        nonlocal total
        total += number
        return total

    return add


def collects_in_a_default(number: int, seen: list[int] = []) -> int:  # noqa: B006
    seen.append(number)
    return len(seen)


def collects_by_keyword(number: int, *, seen: dict[int, int] = {}) -> int:  # noqa: B006
    seen[number] = number
    return len(seen)


class Registry:
    _seen: ClassVar[list[int]] = []
    _made = 0

    class _Inner:
        made = 0


class Meta(type):
    pass


class Made(metaclass=Meta):
    made = 0


class Kind(enum.Enum):
    ONE = 1

    @classmethod
    def count(cls) -> None:
        cls._counted = getattr(cls, "_counted", 0) + 1  # type: ignore[attr-defined]


def collects_in_private(number: int) -> None:
    Registry._seen.append(number)


def counts_in_private(number: int) -> None:
    Registry._made += 1


def counts_within(number: int) -> None:
    Registry._Inner.made += 1


def counts_in_metaclass(number: int) -> None:
    Made.made += 1


def counts_in_enum(number: int) -> None:
    Kind.count()


def counts_in_local_class() -> Callable[[int], None]:
    class Local:
        made = 0

    def add(number: int) -> None:
        Local.made += 1

    return add


variable = contextvars.ContextVar("variable", default=0)
memory = memoryview(bytearray(100))
matrix = memoryview(bytearray(16)).cast("B", (4, 4))[::2]


def sets_a_context_variable(number: int) -> None:
    variable.set(variable.get() + 1)


def writes_to_memory(number: int) -> None:
    memory[number] += 1


def sets_the_environment(number: int) -> None:
    os.environ["POOLWISE_TEST_EFFECTS"] = str(number)


class Job:
    done = 0

    def run(self) -> None:
        Job.done += 1


def runs(job: Job) -> None:
    job.run()


def watch(function: Callable[..., object], inputs: list[object]) -> EffectWatch:
    watch, task = EffectWatch(), Task(function)
    for argument in inputs:
        columns = ([argument],)
        watch.before(task, columns)
        function(argument)
        watch.after(task, columns)
    return watch


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (counts, "test_effects.counter"),
        (collects, "test_effects.seen"),
        (collects_in_a_default, "a list that the function holds"),
        (collects_by_keyword, "a dict that the function holds"),
        (Keeps(), "a Keeps that the function holds"),
        (Keeps().method, "a Keeps that the function holds"),
        (closure(), "an int that the function holds"),
        (collects_in_private, "test_effects.Registry._seen"),
        (counts_in_private, "test_effects.Registry._made"),
        (counts_within, "test_effects.Registry._Inner.made"),
        (counts_in_metaclass, "test_effects.Made.made"),
        (counts_in_enum, "an int that the function holds"),
        (counts_in_local_class(), "an int that the function holds"),
        (sets_a_context_variable, "test_effects.variable"),
        (writes_to_memory, "test_effects.memory"),
        (sets_the_environment, "os.environ"),
    ],
    ids=repr,
)
def test_calls_that_change_something_every_time_are_for_a_loop(
    function: Callable[..., object], what: str
) -> None:
    refusal = watch(function, [1, 2, 3]).refusal
    assert refusal is not None
    assert f"each call changes {what}" in refusal.reason


def test_arguments_that_are_changed_every_time() -> None:
    refusal = watch(fills, [[1], [2], [3]]).refusal
    assert refusal is not None
    assert refusal.reason == "each call changes its arguments"


def test_what_methods_of_arguments_change_every_time() -> None:
    refusal = watch(runs, [Job(), Job(), Job()]).refusal
    assert refusal is not None
    assert refusal.reason == "each call changes test_effects.Job.done"


def names_a_kind(number: int) -> object:
    return Kind.ONE, matrix.nbytes, variable.get()


def test_one_call_is_too_few_to_say() -> None:
    once = watch(counts, [1])
    assert once.undecided
    assert once.refusal is None


def test_a_lazy_initialisation_is_none_of_that() -> None:
    global table
    table = None
    assert watch(lazy, [1, 2]).refusal is None
    assert not watch(lazy, [1, 2]).undecided


@pytest.mark.parametrize(
    "function", [reads, names_a_kind, len, str, threading.Lock().locked], ids=repr
)
def test_calls_that_change_nothing(function: Callable[..., object]) -> None:
    harmless = EffectWatch()
    task = Task(function)
    harmless.before(task, (["a"],))
    harmless.after(task, (["a"],))
    assert not harmless.undecided
    assert harmless.refusal is None


def slowly_counts(number: int) -> int:
    for step in range(40_000):
        number += step & 1
    return counts(number)


def test_such_calls_run_in_a_loop_under_auto_and_the_reason_is_given() -> None:
    global counter
    counter = 0
    run = poolwise.map(slowly_counts, range(100))
    assert run.results() == list(range(1, 101))
    assert counter == 100
    assert run.plan.mechanism == "inline"
    advice = poolwise.advise(slowly_counts, range(100))
    refused = [each for each in advice.forecasts if each.refusal is not None]
    assert refused
    assert "each call changes" in str(refused[0].refusal)
    advice.close()
