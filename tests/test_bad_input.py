"""Every public parameter that is wrong is named, with what was given, before anything starts."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

import poolwise

COUNT = "a whole number of at least 1"

#: What every option that both `map` and `Executor` have does not take, and the words for it.
SHARED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"mechanism": "threads"}, ValueError, "mechanism takes one of auto, .*'threads'"),
    ({"mechanism": None}, ValueError, "mechanism takes one of auto, .*None"),
    ({"plan": 3}, TypeError, "plan takes a Plan or its text, .*3"),
    ({"plan": "process:x"}, ValueError, "'process:x' is not a plan; write"),
    ({"plan": "thread:0"}, ValueError, "workers takes .* at least 1, not 0"),
    (
        {"plan": "process:10000000"},
        poolwise.PlanRefused,
        "10,000,000 processes is refused: there can be at most .* worker processes here: .*fewer",
    ),
    (
        {"mechanism": "process", "max_workers": 10_000_000},
        poolwise.PlanRefused,
        "at most .* worker processes here",
    ),
    (
        {"plan": "process:2x5000000"},
        poolwise.PlanRefused,
        "at most .* threads here: .*processes and threads",
    ),
    ({"plan": "gpu:2"}, ValueError, "unknown mechanism 'gpu'"),
    ({"max_workers": "2"}, TypeError, f"max_workers takes {COUNT}, not '2'"),
    ({"max_workers": 1.5}, TypeError, f"max_workers takes {COUNT}, not 1.5"),
    ({"max_workers": 0}, ValueError, "max_workers .*0"),
    ({"threads_per_worker": 0}, ValueError, f"threads_per_worker takes {COUNT}, not 0"),
    ({"threads_per_worker": True}, TypeError, f"threads_per_worker takes {COUNT}, not True"),
    ({"max_concurrency": -1}, ValueError, f"max_concurrency takes {COUNT}, not -1"),
    ({"max_concurrency": "9"}, TypeError, f"max_concurrency takes {COUNT}, not '9'"),
    ({"initializer": 3}, TypeError, "initializer must be a callable, not 3"),
    ({"initializer": print, "initargs": 3}, TypeError, "initargs takes a tuple .*3"),
    ({"max_tasks_per_child": "3"}, TypeError, "max_tasks_per_child must be an integer"),
    ({"max_tasks_per_child": 0}, ValueError, "max_tasks_per_child must be >= 1, not 0"),
    ({"start_method": "clone"}, ValueError, "start_method takes one of .*'clone'"),
    ({"start_method": 3}, ValueError, "start_method takes one of .*3"),
    ({"idle_timeout": "9"}, TypeError, "idle_timeout takes a number of seconds, not '9'"),
    ({"idle_timeout": -1}, ValueError, "idle_timeout takes seconds from 0 on"),
    ({"idle_timeout": float("nan")}, ValueError, "idle_timeout takes seconds from 0 on"),
    ({"isolate": 1}, TypeError, "isolate takes True or False, not 1"),
    ({"retries": -1}, ValueError, "retries takes a whole number of at least 0, not -1"),
    ({"retries": "1"}, TypeError, "retries takes a whole number of at least 0, not '1'"),
    ({"retries": 1, "retry_on": "OSError"}, TypeError, "retry_on takes an exception type .*OSE"),
    ({"retry_on": OSError}, ValueError, "retry_on .*: give retries, too"),
    ({"task_timeout": 0}, ValueError, "task_timeout takes seconds above 0, .*not 0"),
    ({"task_timeout": "1"}, TypeError, "task_timeout takes a number of seconds, .*'1'"),
    ({"memory_limit": "much"}, ValueError, "memory_limit takes bytes above 0, .*'much'"),
    ({"memory_limit": 1.5}, TypeError, "memory_limit takes bytes above 0, .*1.5"),
    ({"kill_on_cancel": 1}, TypeError, "kill_on_cancel takes True or False, not 1"),
    ({"no_such_option": 1}, TypeError, "no option 'no_such_option'; docs/options.md lists all"),
    ({"max_worker": 1}, TypeError, "no option 'max_worker'; did you mean 'max_workers'?"),
    ({"isolated": True}, TypeError, "no option 'isolated'; did you mean 'isolate'?"),
    # What other libraries call it.
    ({"n_jobs": 2}, TypeError, "no option 'n_jobs'; did you mean 'max_workers'?"),
    ({"timeout": 2}, TypeError, "no option 'timeout'; did you mean 'task_timeout'?"),
    ({"backend": "threading"}, TypeError, "no option 'backend'; did you mean 'mechanism'?"),
    # What contradicts itself.
    (
        {"task_timeout": 1, "plan": "thread:2"},
        poolwise.PlanRefused,
        "2 threads .*task_timeout needs worker processes",
    ),
    (
        {"memory_limit": "1GB", "plan": "process:2x2"},
        poolwise.PlanRefused,
        "memory_limit kills a worker, and the calls in its other threads",
    ),
    ({"plan": "thread:2", "mechanism": "thread"}, ValueError, "plan= already says mechanism="),
    ({"plan": "thread:2", "max_workers": 2}, ValueError, "plan= already says max_workers="),
    ({"plan": "process:2", "threads_per_worker": 2}, ValueError, "already says threads_per_worker"),
    ({"mechanism": "thread", "threads_per_worker": 2}, ValueError, "belongs to processes"),
    ({"mechanism": "inline", "max_workers": 2}, ValueError, "'inline' runs one call at a time"),
    (
        {"isolate": True, "plan": "thread:2"},
        poolwise.PlanRefused,
        "2 threads .*isolate needs worker processes",
    ),
    (
        {"isolate": True, "mechanism": "inline"},
        poolwise.PlanRefused,
        "plain loop .*isolate needs worker processes",
    ),
    (
        {"max_tasks_per_child": 2, "start_method": "fork"},
        ValueError,
        "max_tasks_per_child is incompatible with the 'fork'",
    ),
]

MAP: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"ordered": 1}, TypeError, "ordered takes True or False, not 1"),
    ({"progress": "bar"}, TypeError, "progress takes True, False or a function .*'bar'"),
    ({"total": "9"}, TypeError, "total takes a number of inputs, not '9'"),
    ({"total": -1}, ValueError, "total takes a number of inputs, not -1"),
    ({"buffersize": 0}, ValueError, f"buffersize takes {COUNT}, not 0"),
    ({"buffersize": 1.0}, TypeError, f"buffersize takes {COUNT}, not 1.0"),
    ({"chunksize": 0}, ValueError, f"chunksize takes {COUNT}, not 0"),
    ({"chunksize": "3"}, TypeError, f"chunksize takes {COUNT}, not '3'"),
    ({"on_error": "ignore"}, ValueError, "on_error takes 'raise' or 'return', not 'ignore'"),
    ({"batch_size": 3}, TypeError, "no option 'batch_size'; did you mean 'chunksize'?"),
    ({"common": 3}, TypeError, "common takes keyword arguments, .*3"),
    ({"common": {1: 2}}, TypeError, "common takes keyword arguments, .*1: 2"),
    ({"seed": 1.5}, TypeError, "seed takes a whole number from 0 on, or None, not 1.5"),
    ({"seed": True}, TypeError, "seed takes a whole number from 0 on, or None, not True"),
    ({"seed": -1}, ValueError, "seed takes a whole number from 0 on, or None, not -1"),
    ({"max_workers": 10**9}, poolwise.PlanRefused, "at most .* threads here"),
    ({"max_concurrency": 10**9}, poolwise.PlanRefused, "at most .* threads here"),
    (
        {"plan": "thread:10000000"},
        poolwise.PlanRefused,
        "at most .* threads here: .* ask for fewer",
    ),
    ({"plan": "thread:2/4", "chunksize": 3}, ValueError, "plan= already says chunksize="),
]

EXECUTOR: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"mp_context": 3}, TypeError, "mp_context takes a context, .*3"),
    ({"thread_name_prefix": 3}, TypeError, "thread_name_prefix takes a text, not 3"),
    (
        {"mp_context": "a", "thread_name_prefix": "b"},
        TypeError,
        "thread_name_prefix is given twice",
    ),
]

ADVISE: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"verify": "yes"}, TypeError, "verify takes True or False, not 'yes'"),
    ({"max_workers": 0}, ValueError, f"max_workers takes {COUNT}, not 0"),
    ({"threads_per_worker": "2"}, TypeError, f"threads_per_worker takes {COUNT}, not '2'"),
    ({"max_concurrency": 0}, ValueError, f"max_concurrency takes {COUNT}, not 0"),
    ({"total": "9"}, TypeError, "total takes a number of inputs, not '9'"),
    ({"buffersize": 0}, ValueError, f"buffersize takes {COUNT}, not 0"),
    ({"ordered": None}, TypeError, "ordered takes True or False, not None"),
    ({"on_error": 3}, ValueError, "on_error takes 'raise' or 'return', not 3"),
    ({"no_such_option": 1}, TypeError, "poolwise.advise has no option 'no_such_option'"),
    ({"verfy": True}, TypeError, "did you mean 'verify'?"),
]


def started() -> AssertionError:
    raise AssertionError("it was called")


@pytest.mark.parametrize(
    ("taker", "tables"),
    [
        (poolwise.map, SHARED + MAP),
        (poolwise.Executor, SHARED + EXECUTOR),
        (poolwise.advise, ADVISE),
    ],
    ids=["map", "Executor", "advise"],
)
def test_every_option_is_among_these(taker: Callable[..., Any], tables: list[Any]) -> None:
    parameters = inspect.signature(taker).parameters.values()
    options = {each.name for each in parameters if each.default is not each.empty}
    assert options - {name for given, _, _ in tables for name in given} == set()


class NeverDrawn:
    """Inputs that must not be touched."""

    def __iter__(self) -> Any:
        raise AssertionError("inputs were drawn")


@pytest.mark.parametrize(("options", "error", "said"), SHARED + MAP, ids=str)
def test_options_of_map(options: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        poolwise.map(started, NeverDrawn(), **options)


@pytest.mark.parametrize(("options", "error", "said"), SHARED + EXECUTOR, ids=str)
def test_options_of_an_executor(options: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        poolwise.Executor(**options)


@pytest.mark.parametrize(("options", "error", "said"), ADVISE, ids=str)
def test_options_of_advise(options: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        poolwise.advise(started, NeverDrawn(), **options)


@pytest.mark.parametrize("call", [poolwise.map, poolwise.advise])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((None, [1]), "fn takes a callable, not None"),
        (("abs", [1]), "fn takes a callable, not 'abs'"),
        ((abs,), "at least one iterable"),
        ((abs, 3), "iterable 1 is not iterable: 3"),
        ((pow, [1], None), "iterable 2 is not iterable: None"),
        ((abs, list), "iterable 1 is not iterable: <class 'list'>"),
    ],
    ids=str,
)
def test_functions_and_inputs(
    call: Callable[..., Any], arguments: tuple[Any, ...], said: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(said) if "<" in said else said):
        call(*arguments)


CALLS: list[tuple[str, Callable[[poolwise.Executor], object], type[Exception], str]] = [
    ("submit a text", lambda pool: pool.submit("abs"), TypeError, "fn takes a callable, .*'abs'"),  # type: ignore[arg-type]
    ("submit None", lambda pool: pool.submit(None), TypeError, "fn takes a callable, not None"),  # type: ignore[arg-type]
    ("map None", lambda pool: pool.map(None, [1]), TypeError, "fn takes a callable, not None"),  # type: ignore[arg-type]
    ("map over 3", lambda pool: pool.map(abs, 3), TypeError, "'int' object is not iterable"),  # type: ignore[arg-type]
    ("chunksize 0", lambda pool: pool.map(abs, [1], chunksize=0), ValueError, "chunksize .*0"),
    ("chunksize", lambda pool: pool.map(abs, [1], chunksize="3"), TypeError, "chunksize .*'3'"),  # type: ignore[arg-type]
    ("buffersize 0", lambda pool: pool.map(abs, [1], buffersize=0), ValueError, "buffersize .*0"),
    ("buffersize", lambda pool: pool.map(abs, [1], buffersize="3"), TypeError, "buffersize .*'3'"),  # type: ignore[arg-type]
    ("timeout", lambda pool: pool.map(abs, [1], timeout="3"), TypeError, "timeout .*'3'"),  # type: ignore[arg-type]
    ("starmap None", lambda pool: pool.starmap(None, [(1,)]), TypeError, "fn takes a callable"),  # type: ignore[arg-type]
    ("starmap of 3", lambda pool: pool.starmap(abs, 3), TypeError, "'int' object is not iterable"),  # type: ignore[arg-type]
    ("starmap timeout", lambda pool: pool.starmap(abs, [], timeout=[]), TypeError, "timeout"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(
    ("call", "error", "said"), [each[1:] for each in CALLS], ids=[each[0] for each in CALLS]
)
def test_calls_of_an_executor(
    call: Callable[[poolwise.Executor], object], error: type[Exception], said: str
) -> None:
    with poolwise.Executor(max_workers=1) as pool:
        running = pool.submit(abs, -1)
        with pytest.raises(error, match=said):
            call(pool)
        # Nobody else pays for it.
        assert running.result(30) == pool.submit(abs, -1).result(30) == 1


OTHERS: list[
    tuple[Callable[..., object], tuple[Any, ...], dict[str, Any], type[Exception], str]
] = [
    (poolwise.share, (), {}, TypeError, "obj"),
    (poolwise.share, (threading.Lock(),), {}, poolwise.TransferError, "cannot be pickled"),
    (poolwise.Worker, (None,), {}, TypeError, "target=None"),
    (poolwise.Worker, (abs, 3), {}, TypeError, "args=3"),
    (poolwise.Worker, (abs, "ab"), {}, TypeError, "args='ab'"),
    (poolwise.Worker, (abs, (1,), 3), {}, TypeError, "kwargs=3"),
    (poolwise.Worker, (abs, (1,), {1: 2}), {}, TypeError, "kwargs={1: 2}"),
    (poolwise.Worker, (abs,), {"mechanism": "inline"}, ValueError, "mechanism='inline'"),
    (poolwise.Worker, (abs,), {"name": 3}, TypeError, "name=3"),
    (poolwise.Worker, (abs,), {"daemon": "no"}, TypeError, "daemon='no'"),
    (poolwise.Queue, (-1,), {}, ValueError, "maxsize=-1"),
    (poolwise.Queue, ("9",), {}, TypeError, "maxsize='9'"),
    (poolwise.Semaphore, (-1,), {}, ValueError, "value=-1"),
    (poolwise.Semaphore, ("1",), {}, TypeError, "value='1'"),
    (poolwise.BoundedSemaphore, (-1,), {}, ValueError, "value=-1"),
    (poolwise.BoundedSemaphore, (1.5,), {}, TypeError, "value=1.5"),
    (poolwise.Barrier, (0,), {}, ValueError, "parties=0"),
    (poolwise.Barrier, ("2",), {}, TypeError, "parties='2'"),
    (poolwise.Barrier, (2, 3), {}, TypeError, "action=3"),
    (poolwise.Barrier, (2,), {"timeout": "1"}, TypeError, "timeout='1'"),
    (poolwise.Condition, (threading.Lock(),), {}, TypeError, "lock="),
    (poolwise.Pipe, (3,), {}, TypeError, "argument"),
    (poolwise.Plan, ("gpu",), {}, ValueError, "unknown mechanism 'gpu'"),
    (poolwise.Plan, ("thread", 0), {}, ValueError, "workers takes"),
    (poolwise.Plan, ("thread", 2, 2), {}, ValueError, "threads_per_worker belongs to process"),
    (poolwise.Plan, ("process", 2, 2, "4"), {}, TypeError, "batch_size takes"),
    (poolwise.Plan.parse, (3,), {}, ValueError, "3 is not a plan"),
]


@pytest.mark.parametrize(("make", "args", "options", "error", "said"), OTHERS, ids=str)
def test_everything_else_that_is_made(
    make: Callable[..., object],
    args: tuple[Any, ...],
    options: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error, match=re.escape(said)):
        make(*args, **options)


METHODS: list[tuple[Callable[[], Any], str, tuple[Any, ...], type[Exception], str]] = [
    (poolwise.Queue, "get", (True, "1"), TypeError, "timeout='1'"),
    (poolwise.Queue, "get", (True, -1), ValueError, "timeout=-1"),
    (poolwise.Queue, "put", (1, True, "1"), TypeError, "timeout='1'"),
    (poolwise.Queue, "get_many", (0,), ValueError, "n=0"),
    (poolwise.Queue, "get_many", ("3",), TypeError, "n='3'"),
    (poolwise.Queue, "put_many", (3,), TypeError, "items=3"),
    (poolwise.Lock, "acquire", (True, "1"), TypeError, "timeout='1'"),
    (poolwise.Lock, "acquire", (False, 3), ValueError, "blocking=False"),
    (poolwise.Lock, "release", (), RuntimeError, "does not hold"),
    (poolwise.RLock, "release", (), RuntimeError, "does not hold"),
    (poolwise.Semaphore, "release", (0,), ValueError, "n=0"),
    (poolwise.Event, "wait", ("1",), TypeError, "timeout='1'"),
]


@pytest.mark.parametrize(("make", "method", "args", "error", "said"), METHODS, ids=str)
def test_what_is_asked_of_channels(
    make: Callable[[], Any],
    method: str,
    args: tuple[Any, ...],
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error, match=re.escape(said)):
        getattr(make(), method)(*args)
