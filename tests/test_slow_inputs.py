"""Where inputs come slowly, a result does not wait for more than the next of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

import poolwise

#: How long each input is waited for, and each call for its own.
PACE, CALL = 0.1, 0.005

#: Inputs by which it is known that they come slowly, and what calls are like.
FIRST = 3


def nap(number: int) -> int:
    time.sleep(CALL)
    return number


def compute(number: int) -> int:
    until = time.thread_time() + CALL
    while time.thread_time() < until:
        pass
    return number


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("call", [nap, compute])
def test_results_keep_up_with_inputs(call: Callable[[int], int], ordered: bool) -> None:
    taken: list[int] = []
    behind: list[int] = []

    def inputs() -> Iterator[int]:
        for number in range(12):
            yield number
            time.sleep(PACE)
            behind.append(number + 1 - len(taken))

    for result in poolwise.map(call, inputs(), ordered=ordered):
        taken.append(result)
    assert sorted(taken) == list(range(12))
    # What was drawn last may be under way.
    assert max(behind[FIRST:]) <= 2, behind
