"""The door hands calls to a pool and hears what becomes of them."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from poolwise.machine.door import Door, WorkerLost
from poolwise.machine.places import KINDS, open_place
from poolwise.timing.repeat import Unmeasurable


def double(number: int) -> int:
    return 2 * number


def fail(number: int) -> None:
    raise LookupError(number)


def die(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("name", ["inline", "thread", "process"])
def test_calls_return_in_order(name: str) -> None:
    with Door(name, double, workers=1) as door:
        assert door.call(21) == 42
        assert door.calls([(each,) for each in range(50)]) == list(range(0, 100, 2))
        assert door.calls([(each,) for each in range(50)], 3) == list(range(0, 100, 2))
        assert door.batch(range(1000)) == list(range(0, 2000, 2))


@pytest.mark.parametrize("name", ["inline", "thread", "process"])
def test_what_a_call_raises_is_raised(name: str) -> None:
    with Door(name, fail, workers=1) as door, pytest.raises(LookupError):
        door.call(3)


def test_a_worker_that_dies_is_lost() -> None:
    with Door("process", die, workers=1) as door, pytest.raises(WorkerLost) as lost:
        door.call(signal.SIGKILL)
    assert lost.value.exit.signal == signal.SIGKILL


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_is_somewhere_else(kind: str) -> None:
    if kind == "interpreter" and sys.version_info < (3, 14):
        with pytest.raises(Unmeasurable, match=r"3\.14"):
            open_place(kind)
        return
    with open_place(kind) as place:
        assert (place.call(os.getpid) == os.getpid()) is (kind != "process")
