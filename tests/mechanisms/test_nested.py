"""Tasks that use poolwise themselves: no deadlock, and no more processes than there are CPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs import METHODS, NEEDS_NUMPY, run
from thorough import thorough

CALLS = """
def square(x): return x * x

def slow_square(x):
    until = __import__("time").perf_counter() + 0.01
    while __import__("time").perf_counter() < until:
        pass
    return x * x

def through_a_map(x):
    options = {} if plan is None else {"plan": plan}
    with poolwise.map(slow_square, range(x, x + 10), **options) as inner:
        total = sum(inner)
        return total, workers_of(inner.record().plan)

def through_an_executor(x):
    options = {} if plan is None else {"plan": plan}
    with poolwise.Executor(**options) as executor:
        return sum(executor.map(slow_square, range(x, x + 10))), 1

def workers_of(plan): return plan.workers if plan.mechanism == "process" else 1

def expected(x): return sum(each * each for each in range(x, x + 10))
"""


@METHODS
@pytest.mark.parametrize(
    ("call", "plan"),
    [
        ("through_a_map", "process:4"),
        ("through_an_executor", None),
        *thorough(("through_a_map", None), ("through_an_executor", "process:4")),
    ],
)
def test_a_task_may_use_poolwise_itself(
    call: str, plan: str | None, method: str, tmp_path: Path
) -> None:
    program = f"""
plan = {plan!r}
{CALLS}
results = mapped({call}, range(6), "process:2")
assert [total for total, _ in results] == [expected(x) for x in range(6)]
cpus = len(os.sched_getaffinity(0))
assert all(workers <= max(1, cpus // 2) for _, workers in results), results
"""
    run(tmp_path, program, method)


@METHODS
def test_shares_are_shared_further(method: str, tmp_path: Path) -> None:
    program = """
def siblings(x):
    from _poolwise_worker import surroundings
    return surroundings.siblings
def inner(x):
    return siblings(x), list(poolwise.map(siblings, [1], plan="process:1"))
assert siblings(0) == 1
assert mapped(inner, range(4), "process:2") == [(2, [2])] * 4
assert mapped(inner, range(4), "process:1") == [(1, [1])] * 4
"""
    run(tmp_path, program, method)


@METHODS
@NEEDS_NUMPY
def test_libraries_in_workers_use_their_share(method: str, tmp_path: Path) -> None:
    program = """
import numpy
from threadpoolctl import threadpool_info
def threads(x):
    import numpy, os
    from threadpoolctl import threadpool_info
    (count,) = {each["num_threads"] for each in threadpool_info()}
    return count, os.environ.get("OMP_NUM_THREADS")
alone = threads(0)
cpus = len(os.sched_getaffinity(0))
for _ in range(2):
    share = max(1, cpus // 2)
    assert mapped(threads, range(4), "process:2") == [(share, str(share))] * 4
    assert mapped(threads, [0], "process:1") == [alone], alone
assert threads(0) == alone
"""
    run(tmp_path, program, method)


@METHODS
def test_workers_leave_signals_to_the_caller_whatever_hooks_there_are(
    method: str, tmp_path: Path
) -> None:
    """Hooks of the worker that they come from, or the program's own, which run after a fork."""
    program = """
import signal
numbers = signal.SIGINT, signal.SIGTERM
def handlers(_): return [signal.getsignal(each).__name__ for each in numbers]
def inner(_): return list(poolwise.map(handlers, range(2), plan="process:1", start_method=method))
if method == "default":
    method = None
    for each in mapped(inner, range(2), "process:2"): assert each == [["ignore"] * 2] * 2, each
    poolwise.shutdown()
def usual():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
os.register_at_fork(after_in_child=usual)
assert mapped(handlers, range(4), "process:2") == [["ignore"] * 2] * 4
"""
    run(tmp_path, program, method)


@METHODS
@NEEDS_NUMPY
def test_what_limits_libraries_in_a_fork_is_not_undone_for_all_by_one_worker_that_has_no_limit(
    method: str, tmp_path: Path
) -> None:
    program = """
import numpy
numpy.linalg.inv(numpy.eye(4))
def loaded(_): return "threadpoolctl" in sys.modules
cpus = len(os.sched_getaffinity(0))
mapped(loaded, [0], "process:1")
there = mapped(loaded, range(2 * cpus), f"process:{cpus}")
assert method != "default" or "threadpoolctl" in sys.modules or not any(there), there
"""
    run(tmp_path, program, method)


@METHODS
def test_a_share_that_a_server_took_on_for_its_first_workers_is_not_that_of_others(
    method: str, tmp_path: Path
) -> None:
    program = """
def variable(_): return os.environ.get("OMP_NUM_THREADS")
os.environ.pop("OMP_NUM_THREADS", None)
share = str(max(1, len(os.sched_getaffinity(0)) // 2))
for _ in range(2):
    assert mapped(variable, [0], "process:1") == [None]
    assert mapped(variable, range(4), "process:2") == [share] * 4
    os.environ["OMP_NUM_THREADS"] = "7"  # the user's own
    for plan in "process:2", "process:1":
        assert set(mapped(variable, range(4), plan)) == {"7"}
    del os.environ["OMP_NUM_THREADS"]
"""
    run(tmp_path, program, method)


@METHODS
def test_a_map_over_maps_in_threads(method: str, tmp_path: Path) -> None:
    program = """
import threading
def call(x): return sum(poolwise.map(abs, range(x), plan="process:1"))
results = [None] * 3
def work(at): results[at] = mapped(call, range(3), "process:2")
threads = [threading.Thread(target=work, args=[at]) for at in range(3)]
for each in threads: each.start()
for each in threads: each.join()
assert results == [[0, 0, 1]] * 3, results
"""
    run(tmp_path, program, method)
