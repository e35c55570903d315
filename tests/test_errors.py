"""Errors: one tree, texts that say what happened, and nothing lost on the way between processes."""

from __future__ import annotations

import copy
import pickle
import signal
from concurrent.futures import BrokenExecutor
from concurrent.futures.process import BrokenProcessPool
from concurrent.futures.thread import BrokenThreadPool

import pytest

from poolwise import errors
from poolwise.errors import (
    ChannelClosed,
    InitializerFailed,
    MemoryLimitExceeded,
    OwnerDied,
    PlanRefused,
    PoolFailed,
    PoolwiseError,
    StaleProfile,
    TaskTimeout,
    TransferError,
    WorkerCrashed,
    WorkersKilled,
)
from poolwise.task import Exit, Refusal

CRASH = WorkerCrashed("parse(3)", Exit(4711, signal=signal.SIGKILL), 17)
REFUSED = PlanRefused("8 threads", Refusal("parse is a coroutine function", "give a function"))
TRANSFER = TransferError("the result of parse(3) cannot be pickled")
KILLED = WorkersKilled("kill_workers ended the worker of this call")
INITIALIZER = InitializerFailed("KeyError: 3")
FAILED = PoolFailed("no worker can be started")
CLOSED = ChannelClosed("the queue is closed")
DIED = OwnerDied("it is free again")
STALE = StaleProfile({"kernel": ("Linux 6.1", "Linux 6.2"), "usable_cpus": (2.0, 0.5)})
LATE = TaskTimeout("call 3 of parse", 2.0, 3)
LARGE = MemoryLimitExceeded("call 3 of parse", 2 * 10**9, 3)
ALL = (
    CRASH,
    REFUSED,
    TRANSFER,
    KILLED,
    INITIALIZER,
    FAILED,
    CLOSED,
    DIED,
    STALE,
    LATE,
    LARGE,
    PoolwiseError("text"),
)


def test_every_error_of_the_module_is_in_the_tree() -> None:
    classes = {
        each
        for each in vars(errors).values()
        if isinstance(each, type) and each.__module__ == errors.__name__
    }
    assert classes == {type(each) for each in ALL}
    assert all(issubclass(each, PoolwiseError) for each in classes)
    assert errors.__doc__ is not None
    assert all(each.__name__ in errors.__doc__ for each in classes)


@pytest.mark.parametrize(
    ("error", "standard"),
    [
        (CRASH, BrokenProcessPool),
        (CRASH, BrokenExecutor),
        (TRANSFER, pickle.PicklingError),
        (REFUSED, ValueError),
        (KILLED, BrokenProcessPool),
        (INITIALIZER, BrokenProcessPool),
        (INITIALIZER, BrokenThreadPool),
        (FAILED, BrokenProcessPool),
        (FAILED, BrokenThreadPool),
        (CLOSED, EOFError),
        (LATE, TimeoutError),
        (LARGE, MemoryError),
    ],
)
def test_what_catches_the_standard_error_catches_ours(
    error: Exception, standard: type[Exception]
) -> None:
    assert isinstance(error, standard)


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_and_copying(error: Exception) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_a_list_of_results_shows_what_an_error_says(error: Exception) -> None:
    assert repr(error) == f"{type(error).__name__}({str(error)!r})"


def test_only_where_there_are_retries_are_they_spoken_of() -> None:
    exit = Exit(4711, code=3)
    assert "retries=1" in str(WorkerCrashed("parse(3)", exit))
    assert "retries" not in str(WorkerCrashed("parse(3)", exit, retriable=False))


@pytest.mark.parametrize(
    ("exit", "said"),
    [
        (Exit(4711, signal=signal.SIGKILL), ["SIGKILL", "4711", "memory"]),
        (Exit(4711, signal=signal.SIGSEGV), ["SIGSEGV", "4711"]),
        (Exit(4711, signal=signal.SIGRTMIN + 1), [f"signal {signal.SIGRTMIN + 1}", "4711"]),
        (Exit(4711, code=3), ["exit code 3", "4711"]),
        (Exit(4711, code=0), ["exit code 0", "4711"]),
        (Exit(4711), ["unknown", "4711"]),
    ],
)
def test_a_crash_says_which_call_and_how_it_ended(exit: Exit, said: list[str]) -> None:
    error = WorkerCrashed("parse(3)", exit)
    assert (error.call, error.exit, error.index) == ("parse(3)", exit, None)
    assert all(part in str(error) for part in ["parse(3)", *said])


def test_only_a_kill_is_put_down_to_memory() -> None:
    assert "memory" not in str(WorkerCrashed("parse(3)", Exit(4711, signal=signal.SIGSEGV)))
    assert "memory" not in str(WorkerCrashed("parse(3)", Exit(4711, code=1)))


def test_a_refusal_says_why_and_what_would_do() -> None:
    text = str(REFUSED)
    assert all(part in text for part in ("8 threads", "coroutine function", "give a function"))
    assert str(Refusal("no threads")) == "no threads"
