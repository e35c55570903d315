"""`poolwise.map` keeps what a plain loop promises, under every plan and across a change of plan."""

from __future__ import annotations

import gc
import itertools
import operator
import os
import queue
import signal
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import poolwise
from poolwise import Plan
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.one_reader import OneReader
from programs import run
from thorough import thorough

#: Every kind of plan; ``None`` lets poolwise choose.
PLANS = ["inline", "thread:4", "process:2x3", None, *thorough("thread:1", "process:2")]

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=PLANS, ids=str)
def plan(request: pytest.FixtureRequest) -> str | None:
    value: str | None = request.param
    return value


def square(number: int) -> int:
    return number * number


def fail_on_multiples_of_five(number: int) -> int:
    if number % 5 == 0:
        raise ValueError(f"{number} is a multiple of five")
    return number


def compute(iterations: int) -> int:
    """Hold the GIL for about `iterations` × 40 ns."""
    total = 0
    for step in range(iterations):
        total += step * step
    return total


class Journal:
    """Notes in a file which inputs were started; safe for threads and processes."""

    def __init__(self, path: Path, work: Callable[[], object]) -> None:
        self.path = path
        self.work = work

    def __call__(self, number: int) -> int:
        line = f"{number}\n".encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
        self.work()
        return number

    def started(self) -> Counter[int]:
        return Counter(int(line) for line in self.path.read_text().split())


def wait_then_compute() -> None:
    time.sleep(0.004)
    compute(30_000)


def compute_two_ms() -> None:
    compute(50_000)


def wait_five_ms() -> None:
    time.sleep(0.005)


def wait_a_little(number: int) -> int:
    time.sleep(0.002)
    return number


# ---- results are those of a loop ----


def test_results_equal_those_of_a_loop_in_order(plan: str | None) -> None:
    assert list(poolwise.map(square, range(1000), plan=plan)) == [n * n for n in range(1000)]


def test_several_iterables_pair_like_zip(plan: str | None) -> None:
    result = list(poolwise.map(pow, [2, 3, 4, 5], [3, 2, 1], plan=plan))
    assert result == [8, 9, 4]


def test_no_inputs_no_results(plan: str | None) -> None:
    run = poolwise.map(square, [], plan=plan)
    assert run.results() == []
    assert "no input" in str(run.explain()) or str(run.explain())


def test_lambdas_closures_and_methods_work(plan: str | None) -> None:
    factor = 3
    assert list(poolwise.map(lambda n: n * factor, range(10), plan=plan)) == [
        n * 3 for n in range(10)
    ]
    assert list(poolwise.map("a-b".split, ["-", "b"], plan=plan)) == [["a", "b"], ["a-", ""]]


@settings(max_examples=30, deadline=None)
@given(
    inputs=st.lists(st.integers(-50, 50), max_size=60),
    spec=st.sampled_from(["inline", "thread:3", "thread:2/7", None]),
    ordered=st.booleans(),
    buffersize=st.none() | st.integers(1, 20),
)
def test_any_inputs_any_plan_the_same_outcomes(
    inputs: list[int], spec: str | None, ordered: bool, buffersize: int | None
) -> None:
    run = poolwise.map(
        fail_on_multiples_of_five,
        iter(inputs),
        plan=spec,
        ordered=ordered,
        buffersize=buffersize,
        on_error="return",
    )
    found = [repr(value) for value in run]
    expected = [
        repr(ValueError(f"{n} is a multiple of five")) if n % 5 == 0 else repr(n) for n in inputs
    ]
    assert found == expected if ordered else Counter(found) == Counter(expected)


def test_unordered_yields_as_they_finish() -> None:
    released = threading.Event()

    def call(number: int) -> int:
        if number == 0:
            assert released.wait(30)
        return number

    run = poolwise.map(call, range(6), plan="thread:2", ordered=False)
    first = [next(run) for _ in range(5)]
    assert 0 not in first
    released.set()
    assert list(run) == [0]


def test_unordered_has_every_result_once(plan: str | None) -> None:
    run = poolwise.map(square, range(500), plan=plan, ordered=False)
    assert sorted(run) == [n * n for n in range(500)]


# ---- each input is started once ----


@pytest.mark.parametrize("work", [compute_two_ms, wait_five_ms, wait_then_compute])
def test_each_input_is_started_once(
    plan: str | None, work: Callable[[], object], tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "journal", work)
    assert list(poolwise.map(journal, range(80), plan=plan)) == list(range(80))
    assert journal.started() == Counter(range(80))


@pytest.mark.parametrize("work", [compute_two_ms, wait_then_compute])
def test_each_input_is_started_once_when_the_plan_changes_half_way(
    work: Callable[[], object], tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "journal", work)
    run = poolwise.map(journal, range(600))
    assert list(run) == list(range(600))
    assert journal.started() == Counter(range(600))
    assert len(run.record().uses) >= 2, run.record().phases


def test_advice_runs_each_input_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", wait_then_compute)
    advice = poolwise.advise(journal, range(300), verify=True)
    sampled = journal.started()
    assert 0 < len(sampled) <= 300
    assert list(advice.run()) == list(range(300))
    assert journal.started() == Counter(range(300))


# ---- lazy ----


def test_advice_shows_in_a_notebook_what_to_use() -> None:
    advice = poolwise.advise(abs, range(300))
    assert repr(advice).startswith(f"<poolwise.Advice: USE {advice.plan} ")
    assert "\n" not in repr(advice)


def test_advice_and_runs_have_the_code_that_their_texts_name() -> None:
    advice = poolwise.advise(abs, range(300))
    assert ".code alone" in str(advice)
    assert advice.code == advice.explain().code
    run = poolwise.map(abs, range(300), plan="thread:2")
    run.results()
    assert "the same by hand: .code" in str(run.explain())
    assert run.code == run.explain().code


def test_nothing_runs_before_the_first_next(plan: str | None) -> None:
    drawn: list[int] = []

    def inputs() -> Iterator[int]:
        for number in range(3):
            drawn.append(number)
            yield number

    run = poolwise.map(square, inputs(), plan=plan)
    assert not drawn
    assert next(run) == 0
    run.close()


def test_inputs_are_drawn_in_the_callers_thread(plan: str | None) -> None:
    threads = set()

    def inputs() -> Iterator[int]:
        for number in range(300):
            threads.add(threading.get_ident())
            yield number

    assert len(list(poolwise.map(square, inputs(), plan=plan))) == 300
    assert threads == {threading.get_ident()}


def test_endless_inputs_are_drawn_with_a_bounded_look_ahead(plan: str | None) -> None:
    drawn = itertools.count()
    run = poolwise.map(square, drawn, plan=plan, buffersize=50)
    assert [next(run) for _ in range(200)] == [n * n for n in range(200)]
    assert next(drawn) <= 200 + 50 + 1
    run.close()


def test_the_look_ahead_is_bounded_by_default() -> None:
    drawn = itertools.count()
    with poolwise.map(compute, (1000 for _ in drawn), plan="thread:2") as run:
        for _ in range(100):
            next(run)
        assert next(drawn) < 100_000


def test_with_a_buffer_of_one_inputs_need_not_last(plan: str | None) -> None:
    groups = itertools.groupby(range(60), key=lambda number: number // 7)
    sizes = poolwise.map(lambda group: len(list(group[1])), groups, plan=plan, buffersize=1)
    if plan is None or not plan.startswith("process"):  # to which no group can be sent
        assert list(sizes) == [7] * 8 + [4]
    again = [0]
    filled = (again for again[0] in range(20))
    firsts = poolwise.map(operator.itemgetter(0), filled, plan=plan, buffersize=1)
    assert list(firsts) == list(range(20))
    waiting = queue.SimpleQueue[int | None]()
    waiting.put(1)
    found = []
    for value in poolwise.map(square, iter(waiting.get, None), plan=plan, buffersize=1):
        found.append(value)
        waiting.put(value + 1 if value < 100 else None)
    assert found == [1, 4, 25, 676]


@pytest.mark.fault
def test_closing_early_stops_the_work(plan: str | None, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", wait_five_ms)
    before = set(threading.enumerate())
    run = poolwise.map(journal, itertools.count(), plan=plan, buffersize=20)
    assert next(run) == 0
    run.close()
    for abandoned in set(threading.enumerate()) - before:
        abandoned.join(20)  # it ends with the call that it has taken
    started = journal.started()
    assert max(started.values()) == 1
    assert len(started) <= 40
    list(run)  # what had been computed may still be read; nothing more is run
    assert journal.started() == started


@pytest.mark.fault
@pytest.mark.parametrize("wisdom", ["off", "on"])
@pytest.mark.parametrize("function", [square, wait_a_little])
def test_a_run_that_nobody_has_any_more_is_closed_at_once(
    function: Callable[[int], int],
    wisdom: str,
    plan: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("POOLWISE_WISDOM", wisdom)
    monkeypatch.setenv("POOLWISE_CACHE", str(tmp_path))
    gc.disable()  # not when the collector comes by
    try:
        run = poolwise.map(function, itertools.count(), plan=plan)
        for _ in range(100):
            next(run)
        drive = weakref.ref(run._drive)
        del run
        assert drive() is None
    finally:
        gc.enable()
    assert "not finished" in str(poolwise.last_run().explain())


def test_a_run_that_raised_can_be_explained_where_that_is_caught(plan: str | None) -> None:
    try:
        list(poolwise.map(fail_on_multiples_of_five, [1, 5, 6], plan=plan))
    except ValueError:  # whose traceback still holds the run
        assert "1 error" in str(poolwise.last_run().explain())
    else:
        pytest.fail("nothing was raised")


def test_of_an_advice_that_is_closed_the_sample_is_left() -> None:
    advice = poolwise.advise(wait_a_little, range(1_000))
    advice.close()
    sampled = list(advice.run())
    assert sampled == list(range(len(sampled)))
    assert 1 <= len(sampled) < 1_000


@pytest.mark.fault
def test_a_loop_that_is_left_ends_its_workers(plan: str | None) -> None:
    for value in poolwise.map(square, itertools.count(), plan=plan):
        if value > 100:
            break
    # The leak check of this test suite finds what would be left.


def test_inputs_are_drawn_ahead_within_bounds_by_default(plan: str | None) -> None:
    drawn = 0

    def endless() -> Iterator[int]:
        nonlocal drawn
        while True:
            drawn += 1
            yield drawn

    with poolwise.map(abs, endless(), plan=plan) as run:
        for taken in range(1, 400_001):
            next(run)
            if not taken % 50_000:
                assert drawn - taken <= 300_000  # the default, and a batch


class MakeLarge:
    """Makes 8 MB, but for the first call, which waits until a later one has begun."""

    def __init__(self, path: Path, later: int) -> None:
        os.mkfifo(path)
        self.path, self.later = str(path), later

    def __call__(self, number: int) -> bytes:
        if number == 0:
            with open(self.path, "rb") as pipe:
                pipe.read()
        elif number == self.later:
            with open(self.path, "wb"):
                pass
        return bytes(8 << 20)


#: What may be ahead by default, of results so large: see `Dispatch._room_for_results`.
FEW = 24 + 2 * 2


def test_large_results_are_not_made_far_ahead_by_default(tmp_path: Path) -> None:
    function = MakeLarge(tmp_path / "pipe", FEW - 8)
    with poolwise.map(function, itertools.count(), plan="process:2") as run:
        next(run)
        assert FEW - 8 < run.record().started <= FEW + 1


def test_they_are_if_that_was_asked_for(tmp_path: Path) -> None:
    function = MakeLarge(tmp_path / "pipe", FEW + 8)
    with poolwise.map(function, itertools.count(), plan="process:2", buffersize=2 * FEW) as run:
        next(run)
        assert run.record().started > FEW + 8


class WaitFor:
    """Calls return at once, but for one, which waits at a named pipe."""

    def __init__(self, path: Path, slow: int) -> None:
        self.path = str(path)
        self.slow = slow

    def __call__(self, number: int) -> int:
        if number == self.slow:
            with open(self.path, "rb") as pipe:
                pipe.read()
        return number


@pytest.mark.parametrize("several", ["thread:4", "process:2", "process:2x3", "process:2/500"])
def test_a_slow_call_holds_up_none_that_waits_behind_it(several: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    function = WaitFor(tmp_path / "pipe", 700)
    run = poolwise.map(function, range(3000), plan=several, ordered=False)
    assert set(itertools.islice(run, 2999)) == set(range(3000)) - {700}
    with open(tmp_path / "pipe", "wb"):
        pass
    assert list(run) == [700]


def scale(number: int, *, factor: int, table: list[int]) -> int:
    return number * factor + table[0]


def test_common_arguments_go_to_every_call(plan: str | None) -> None:
    common = {"factor": 3, "table": [10] * 100_000}
    run = poolwise.map(scale, range(50), plan=plan, common=common)
    assert list(run) == [3 * number + 10 for number in range(50)]
    assert "scale" in repr(run)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"common": [1]}, "common takes keyword arguments"),
        ({"common": {1: 2}}, "common takes keyword arguments"),
        ({"idle_timeout": "5"}, "idle_timeout takes a number of seconds"),
        ({"idle_timeout": -1}, "idle_timeout takes seconds from 0 on"),
        ({"idle_timeout": float("inf")}, "idle_timeout takes seconds from 0 on"),
        ({"start_method": "thread"}, "start_method takes one of forkserver, spawn, fork"),
    ],
)
def test_options_of_workers_are_checked_at_once(options: dict[str, Any], says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        poolwise.map(square, [1], **options)


def test_idle_workers_serve_the_next_map_unless_that_is_not_wanted() -> None:
    options: dict[str, Any] = {"plan": "process:2/1"}
    pids = [set(poolwise.map(meet, [poolwise.Barrier(2)] * 2, **options)) for _ in range(2)]
    assert pids[0] == pids[1]
    options["idle_timeout"] = 0
    pids = [set(poolwise.map(meet, [poolwise.Barrier(2)] * 2, **options)) for _ in range(2)]
    assert not pids[0] & pids[1]


def meet(barrier: poolwise.Barrier) -> int:
    """Return the process id, when the other worker has a call too."""
    barrier.wait(20)
    return os.getpid()


def test_arguments_are_let_go() -> None:
    class Large:
        alive = 0

        def __init__(self) -> None:
            Large.alive += 1

        def __del__(self) -> None:
            Large.alive -= 1

    most = 0
    for _ in poolwise.map(id, (Large() for _ in range(2000)), plan="thread:2/1", buffersize=8):
        most = max(most, Large.alive)
    assert most <= 30


# ---- exceptions ----


def test_an_exception_is_raised_at_its_place_and_iteration_goes_on(plan: str | None) -> None:
    run = poolwise.map(fail_on_multiples_of_five, range(1, 12), plan=plan)
    found: list[object] = []
    while True:
        try:
            found.append(next(run))
        except StopIteration:
            break
        except ValueError as error:
            found.append(str(error))
    expected = [f"{n} is a multiple of five" if n % 5 == 0 else n for n in range(1, 12)]
    assert found == expected


def test_an_exception_keeps_its_own_traceback(plan: str | None) -> None:
    with pytest.raises(ValueError, match="multiple of five") as caught:
        list(poolwise.map(fail_on_multiples_of_five, [5], plan=plan))
    shown = "".join(__import__("traceback").format_exception(caught.value))
    assert "fail_on_multiples_of_five" in shown
    if plan is not None and plan.startswith("process"):
        assert "Traceback" in str(caught.value.__cause__)


def test_an_exception_of_the_input_iterator_arrives_at_its_place(plan: str | None) -> None:
    def inputs() -> Iterator[int]:
        yield 1
        yield 2
        raise LookupError("the source broke")

    run = poolwise.map(square, inputs(), plan=plan)
    assert next(run) == 1
    assert next(run) == 4
    with pytest.raises(LookupError, match="the source broke"):
        next(run)
    assert list(run) == []


def raise_stop_iteration(number: int) -> int:
    if number == 1:
        raise StopIteration
    return number


def test_stop_iteration_in_a_call_does_not_end_the_results(plan: str | None) -> None:
    run = poolwise.map(raise_stop_iteration, range(3), plan=plan)
    assert next(run) == 0
    with pytest.raises(RuntimeError, match="StopIteration"):
        next(run)
    assert next(run) == 2


def exit_with(code: int) -> int:
    raise SystemExit(code)


def test_system_exit_in_a_call_is_raised_also_when_errors_are_returned(plan: str | None) -> None:
    with pytest.raises(SystemExit) as caught:
        list(poolwise.map(exit_with, [3], plan=plan, on_error="return"))
    assert caught.value.code == 3


# ---- the handle ----


@pytest.mark.parametrize("plan", [None, "inline", "thread:2", "process:2"])
def test_a_second_thread_is_told_that_the_run_is_being_read_and_the_first_has_all(
    plan: str | None,
) -> None:
    inside, told = threading.Event(), threading.Event()

    def inputs() -> Iterator[int]:
        yield from range(100)
        inside.set()
        assert told.wait(30)
        yield from range(100, 200)

    run = poolwise.map(abs, inputs(), plan=plan)
    with ThreadPoolExecutor(1) as other:
        first = other.submit(list, run)
        assert inside.wait(30)
        for use in (lambda: next(run), run.close, run.results):
            with pytest.raises(RuntimeError, match="read by one thread at a time"):
                use()
        told.set()
        assert first.result(30) == list(range(200))
    run.close()


def test_threads_may_read_a_run_in_turns() -> None:
    run = poolwise.map(abs, range(50), plan="process:1/5")
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
        got = [each.submit(next, run).result(30) for _ in range(25) for each in (one, two)]
    assert got == list(range(50))


def test_what_the_second_thread_displaces_goes_on_for_the_first() -> None:
    # It was late: while it asked, the first has got a part, and reads it.
    reader = OneReader()
    assert reader.enter()
    with ThreadPoolExecutor(1) as other:
        assert not other.submit(reader.enter).result(30)
        displacing = other.submit(reader.refusal).result(30)
        reader.leave(part := iter([1, 2, 3]))
        assert next(part) == 1
        assert next(displacing) == 2
        with pytest.raises(RuntimeError, match="one thread at a time"):
            other.submit(next, displacing).result(30)
        assert list(displacing) == [3]


def sleepy(number: int) -> int:
    time.sleep(0.002)
    return number


def test_a_progress_callback_may_stop_the_run() -> None:
    """A stop button."""
    before = set(threading.enumerate())

    def stop(done: int, total: int | None) -> None:
        if done >= 50:
            reading.close()

    reading = poolwise.map(sleepy, range(100_000), progress=stop)
    results = list(reading)
    assert results == list(range(len(results)))
    assert 0 < len(results) < 10_000  # of those that are done, the first may be missing
    reading.close()
    for thread in set(threading.enumerate()) - before:
        thread.join()  # it ends after its call


def test_the_inputs_may_stop_the_run() -> None:
    def inputs() -> Iterator[int]:
        for number in range(1000):
            if number == 500:
                reading.close()
            yield number

    reading = poolwise.map(sleepy, inputs(), plan="thread:4")
    results = list(reading)
    assert results == list(range(len(results)))
    assert len(results) < 1000


def test_a_signal_handler_may_stop_the_run() -> None:
    """It is not known what the run is at; it may wait for a call."""
    before = signal.signal(signal.SIGALRM, lambda *_: reading.close())
    try:
        reading = poolwise.map(sleepy, range(1_000_000), plan="thread:4")
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        results = list(reading)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert results == list(range(len(results)))


@pytest.mark.parametrize("plan", ["inline", "thread:2"])
def test_a_run_is_not_read_from_within(plan: str) -> None:
    told: list[str] = []

    def read(done: int, total: int | None) -> None:
        if done == 5:
            try:
                next(reading)
            except RuntimeError as error:
                told.append(str(error))

    reading = poolwise.map(sleepy, range(20), plan=plan, progress=read)
    assert list(reading) == list(range(20))
    assert all("cannot be read by its own" in each for each in told)
    assert told or plan != "inline"


def test_a_run_is_its_own_iterator_and_tells_its_plan(plan: str | None) -> None:
    run = poolwise.map(square, range(10), plan=plan)
    assert iter(run) is run
    assert run.results() == [n * n for n in range(10)]
    expected = Plan("inline") if plan is None else Plan.parse(plan)
    assert run.plan == expected
    assert "finished" in repr(run)


def test_last_run_is_that_of_this_thread_even_when_it_is_gone() -> None:
    assert list(poolwise.map(square, range(7))) == [n * n for n in range(7)]
    last = poolwise.last_run()
    assert last.record().done == 7
    assert last.results() == []
    seen: list[str] = []

    def elsewhere() -> None:
        try:
            poolwise.last_run()
        except LookupError as error:
            seen.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "no run yet" in seen[0]


def test_max_concurrency_holds_under_every_plan(plan: str | None, tmp_path: Path) -> None:
    def call(number: int) -> int:
        token = tmp_path / f"{number}"
        token.touch()
        running = len(list(tmp_path.iterdir()))
        time.sleep(0.003)
        token.unlink()
        return running

    most = max(poolwise.map(call, range(60), plan=plan, max_concurrency=2))
    assert most <= 2


def test_max_workers_alone_caps_the_calls_at_once() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def call(number: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.004)
        with lock:
            running -= 1

    list(poolwise.map(call, range(100), max_workers=3))
    assert most <= 3


def test_the_environment_pins_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLWISE_PLAN", "thread:2")
    run = poolwise.map(square, range(5))
    assert list(run) == [0, 1, 4, 9, 16]
    assert run.plan == Plan("thread", 2)
    monkeypatch.setenv("POOLWISE_PLAN", "nonsense!")
    with pytest.raises(ValueError, match="POOLWISE_PLAN"):
        poolwise.map(square, range(5))


@pytest.mark.fault
def test_one_worker_death_fails_one_call_and_no_other() -> None:
    def call(number: int) -> int:
        time.sleep(0.003)  # a millisecond or more: each outcome is sent before the next call
        if number == 7:
            os._exit(3)
        return number

    run = poolwise.map(call, range(40), plan="process:2", on_error="return")
    found = run.results()
    assert [value for value in found if isinstance(value, int)] == [n for n in range(40) if n != 7]
    error = found[7]
    assert isinstance(error, poolwise.WorkerCrashed)
    assert "call 7" in str(error)
    assert "exit code 3" in str(error)


# ---- what is refused ----

BAD = [
    ({"mechanism": "fibre"}, ValueError, "mechanism takes one of"),
    ({"plan": "thread:0"}, ValueError, "workers takes a whole number"),
    ({"plan": "4 threads"}, ValueError, "is not a plan"),
    ({"plan": 4}, TypeError, "plan takes a Plan or its text"),
    ({"plan": "thread:2", "mechanism": "thread"}, ValueError, "already says mechanism"),
    ({"max_workers": 0}, ValueError, "max_workers takes a whole number"),
    ({"max_workers": "4"}, TypeError, "max_workers takes a whole number"),
    ({"max_workers": True}, TypeError, "max_workers takes a whole number"),
    ({"max_concurrency": -1}, ValueError, "max_concurrency"),
    ({"threads_per_worker": "x"}, TypeError, "threads_per_worker"),
    ({"mechanism": "thread", "threads_per_worker": 2}, ValueError, "belongs to processes"),
    ({"mechanism": "inline", "max_workers": 2}, ValueError, "one call at a time"),
    ({"on_error": "ignore"}, ValueError, "on_error takes"),
    ({"ordered": None}, TypeError, "ordered takes"),
    ({"buffersize": 0}, ValueError, "buffersize"),
    ({"chunksize": 1.5}, TypeError, "chunksize"),
    ({"total": -1}, ValueError, "total"),
    ({"total": "all"}, TypeError, "total"),
    ({"progress": 3}, TypeError, "progress"),
]


@pytest.mark.parametrize(("options", "kind", "text"), BAD, ids=[str(bad[0]) for bad in BAD])
def test_bad_options_are_named_before_anything_starts(
    options: dict[str, object], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        poolwise.map(square, [1], **options)  # type: ignore[call-overload]


def test_bad_functions_and_inputs_are_named() -> None:
    with pytest.raises(TypeError, match="fn takes a callable, not 3"):
        poolwise.map(3, [1])  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="at least one iterable"):
        poolwise.map(square)
    with pytest.raises(TypeError, match="iterable 1 is not iterable: 5"):
        poolwise.map(square, 5)  # type: ignore[call-overload]


def test_a_plan_that_cannot_carry_the_task_is_refused_with_a_remedy() -> None:
    async def coroutine(number: int) -> int:
        return number

    with pytest.raises(poolwise.PlanRefused, match="coroutine function"):
        next(poolwise.map(coroutine, [1], plan="process:2"))
    lock = threading.Lock()
    with pytest.raises(poolwise.PlanRefused, match="cannot be pickled"):
        next(poolwise.map(lambda n: lock and n, [1], plan="process:2"))


def test_what_cannot_go_to_a_process_stays_under_auto(tmp_path: Path) -> None:
    lock = threading.Lock()

    def call(number: int) -> int:
        with lock:
            pass
        return compute(50_000) + number

    run = poolwise.map(call, range(100))
    assert run.results() == [compute(50_000) + n for n in range(100)]
    assert run.plan.mechanism != "process"


def test_ctrl_c_just_before_a_result_goes_out_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """In what the owner does between two results, too, where a call may have started others."""
    before = set(threading.enumerate())
    run = poolwise.map(abs, range(-100_000, 0), plan="thread:4")
    assert next(run) == 100_000

    def interrupted(_: Dispatch) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Dispatch, "pump", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(run)
    for thread in set(threading.enumerate()) - before:
        thread.join(20.0)
        assert not thread.is_alive()


def test_what_inputs_raise_comes_after_all_results() -> None:
    def inputs() -> Iterator[int]:
        yield from range(20)
        raise LookupError

    def call(number: int) -> int:
        time.sleep(0.001)
        return number

    for _ in range(20):
        got: list[int] = []
        with pytest.raises(LookupError):
            got.extend(poolwise.map(call, inputs()))
        assert got == list(range(20))


class Job:
    """Is in a cycle with its run."""

    def __init__(self) -> None:
        self.run = poolwise.map(self.call, range(1000), plan="process:2")

    def __getstate__(self) -> dict[str, object]:
        return {}

    def call(self, number: int) -> int:
        return -number


def test_the_collector_ends_a_run_whose_workers_others_have_by_then() -> None:
    """It finalises what is in a cycle in any order: sockets, too, of workers that were put by."""
    wrong: list[BaseException] = []
    done = threading.Event()

    def others() -> None:
        try:
            while not done.is_set():
                assert list(poolwise.map(abs, range(50), plan="process:2")) == [*range(50)]
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=others)
    thread.start()
    for _ in range(8):
        job = Job()
        assert next(job.run) == 0
        del job
        gc.collect()
    done.set()
    thread.join()
    assert not wrong


def test_a_run_is_ended_if_it_is_dropped_before_what_its_inputs_raised_came_out() -> None:
    """The traceback of that holds the frames of the run, and the threads hold the inputs."""

    def inputs() -> Iterator[int]:
        yield from range(30)
        raise LookupError

    before = set(threading.enumerate())
    run = poolwise.map(lambda number: time.sleep(0.002), inputs(), plan="thread:3")
    for _ in range(24):
        next(run)
    threads = set(threading.enumerate()) - before
    assert threads
    del run
    gc.collect()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_a_run_of_threads_is_ended_if_it_is_dropped_in_a_cycle() -> None:
    class Reader:
        def __init__(self) -> None:
            self.run = poolwise.map(self.call, range(1000), plan="thread:3")

        def call(self, number: int) -> None:
            time.sleep(0.001)

    before = set(threading.enumerate())
    reader = Reader()
    next(reader.run)
    threads = set(threading.enumerate()) - before
    assert threads
    del reader
    for thread in threads:
        while thread.is_alive():  # as long as it runs what it was sent
            gc.collect()
            thread.join(0.1)


_READS_IN_A_CHILD = """
import time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads

def short(number):
    time.sleep(0.001)
    return number

plan = "{plan}" if "{plan}" != "auto" else None
results = poolwise.map(short, range(60), plan=plan)
assert next(results) == 0
child = os.fork()
if not child:
    try:
        rest = list(results)
    except RuntimeError as error:
        assert str(os.getppid()) in str(error), error
        rest = "refused"
    results.close()
    assert list(poolwise.map(short, range(4), plan=plan)) == list(range(4))
    print(rest if rest == "refused" else len(rest), flush=True)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print(len(list(results)))
"""


def test_a_fork_of_the_users_that_reads_a_run_of_any_plan_ends(tmp_path: Path) -> None:
    """Which plan is in force by then is a matter of speed."""
    there, here = run(tmp_path, _READS_IN_A_CHILD.replace("{plan}", "auto")).split()
    assert there in ("59", "refused")
    assert here == "59"


@pytest.mark.parametrize(
    ("plan", "there"),
    [
        ("inline", "59"),
        ("thread:2", "refused"),
        ("process:2", "refused"),
        ("process:1x2", "refused"),
    ],
)
def test_a_fork_of_the_users_reads_on_only_where_there_are_no_workers(
    plan: str, there: str, tmp_path: Path
) -> None:
    """In the child there are no threads, and its sockets are those of its parent."""
    assert run(tmp_path, _READS_IN_A_CHILD.replace("{plan}", plan)).split() == [there, "59"]
