"""Initializers and worker processes of a limited number of calls, seen by a program."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs import METHODS, run
from thorough import thorough

RENEWING = pytest.mark.parametrize("method", ["default", "forkserver", "spawn"])

MODULE = """
STATE = None
def set_up(value):
    global STATE
    STATE = value
def read(_):
    return STATE
"""


@METHODS
@pytest.mark.parametrize("where", ["main", "module"])
@pytest.mark.parametrize(
    "reader", ["read", "Reader().read", *thorough("lambda x: read(x)", "partial(read)")]
)
@pytest.mark.parametrize("way", ["map", "executor"])
def test_what_an_initializer_sets_is_seen(
    where: str, reader: str, way: str, method: str, tmp_path: Path
) -> None:
    (tmp_path / "module.py").write_text(MODULE)
    program = f"""
from functools import partial
{"from module import *" if where == "module" else MODULE}
class Reader:
    def read(self, x): return read(x)
options = dict(initializer=set_up, initargs=("set",), start_method=method)
reader = {reader}
for _ in range(2):
    if {way!r} == "map":
        got = list(poolwise.map(reader, range(4), plan="process:2", **options))
    else:
        with poolwise.Executor(plan="process:2", **options) as executor:
            got = [executor.submit(reader, x).result() for x in range(2)]
            got += [*executor.map(reader, range(2))]
    assert got == ["set"] * 4, got
assert mapped(reader) == [None] * 4
"""
    run(tmp_path, program, method)


@METHODS
def test_an_initializer_runs_before_the_first_call_and_once(method: str, tmp_path: Path) -> None:
    program = """
events = []
def set_up(*args):
    events.append(args)
def call(x):
    events.append(x)
    return os.getpid(), list(events)
results = mapped(call, range(20), initializer=set_up, initargs=(1, "two"))
for worker in {worker for worker, _ in results}:
    (_, seen) = max((each for each in results if each[0] == worker), key=lambda each: len(each[1]))
    assert seen[0] == (1, "two") and seen.count((1, "two")) == 1, seen
"""
    run(tmp_path, program, method)


@pytest.mark.fault
@METHODS
def test_an_initializer_that_fails_ends_the_map(method: str, tmp_path: Path) -> None:
    program = """
def set_up(): raise LookupError("no such thing")
def call(x): raise AssertionError
try:
    mapped(call, initializer=set_up)
except poolwise.InitializerFailed as error:
    assert "LookupError: no such thing" in str(error)
    assert "in set_up" in str(error.__cause__)
else:
    raise AssertionError
same_as_a_loop(abs)
with poolwise.Executor(plan="process:1", initializer=set_up, start_method=method) as executor:
    try:
        executor.submit(abs, 1).result()
    except poolwise.InitializerFailed:
        pass
    else:
        raise AssertionError
"""
    run(tmp_path, program, method)


@pytest.mark.fault
@METHODS
def test_a_death_in_an_initializer_ends_the_map(method: str, tmp_path: Path) -> None:
    program = """
def set_up(): os._exit(3)
try:
    mapped(abs, initializer=set_up)
except poolwise.PoolwiseError as error:
    assert "3" in str(error), error
else:
    raise AssertionError
same_as_a_loop(abs)
"""
    run(tmp_path, program, method)


@RENEWING
@pytest.mark.parametrize(
    "plan", ["process:2", "process:1x2", *thorough("process:2/1", "process:2/7")]
)
def test_no_worker_has_more_calls_than_it_may(plan: str, method: str, tmp_path: Path) -> None:
    program = f"""
from collections import Counter
def call(x): return x, os.getpid()
for most in 1, 3, 7:
    inputs = range(40 if method != "spawn" else 12)
    results = mapped(call, inputs, {plan!r}, max_tasks_per_child=most)
    assert [x for x, _ in results] == list(range(len(results)))
    counted = Counter(worker for _, worker in results)
    assert max(counted.values()) <= most, counted
    if {plan!r} == "process:1/1":
        assert sorted(counted.values())[1:] == [most] * (len(counted) - 1)
"""
    run(tmp_path, program, method)


@RENEWING
def test_an_executor_replaces_its_workers(method: str, tmp_path: Path) -> None:
    program = """
from collections import Counter
def set_up():
    global READY
    READY = True
def call(x): return os.getpid(), READY
with poolwise.Executor(
    plan="process:2", max_tasks_per_child=3, initializer=set_up, start_method=method
) as executor:
    futures = [executor.submit(call, x) for x in range(20)]
    results = [future.result() for future in futures]
assert all(ready for _, ready in results)
counted = Counter(worker for worker, _ in results)
assert max(counted.values()) <= 3 and len(counted) >= 7, counted
"""
    run(tmp_path, program, method)
