"""What keeps an object from being sent is named so that one can find it."""

from __future__ import annotations

import copy
import multiprocessing
import queue
import threading

import pytest

import poolwise
from _poolwise_worker.culprit import explain


def test_a_long_path_is_shown_without_its_middle() -> None:
    deep: list[object] = [threading.Lock()]
    for _ in range(500):
        deep = [deep]
    said = explain({"first": deep}, "argument 1", TypeError())
    assert said.startswith("argument 1['first'][0][0]")
    assert " … " in said
    assert "[0][0] (in argument 1, a dict) is a lock" in said
    assert len(said) < 500


def test_a_short_path_is_shown_whole() -> None:
    said = explain([{"a": threading.Lock()}], "x", TypeError())
    assert said.startswith("x[0]['a'] (in x, a list) is a lock")


@pytest.mark.parametrize(
    ("thing", "there"),
    [
        (threading.Lock(), "Lock"),
        (threading.RLock(), "RLock"),
        (threading.Event(), "Event"),
        (queue.Queue(), "Queue"),
        (queue.SimpleQueue(), "Queue"),
        (multiprocessing.get_context("fork").Lock(), "Lock"),
        (multiprocessing.get_context("fork").BoundedSemaphore(), "BoundedSemaphore"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__module__,
)
def test_what_would_do_instead_is_that_of_the_whole_and_not_of_its_lock(
    thing: object, there: str
) -> None:
    said = explain({"it": thing}, "argument 1", TypeError())
    assert said.endswith(f"; a poolwise.{there} can be sent")
    assert hasattr(poolwise, there)


def test_nothing_is_said_of_what_only_has_such_a_name() -> None:
    class Queue:
        def __reduce__(self) -> str:
            raise TypeError("not this")

    assert "poolwise" not in explain(Queue(), "argument 1", TypeError("not this"))


def test_an_executor_is_named_and_not_what_is_inside() -> None:
    pool = poolwise.Executor(1)

    def submits(number: int) -> int:
        return pool.submit(abs, number).result()

    with pytest.raises(poolwise.PlanRefused, match=r"variable pool .* an Executor .* stays in its"):
        list(poolwise.map(submits, [1], plan="process:1"))
    with pytest.raises(poolwise.TransferError, match="argument 1 is an Executor"):
        list(poolwise.map(type, [pool], plan="process:1"))
    with pytest.raises(poolwise.TransferError, match="an executor stays"):
        copy.copy(pool)
