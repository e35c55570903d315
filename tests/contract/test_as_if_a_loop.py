"""Awkward functions under a plain loop and under every plan: the same results, exceptions and
side effects, or a refusal that says why and what would do.
"""

from __future__ import annotations

import decimal
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from types import GeneratorType
from typing import Any

import awkward
import awkward_settings
import pytest

import poolwise
from poolwise.mechanisms.receive import RemoteTraceback
from programs import NEEDS_NUMPY
from thorough import thorough

PLANS = ["thread:2", "process:1", None, *thorough("inline", "process:2x2")]
IN_THREADS = ["inline", "thread:2", None]
IN_ORDER = ["inline", None]

#: So long does a call compute under ``auto``, and so many calls are there, that it pays to leave
#: the loop, to listen beside threads and to open processes: it runs before, during, after changes.
SECONDS, CALLS = 2e-3, 150

Outcome = tuple[Any, ...]


def outcomes(results: Iterator[Any]) -> list[Outcome]:
    """Take results until the end, each exception at its place."""
    found: list[Outcome] = []
    while True:
        try:
            found.append(("value", next(results)))
        except StopIteration:
            return found
        except BaseException as error:
            found.append(("raised", described(error)))


def described(error: BaseException | None) -> Any:
    """All of an exception that a program can look at, but for tracebacks."""
    if error is None or isinstance(error, RemoteTraceback):
        return None
    arguments = error.args if not isinstance(error, BaseExceptionGroup) else error.args[:1]
    own = {name: value for name, value in vars(error).items() if name != "__notes__"}
    return (
        type(error),
        [described(each) if isinstance(each, BaseException) else each for each in arguments],
        str(error),
        own,
        getattr(error, "__notes__", []),
        described(error.__cause__),
        described(error.__context__),
        [described(each) for each in getattr(error, "exceptions", ())],
        getattr(error, "errno", None),
        getattr(error, "filename", None),
    )


def in_a_loop(function: Callable[..., Any], inputs: Iterable[Any]) -> list[Outcome]:
    return [next_outcome(function, each) for each in inputs]


def next_outcome(function: Callable[..., Any], value: Any) -> Outcome:
    try:
        return "value", function(value)
    except BaseException as error:
        return "raised", described(error)


def mapped(function: Callable[..., Any], inputs: Iterable[Any], plan: str | None) -> list[Outcome]:
    if plan is None:
        function = awkward.Slowly(function, SECONDS)
    with poolwise.map(function, inputs, plan=plan) as run:
        return outcomes(run)


def submitted(
    function: Callable[..., Any], inputs: Iterable[Any], plan: str | None
) -> list[Outcome]:
    """The same through an executor."""
    with poolwise.Executor(plan=plan) as pool:
        futures = [pool.submit(function, each) for each in inputs]
        return [next_outcome(future.result, 30) for future in futures]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Puts back what calls in this process change."""
    for name in ("LEVEL", "COUNT", "_lazy"):
        monkeypatch.setattr(awkward, name, getattr(awkward, name))
    monkeypatch.setattr(awkward, "SEEN", [])
    return monkeypatch


plans = pytest.mark.parametrize("plan", PLANS, ids=str)


def number_of_calls(plan: str | None, few: int = 12) -> int:
    return CALLS if plan is None else few


# ---- what calls read -----------------------------------------------------------------------------


@plans
@pytest.mark.parametrize("function", [awkward.read_global, awkward.read_module])
def test_globals_are_as_they_are_now(
    module: pytest.MonkeyPatch, plan: str | None, function: Callable[..., Any]
) -> None:
    for level in ("changed", "changed again"):
        module.setattr(awkward, "LEVEL", level)
        module.setattr(awkward_settings, "LEVEL", level)
        inputs = range(number_of_calls(plan))
        assert mapped(function, inputs, plan) == [("value", (n, level)) for n in inputs]


@plans
@pytest.mark.parametrize("function", [awkward.read_global, awkward.read_module])
def test_what_an_initializer_has_set_stays(
    module: pytest.MonkeyPatch, plan: str | None, function: Callable[..., Any]
) -> None:
    module.setattr(awkward_settings, "LEVEL", awkward_settings.LEVEL)  # put back afterwards
    options: dict[str, Any] = {"initializer": awkward.set_level, "initargs": ("prepared",)}
    inputs = range(number_of_calls(plan))
    slowly = awkward.Slowly(function, SECONDS if plan is None else 0.0)
    expected = [(n, "prepared") for n in inputs]
    assert list(poolwise.map(slowly, inputs, plan=plan, **options)) == expected
    with poolwise.Executor(None, None, plan=plan, **options) as pool:
        futures = [pool.submit(function, n) for n in inputs]
        assert [future.result(30) for future in futures] == expected


@plans
def test_large_globals_are_as_they_are_now(module: pytest.MonkeyPatch, plan: str | None) -> None:
    for size in (100_000, 300_000):
        module.setattr(awkward_settings, "TABLE", [bytes(size + n) for n in range(9)])
        inputs = [n % 9 for n in range(number_of_calls(plan))]
        expected = [("value", size + n) for n in inputs]
        assert mapped(awkward.read_table, inputs, plan) == expected


@plans
@pytest.mark.parametrize("function", [awkward.use_helper, awkward.use_imported_helper])
def test_functions_that_were_replaced_are_replaced(
    module: pytest.MonkeyPatch, plan: str | None, function: Callable[..., Any]
) -> None:
    module.setattr(awkward_settings, "shout", lambda text: f"{text}!")
    module.setattr(awkward, "shout", lambda text: f"{text}?")
    inputs = range(number_of_calls(plan))
    assert mapped(function, inputs, plan) == in_a_loop(function, inputs)


@plans
def test_methods_that_were_replaced_are_replaced(
    module: pytest.MonkeyPatch, plan: str | None
) -> None:
    module.setattr(awkward_settings.Judge, "verdict", lambda self, number: f"{number} is not")
    inputs = range(number_of_calls(plan))
    assert mapped(awkward.use_method, inputs, plan) == in_a_loop(awkward.use_method, inputs)


@pytest.mark.parametrize("plan", IN_THREADS, ids=str)
def test_a_variable_that_stays_behind_keeps_calls_here(
    module: pytest.MonkeyPatch, plan: str | None
) -> None:
    module.setattr(awkward_settings, "TABLE", [b"seven", threading.Lock()])  # type: ignore[list-item]
    inputs = [0] * number_of_calls(plan)
    assert mapped(awkward.read_table, inputs, plan) == [("value", 5)] * len(inputs)


@plans
def test_surroundings_are_as_they_are_now(
    module: pytest.MonkeyPatch, plan: str | None, tmp_path: Path
) -> None:
    list(poolwise.map(abs, range(2), plan="process:1"))  # the fork server stands
    module.chdir(tmp_path)
    module.setenv("AWKWARD", "very")
    module.syspath_prepend(str(tmp_path))
    module.setattr(sys, "argv", ["a", "b"])
    monkeyed = logging.getLogger("awkward")
    module.setattr(monkeyed, "level", logging.ERROR)
    monkeyed.manager._clear_cache()  # type: ignore[attr-defined]
    limit, umask = sys.getrecursionlimit(), os.umask(0o022)
    try:
        sys.setrecursionlimit(limit + 77)
        os.umask(0o027)
        with warnings.catch_warnings(), decimal.localcontext() as arithmetic:
            arithmetic.prec, arithmetic.rounding = 7, decimal.ROUND_UP
            arithmetic.traps[decimal.Inexact] = True
            warnings.simplefilter("error")
            names = [
                "cwd",
                "environment",
                "path",
                "argv",
                "recursion",
                "logging",
                "warnings",
                "authkey",
                "arithmetic",
                "umask",
            ]
            expected = dict(zip(names, in_a_loop(awkward.read_surroundings, names), strict=True))
            found = dict(zip(names, mapped(awkward.read_surroundings, names, plan), strict=True))
    finally:
        sys.setrecursionlimit(limit)
        os.umask(umask)
    assert found == expected


# ---- what calls change ---------------------------------------------------------------------------


@plans
def test_a_lazy_initialization_is_fine(module: pytest.MonkeyPatch, plan: str | None) -> None:
    inputs = range(number_of_calls(plan))
    assert mapped(awkward.initialize_lazily, inputs, plan) == [("value", 7 * n) for n in inputs]


@pytest.mark.parametrize("plan", IN_ORDER, ids=str)
@pytest.mark.parametrize("function", [awkward.count, awkward.remember])
def test_calls_that_change_a_global_each_time_stay_in_the_loop(
    module: pytest.MonkeyPatch, plan: str | None, function: Callable[..., Any]
) -> None:
    inputs = range(number_of_calls(plan))
    assert mapped(function, inputs, plan) == [("value", n + 1) for n in inputs]
    changed = awkward.COUNT if function is awkward.count else len(awkward.SEEN)
    assert changed == len(inputs)


@pytest.mark.parametrize("plan", IN_THREADS, ids=str)
def test_calls_that_change_their_arguments_change_the_callers(plan: str | None) -> None:
    inputs = [[n] for n in range(number_of_calls(plan))]
    expected = [[n] for n in range(number_of_calls(plan))]
    assert mapped(awkward.extend, inputs, plan) == in_a_loop(awkward.extend, expected)
    assert inputs == expected


# ---- what calls raise ----------------------------------------------------------------------------

RAISING = [
    awkward.raise_odd,
    awkward.raise_caused,
    awkward.raise_in_context,
    awkward.raise_group,
    awkward.raise_exit,
    awkward.raise_os_error,
]


@plans
@pytest.mark.parametrize("function", RAISING)
def test_exceptions_are_those_of_a_loop(plan: str | None, function: Callable[..., Any]) -> None:
    inputs = range(number_of_calls(plan, 5))
    assert mapped(function, inputs, plan) == in_a_loop(function, inputs)


@plans
def test_exceptions_that_do_not_pickle_are_caught_by_the_same_clause(plan: str | None) -> None:
    inputs = range(number_of_calls(plan, 5))
    function = awkward.Slowly(awkward.raise_with_a_lock, SECONDS if plan is None else 0.0)
    with poolwise.map(function, inputs, plan=plan) as run:
        for number in inputs:
            with pytest.raises(KeyError) as caught:
                next(run)
            assert type(caught.value) is KeyError
            assert caught.value.args == ("kept", number)
            assert caught.value.code == number  # type: ignore[attr-defined]
            # The lock stays where it is, and that is said.
            told = "(could not be sent from its worker: .lock)"
            assert hasattr(caught.value, "lock") != (told in getattr(caught.value, "__notes__", []))
    assert len(outcomes(run)) == 0


@plans
@pytest.mark.parametrize("function", RAISING)
def test_exceptions_of_futures_are_those_of_a_loop(
    plan: str | None, function: Callable[..., Any]
) -> None:
    assert submitted(function, range(5), plan) == in_a_loop(function, range(5))


# ---- what calls do -------------------------------------------------------------------------------

DOING: list[tuple[Callable[..., Any], list[Any]]] = [
    (awkward.ring, [*range(6)]),
    (awkward.fork, [*range(6)]),
    (awkward.run_program, [*range(3)]),
    (awkward.use_own_pools, [*range(3)]),
    (awkward.use_poolwise, [1, 2]),
    (awkward.use_asyncio, [*range(6)]),
    (awkward.terminate_child, [0, 1]),
    (awkward.recurse, [10, 500]),
    (awkward.make_bytes, [0, 1, 70_000, 20_000_000]),
]


@plans
@pytest.mark.parametrize(("function", "inputs"), DOING)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.leaves("the fork server and the resource tracker of multiprocessing, in this process")
def test_whatever_calls_do_they_do_it_there(
    plan: str | None,
    function: Callable[..., Any],
    inputs: list[Any],
) -> None:
    if function is awkward.ring and plan in ("thread:2", "process:2x2"):
        pytest.skip("a handler can be set in a main thread only: that was pinned away")
    assert mapped(function, inputs, plan) == in_a_loop(function, inputs)


@plans
@pytest.mark.parametrize(("function", "inputs"), DOING)
@pytest.mark.leaves("the fork server and the resource tracker of multiprocessing, in this process")
def test_whatever_submitted_calls_do_they_do_it_there(
    plan: str | None,
    function: Callable[..., Any],
    inputs: list[Any],
) -> None:
    if function is awkward.ring and plan != "process:1":
        pytest.skip("a handler can be set in a main thread only: an executor's are others")
    if function in (awkward.fork, awkward.terminate_child) and sys.version_info >= (3, 12):
        pytest.skip("forking beside threads is warned of, as beside those of the standard pools")
    assert submitted(function, inputs, plan) == in_a_loop(function, inputs)


@plans
def test_what_calls_write_is_written_once_each(plan: str | None, tmp_path: Path) -> None:
    file = tmp_path / "written"
    inputs = range(number_of_calls(plan))
    found = mapped(awkward.descriptor_writing(str(file)), inputs, plan)
    assert found == [("value", len(f"{n}\n")) for n in inputs]
    assert sorted(map(int, file.read_text().split())) == list(inputs)


@plans
def test_no_two_calls_draw_the_same_random_numbers(plan: str | None) -> None:
    numbers = [outcome[1] for outcome in mapped(awkward.draw, range(CALLS), plan)]
    assert len(set(numbers)) == CALLS


@NEEDS_NUMPY
@pytest.mark.parametrize("method", [None, "forkserver"])
def test_no_two_calls_draw_the_same_numbers_from_numpy(method: str | None) -> None:
    # In a program of its own: NumPy leaves threads, and so no fork would be made here.
    program = f"""
import time, numpy, poolwise
numpy.random.seed(1)
def draw(number):
    time.sleep(1e-3)
    return float(numpy.random.random())
for plan in ("inline", "thread:2", "process:2", "process:2x2"):
    numbers = list(poolwise.map(draw, range(60), plan=plan, start_method={method!r}))
    assert len({{*numbers}}) == 60, plan
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)


# ---- what is tied to this process or this thread -------------------------------------------------


def test_signal_handlers_stay_in_the_main_thread_under_auto() -> None:
    inputs = range(60)
    assert mapped(awkward.ring, inputs, None) == [("value", f"rang {n}") for n in inputs]


def test_a_database_connection_stays_in_its_thread_under_auto() -> None:
    inputs = range(CALLS)
    with closing(sqlite3.connect(":memory:")) as connection:
        found = mapped(awkward.connected(connection), inputs, None)
    assert found == [("value", n * n) for n in inputs]


class Store:
    """Keeps its connection, as objects do that have one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def find(self, number: int) -> int:
        time.sleep(0.002)
        found: int = self.connection.execute("SELECT ? * ?", (number, number)).fetchone()[0]
        return found


def test_a_database_connection_of_an_object_stays_in_its_thread_under_auto() -> None:
    inputs = range(CALLS)
    with closing(sqlite3.connect(":memory:")) as connection:
        store = Store(connection)
        for function in (store.find, lambda n: store.find(n)):
            found = mapped(function, inputs, None)
            assert found == [("value", n * n) for n in inputs]


@pytest.mark.parametrize("plan", IN_THREADS, ids=str)
def test_what_cannot_be_pickled_runs_where_it_need_not(plan: str | None, tmp_path: Path) -> None:
    inputs = range(number_of_calls(plan))
    assert mapped(awkward.locked(), inputs, plan) == [("value", -n) for n in inputs]
    with open(tmp_path / "lines", "a", buffering=1) as file:
        found = mapped(awkward.writing(file), inputs, plan)
    assert found == [("value", n) for n in inputs]
    lines = (tmp_path / "lines").read_text().split()
    assert sorted(map(int, lines)) == list(inputs)


@pytest.mark.parametrize("plan", IN_THREADS, ids=str)
@pytest.mark.parametrize(
    "function", [awkward.return_generator, awkward.return_lambda, awkward.generate]
)
def test_results_that_cannot_be_pickled_come_back_where_they_need_not(
    plan: str | None, function: Callable[..., Any]
) -> None:
    if plan == "thread:2" and function is awkward.generate:
        pytest.skip("refused: see below")
    if plan is None and function is awkward.generate:
        results = list(poolwise.map(function, range(CALLS)))
    else:
        results = [outcome[1] for outcome in mapped(function, range(CALLS), plan)]
    if function is awkward.return_lambda:
        assert [each() for each in results] == list(range(CALLS))
    else:
        assert {type(each) for each in results} == {GeneratorType}
        assert [list(each) for each in results] == [list(range(n)) for n in range(CALLS)]


def test_coroutines_come_back_as_from_a_loop() -> None:
    for each in poolwise.map(awkward.coroutine, range(3)):
        with pytest.raises(StopIteration):
            each.send(None)


@pytest.mark.parametrize(
    ("plan", "why", "remedy"),
    [("process:1", "cannot be pickled", "plain loop"), ("thread:2", "SQLite", "plain loop")],
)
def test_a_database_connection_is_refused_elsewhere(plan: str, why: str, remedy: str) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        run = poolwise.map(awkward.connected(connection), range(9), plan=plan)
        with pytest.raises(poolwise.PlanRefused, match=f"{why}.*{remedy}"):
            next(run)


REFUSED: list[tuple[str, Callable[[], Callable[..., Any]], str, str]] = [
    ("process:1", awkward.locked, "cannot be pickled", "use threads"),
    ("process:1", lambda: awkward.generate, "generator", "return a list"),
    ("process:1", lambda: awkward.coroutine, "coroutine", "plain function"),
    ("thread:2", lambda: awkward.coroutine, "coroutine", "plain function"),
    ("thread:2", lambda: awkward.ring, "main thread", "process:"),
    ("process:1x2", lambda: awkward.ring, "main thread", "one thread"),
]


@pytest.mark.parametrize(("plan", "make", "why", "remedy"), REFUSED)
def test_a_plan_that_cannot_do_it_is_refused_with_a_remedy(
    plan: str, make: Callable[[], Callable[..., Any]], why: str, remedy: str
) -> None:
    with pytest.raises(poolwise.PlanRefused, match=f"(?s){why}.*({remedy})"):
        next(poolwise.map(make(), range(9), plan=plan))


@pytest.mark.parametrize("plan", ["process:1", "process:2", "process:1/8"])
@pytest.mark.fault
def test_an_argument_that_kills_whoever_reads_it_costs_only_its_own_call(plan: str) -> None:
    inputs: list[object] = list(range(20))
    inputs[5] = inputs[11] = awkward.EndsItsReader()
    # Outcomes of calls that last some milliseconds are sent one by one.
    function = awkward.Slowly(type, 3e-3)
    found = outcomes(poolwise.map(function, inputs, plan=plan))
    assert [kind for kind, _ in found].count("raised") == 2
    for number in (5, 11):
        assert found[number][1][0] is poolwise.WorkerCrashed
        assert "exit code 7" in found[number][1][2]
    assert [value for kind, value in found if kind == "value"] == [int] * 18
    with poolwise.Executor(plan=plan) as pool:
        futures = [pool.submit(function, each) for each in inputs]
        errors = [future.exception(30) for future in futures]
    assert [n for n, error in enumerate(errors) if error is not None] == [5, 11]


@pytest.mark.fault
def test_what_a_worker_cannot_send_back_fails_alone() -> None:
    found = outcomes(poolwise.map(awkward.return_generator, range(3), plan="process:1"))
    assert [kind for kind, _ in found] == ["raised"] * 3
    assert all(error[0] is poolwise.TransferError for _, error in found)
