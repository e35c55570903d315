"""Where calls of an executor go: learnt from figures that are made up here, without time."""

from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

import poolwise
from executor.calls import DEADLINE, compute, square
from poolwise.errors import TransferError
from poolwise.executor.carried import Reach, Told
from poolwise.executor.functions import Functions, Seen
from poolwise.executor.learning import Learning
from poolwise.executor.options import run_options
from poolwise.executor.routing import Pinned, make_router
from poolwise.executor.specimen import Examination, Specimen
from poolwise.executor.submission import Submission
from poolwise.executor.submissions import APPLY, Submissions
from poolwise.machine import Facts, MachineProfile
from poolwise.machine.costs import PoolCosts
from poolwise.mechanisms.carried import ApplyingOne
from poolwise.plan import Plan
from poolwise.probe import TaskProfile
from poolwise.task import Outcomes
from poolwise.wisdom import Entry, Subject

GOOD = Specimen(carried=True, unchanged=True, transfer=1e-5)


def machine(cpus: float = 2.0, *, gil: bool = True) -> MachineProfile:
    return MachineProfile(Facts("CPython 3.11", gil, cpus, "affinity", None), costs=PoolCosts())


class FakeLane:
    """A lane whose workers are ready, and that is as busy as a test says."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.ready_workers = plan.workers
        self.active = True
        self.in_flight = 3
        self.room = 1
        self.busy = 0.0

    def observe(self, now: float) -> Any:
        return SimpleNamespace(busy=self.busy)


class World:
    """A dispatch with lanes, and a clock: everything is what a test sets."""

    def __init__(self, cpus: float = 2.0, *, gil: bool = True, **options: Any) -> None:
        self.cpu = self.waited = 0.0
        self.lanes: dict[str, FakeLane] = {}
        self.in_flight = 0
        self.clock = self
        profile = machine(cpus, gil=gil)
        router = make_router(profile, run_options(profile, use_environment=False, **options))
        assert isinstance(router, Learning)
        self.router = router
        self.router.begin(self)  # type: ignore[arg-type]
        self.seen = Seen(None, Reach(Told()))

    def open(self, plan: Plan) -> FakeLane:
        self.lanes[plan.mechanism] = FakeLane(plan)
        return self.lanes[plan.mechanism]

    def now(self) -> float:
        return 0.0

    def process_cpu(self) -> float:
        return self.cpu

    def process_queued(self) -> float:
        return self.waited

    def run_in_threads(
        self,
        calls: int,
        cpu: float,
        *,
        used: float = 1.0,
        waited: float = 0.0,
        seen: Seen | None = None,
        specimen: Specimen | None = None,
    ) -> None:
        """Have calls end that use so much CPU time each, while this process uses so many CPUs."""
        for _ in range(calls):
            passed = cpu / used
            self.lanes["thread"].busy += passed
            self.cpu += cpu
            self.waited += waited * passed
            outcomes = Outcomes([specimen], {}, 3 * passed, cpu)
            self.router.learn(seen or self.seen, "thread", outcomes)

    def suspect(self, seen: Seen | None = None) -> None:
        """Have calls take turns with the GIL until their function is suspected."""
        seen = seen or self.seen
        self.run_in_threads(20, 5e-3, seen=seen)
        assert self.router.examines(seen)

    def put_on_trial(self, seen: Seen | None = None) -> None:
        self.suspect(seen)
        self.run_in_threads(1, 5e-3, seen=seen, specimen=GOOD)
        assert "process" in self.lanes

    def run_in_processes(
        self, calls: int, busy: float, *, seconds: float = 5e-3, seen: Seen | None = None
    ) -> None:
        """Have calls end that had a CPU for such a share of their time."""
        for _ in range(calls):
            outcomes = Outcomes([None], {}, seconds, busy * seconds)
            self.router.learn(seen or self.seen, "process", outcomes)

    def routes(self, calls: int) -> list[str]:
        return [self.router.route(self.seen) for _ in range(calls)]

    def move(self) -> None:
        """Have the function pass its trial."""
        self.put_on_trial()
        trials = self.routes(100).count("process")
        self.run_in_processes(trials, 0.95)
        assert self.routes(3) == ["process"] * 3


# ---- what it decides -----------------------------------------------------------------------------


def remembered(spec: str, *, learned: bool = True, cpu: float = 5e-3) -> Entry:
    """What an earlier run of `compute` has taught."""
    profile = TaskProfile(10, cpu, cpu, 0.0, 0.9 * cpu, cpu)
    subject = Subject("calls", "compute", "code")
    return Entry(subject, "here", profile, learned, Plan.parse(spec), 100, 1.0, 0.0)


def test_what_an_earlier_run_moved_to_processes_is_examined_at_its_first_call() -> None:
    world = World()
    world.router._recall = lambda function: remembered("process:2")
    world.router.met(world.seen, compute)
    assert world.routes(1) == ["thread"]
    assert world.router.examines(world.seen)
    world.run_in_threads(1, 5e-3, specimen=GOOD)
    trials = world.routes(100).count("process")
    world.run_in_processes(trials, 0.95)
    assert world.routes(3) == ["process"] * 3


def test_what_cannot_be_sent_stays_whatever_an_earlier_run_did() -> None:
    world = World()
    world.router._recall = lambda function: remembered("process:2")
    world.router.met(world.seen, compute)
    world.run_in_threads(1, 5e-3, specimen=Specimen(carried=True, unchanged=False, transfer=1e-5))
    world.run_in_threads(1000, 5e-3)
    assert list(world.lanes) == ["thread"]


@pytest.mark.parametrize(
    "known",
    [
        None,
        remembered("thread:8"),
        remembered("process:2", learned=False),
        remembered("process:2", cpu=5e-5),
    ],
)
def test_other_functions_are_not_suspected(known: Entry | None) -> None:
    world = World()
    world.router._recall = lambda function: known
    world.router.met(world.seen, compute)
    assert not world.router.examines(world.seen)


def test_a_function_is_asked_about_once() -> None:
    asked: list[object] = []
    functions = Functions(lambda seen, function: asked.append(function))
    seen = [functions.find(function) for function in (compute, square, compute)]
    assert seen[0] is seen[2]
    assert asked == [compute, square]


def test_calls_begin_in_threads_and_one_says_nothing() -> None:
    world = World()
    assert world.routes(3) == ["thread"] * 3
    world.run_in_threads(5, 5e-3)
    assert not world.router.examines(world.seen)
    assert list(world.lanes) == ["thread"]


def test_calls_that_take_turns_with_the_gil_move_to_processes() -> None:
    world = World()
    world.move()
    assert world.lanes["process"].plan == Plan("process", 2)


def test_on_a_busy_machine_too() -> None:
    world = World()
    world.run_in_threads(20, 5e-3, used=0.4, waited=0.5)
    world.run_in_threads(1, 5e-3, specimen=GOOD)
    trials = world.routes(100).count("process")
    # Most get half a CPU or less; the best of them tells that they could use more.
    world.run_in_processes(trials - 1, 0.3)
    world.run_in_processes(1, 0.6)
    assert world.routes(1) == ["process"]
    world.run_in_processes(1000, 0.3)
    assert world.routes(1) == ["process"]


@pytest.mark.parametrize(
    ("what", "figures"),
    [
        ("they use two CPUs: the GIL is free", {"cpu": 5e-3, "used": 1.9}),
        ("they leave the CPU idle: they wait", {"cpu": 5e-3, "used": 0.3}),
        ("they are too short to be sent", {"cpu": 5e-5, "used": 1.0}),
    ],
    ids=str,
)
def test_others_stay(what: str, figures: dict[str, float]) -> None:
    world = World()
    world.run_in_threads(2000, **figures)  # type: ignore[arg-type]
    assert not world.router.examines(world.seen), what


def test_calls_that_run_alone_stay() -> None:
    world = World()
    world.lanes["thread"].in_flight = 0
    world.run_in_threads(1000, 5e-3)
    assert not world.router.examines(world.seen)


@pytest.mark.parametrize(
    "world", [World(cpus=1.0), World(cpus=0.5), World(gil=False), World(max_workers=1)]
)
def test_nothing_moves_where_processes_cannot_win(world: World) -> None:
    world.run_in_threads(1000, 5e-3)
    assert not world.router.examines(world.seen)


def test_calls_that_wait_fail_their_trial_although_the_gil_is_full() -> None:
    world = World()
    world.put_on_trial()
    trials = world.routes(100).count("process")
    # The first in each process compute much: they import.
    world.run_in_processes(2, 0.95)
    world.run_in_processes(trials - 2, 0.1)
    assert world.routes(3) == ["thread"] * 3
    # They are looked at again, but much later.
    world.run_in_threads(100, 5e-3)
    assert not world.router.examines(world.seen)
    world.run_in_threads(200, 5e-3)
    assert world.router.examines(world.seen)


def test_calls_that_begin_to_wait_come_back() -> None:
    world = World()
    world.move()
    world.run_in_processes(100, 0.1)
    assert world.routes(3) == ["thread"] * 3


@pytest.mark.parametrize(
    "specimen",
    [
        Specimen(carried=False, unchanged=True, transfer=0.0),
        Specimen(carried=True, unchanged=False, transfer=0.0),
    ],
)
def test_what_cannot_be_sent_or_would_be_lost_stays_for_good(specimen: Specimen) -> None:
    world = World()
    world.suspect()
    world.run_in_threads(1, 5e-3, specimen=specimen)
    world.run_in_threads(10_000, 5e-3)
    assert not world.router.examines(world.seen)
    assert list(world.lanes) == ["thread"]


def test_what_is_dear_to_send_stays() -> None:
    world = World()
    world.suspect()
    world.run_in_threads(1, 5e-3, specimen=Specimen(True, True, transfer=2e-3))
    assert world.routes(3) == ["thread"] * 3


def test_an_argument_that_cannot_be_sent_after_all_brings_a_function_back_for_good() -> None:
    world = World()
    world.move()
    version = world.router.version
    world.router.learn(world.seen, "process", Outcomes([None], {0: TransferError("no")}))
    assert world.routes(3) == ["thread"] * 3
    assert world.router.version > version
    world.run_in_threads(10_000, 5e-3)
    assert not world.router.examines(world.seen)


def test_until_processes_are_ready_and_when_they_are_gone_threads_go_on() -> None:
    world = World()
    world.put_on_trial()
    world.lanes["process"].ready_workers = 0
    assert world.routes(3) == ["thread"] * 3
    world.lanes["process"].ready_workers = 2
    assert world.routes(3) == ["process"] * 3
    world.lanes["process"].active = False
    assert world.routes(3) == ["thread"] * 3
    assert world.router.only_threads


def test_only_some_calls_go_on_trial_and_a_cancelled_one_is_replaced() -> None:
    world = World()
    world.put_on_trial()
    first = world.routes(100)
    assert 0 < first.count("process") < 20
    world.router.dropped(world.seen)
    assert world.routes(2) == ["process", "thread"]


def test_each_function_is_judged_by_itself() -> None:
    world, other = World(), Seen(None, Reach(Told()))
    for _ in range(20):
        world.run_in_threads(1, 5e-3)
        world.run_in_threads(1, 1e-5, seen=other)
    assert world.router.examines(world.seen)
    assert not world.router.examines(other)


# ---- how functions are recognised ----------------------------------------------------------------


class Callable_:
    def __call__(self) -> None: ...

    def method(self) -> None: ...


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def test_what_is_made_anew_for_each_call_is_one_function() -> None:
    find = Functions(lambda seen, function: None).find
    assert find(square) is find(square)
    assert find(partial(square, 1)) is find(partial(partial(square), 2)) is find(square)
    first, second = (lambda: number for number in range(2))
    assert find(first) is find(second)
    assert find(Callable_().method) is find(Callable_().method)
    assert find(Callable_()) is find(Callable_())
    assert find([1].append) is find([2].append)


def test_different_functions_are_told_apart() -> None:
    functions = [
        square, compute, decorated(len), decorated(sorted), math.sin, math.cos, [1].append,
        [1].sort, Callable_(), Callable_().method, int, str,
    ]  # fmt: skip
    find = Functions(lambda seen, function: None).find
    assert len({id(find(function)) for function in functions}) == len(functions)
    assert find(functools.cache(square)) is find(square)


def test_nothing_that_a_function_refers_to_is_kept() -> None:
    functions = Functions(lambda seen, function: None)
    for number in range(1000):
        exec(f"def function(): return {number}", space := {})  # type: ignore[var-annotated]
        functions.find(space["function"])
    assert len(functions._seen) < 1000


def test_finding_runs_no_code_of_the_users() -> None:
    class Awkward:
        def __call__(self) -> None: ...

        def __hash__(self) -> int:
            raise ZeroDivisionError

        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError

    functions = Functions(lambda seen, function: None)
    assert functions.find(Awkward()) is functions.find(Awkward())


# ---- what a specimen tells -----------------------------------------------------------------------

SHARED: list[int] = []
TABLE: dict[str, object] = {"read": "only"}


def fill_shared(number: int) -> None:
    SHARED.append(number)


def read_table(key: str) -> object:
    return TABLE[key]


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self, number: int) -> int:
        self.count += number
        return self.count

    def read(self, number: int) -> int:
        return self.count + number


def examine(function: Callable[..., Any], *args: Any) -> Specimen:
    examination = Examination(function, args, {})
    return examination.end(function, args, {}, function(*args))


def test_a_plain_call_may_be_sent() -> None:
    factor = 3
    for call in (
        (square, 3),
        (lambda number: number * factor, 3),
        (read_table, "read"),
        (Counter().read, 3),
        (sorted, [3, 1]),
        (partial(square, 3),),
    ):
        specimen = examine(*call)
        assert specimen.carried, call
        assert specimen.unchanged, call
        assert 0.0 < specimen.transfer < 1.0


def test_what_a_call_changes_is_seen() -> None:
    seen: list[int] = []
    for call in (
        (fill_shared, 3),
        (Counter().add, 3),
        (lambda number: seen.append(number), 3),
        (list.sort, [3, 1]),
        (bytearray.reverse, bytearray(b"ab")),
    ):
        specimen = examine(*call)
        assert specimen.carried, call
        assert not specimen.unchanged, call


def test_arrays_that_a_call_changes_are_seen_without_being_copied() -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.zeros(40 << 20, dtype=numpy.uint8)
    assert examine(numpy.sum, array).unchanged
    assert not examine(lambda a: a.__setitem__(3, 1), array).unchanged


def test_what_reads_variables_that_cannot_go_along_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert examine(read_table, "read").carried
    monkeypatch.setitem(TABLE, "more", "x" * 1_000_000)  # which goes once to each worker
    assert examine(read_table, "read").carried
    for value in (threading.Lock(), "x" * (17 << 20)):
        monkeypatch.setitem(TABLE, "more", value)
        assert not examine(read_table, "read").carried


def test_what_cannot_be_pickled_is_seen() -> None:
    class Awkward:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError

    for call in ((id, Awkward()), (lambda: Awkward(),), (len, [b"x" * (20 << 20)])):
        assert not examine(*call).carried, call


# ---- how calls are queued ------------------------------------------------------------------------


class Queued:
    """The calls of a `World`, as the dispatch would draw them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.submissions = Submissions(world.router)
        self.seen = self.submissions._functions.find(square)
        world.seen = self.seen
        self.drawn = 0

    def submit(self, calls: int, function: Callable[..., Any] = square) -> list[Future[Any]]:
        futures: list[Future[Any]] = [Future() for _ in range(calls)]
        for number, future in enumerate(futures):
            self.submissions.arrive(Submission(future, function, (number,), {}))
        return futures

    def draw(self, mechanism: str, limit: int = 1) -> list[Any]:
        """Draw calls and return their arguments, or the submissions that threads would take."""
        drawn = self.submissions.draw(limit, mechanism)
        if drawn is None:
            return []
        task, columns = drawn
        for_processes = task is APPLY or isinstance(task.function, ApplyingOne)
        assert for_processes == (mechanism == "process")
        if mechanism == "thread":
            return [self.submissions.offers.waiting.popleft() for _ in columns[0]]
        return [args[0] for args in columns[1]]


def test_calls_that_wait_follow_their_function() -> None:
    world = World()
    queued = Queued(world)
    world.put_on_trial()
    world.lanes["process"].ready_workers = 0
    queued.submit(100)
    queued.submit(1, compute)
    assert [queued.draw("thread", 2)[0].args for _ in range(2)] == [(0,), (1,)]
    world.lanes["process"].ready_workers = 2
    trials = [queued.draw("process")[0] for _ in range(8)]
    assert trials == [*range(2, 10)]
    assert queued.draw("process") == []
    assert [each.args for each in queued.draw("thread")] == [(10,)]
    for place in range(2, 10):
        queued.submissions.add(place, Outcomes([place], {}, 5e-3, 5e-3))
    # It has passed: the rest goes to processes, other functions stay.
    assert queued.draw("process") == [11]
    assert [each.function for each in queued.draw("thread", 9)] == [compute]
    # Its lane dies: what waits comes back, in its order.
    world.lanes["process"].active = False
    assert [queued.draw("thread", 3)[0].args for _ in range(3)] == [(12,), (13,), (14,)]
    assert queued.submissions.remaining == 85


def test_short_calls_are_drawn_in_batches_of_one_function() -> None:
    world = World()
    queued = Queued(world)
    world.move()
    queued.seen.mean = 1e-3
    queued.submit(10)
    assert queued.draw("process", 50) == [0, 1, 2, 3, 4, 5, 6, 7]
    queued.seen.mean = None
    assert queued.draw("process", 50) == [8]


def test_a_call_that_cannot_be_sent_runs_in_a_thread_after_all() -> None:
    world = World()
    queued = Queued(world)
    world.move()
    future: Future[Any] = Future()
    queued.submissions.arrive(Submission(future, square, (lock := object.__new__(Unsendable),), {}))
    assert queued.draw("process") == [lock]
    assert future.running()
    queued.submissions.add(0, Outcomes([None], {0: TransferError("no")}))
    assert queued.submissions.draw(1, "thread") is not None
    assert queued.submissions.offers._run_next(queued.seen) is None
    assert future.result(0) == "squared"
    queued.submissions.add(1, Outcomes([None]))
    assert queued.submissions.exhausted


class Unsendable:
    def __mul__(self, other: object) -> str:
        return "squared"

    def __reduce__(self) -> Any:
        raise TypeError("cannot be sent")


def test_two_lanes_share_what_the_user_allows_by_turns() -> None:
    world = World(max_workers=3)
    queued = Queued(world)
    world.move()
    # In turn: one for processes, one for threads.
    for _ in range(4):
        queued.submit(1)
        queued.submit(1, compute)
    order = []
    for world.in_flight in (0, 1, 2, 3):
        for mechanism in ("thread", "process"):
            if queued.draw(mechanism):
                order.append(mechanism)
                break
    assert order == ["process", "thread", "process"]  # and no fourth
    # A lane that is full holds nobody up.
    world.in_flight = 2
    assert queued.draw("thread")
    world.lanes["process"].room = 0
    assert queued.draw("thread")


def test_threads_take_what_waits_for_processes_from_which_nothing_comes() -> None:
    world = World()
    queued = Queued(world)
    world.move()
    queued.submissions._clock = SimpleNamespace(now=lambda: time)  # type: ignore[assignment]
    time = 0.0
    queued.seen.mean = 0.05
    queued.submit(8)
    assert [queued.draw("process"), queued.draw("process")] == [[0], [1]]
    world.lanes["process"].room = 0
    assert queued.submissions.patience is not None
    queued.submissions.hurry()
    time += 0.19
    queued.submissions.hurry()
    assert queued.draw("thread") == []
    # What comes back shows that the processes do not wait for what waits here.
    queued.submissions.add(0, Outcomes([0], {}, 5e-2, 5e-2))
    queued.submissions.hurry()
    time += 0.19
    queued.submissions.hurry()
    assert queued.draw("thread") == []
    # Four times as long as a call takes: now it may be so. One call at a time, the oldest first.
    for number in (2, 3):
        time += 0.21
        queued.submissions.hurry()
        assert [each.args for each in queued.draw("thread")] == [(number,)]
        assert queued.draw("thread") == []
    # Where threads have no room either, there is nothing to be done.
    world.lanes["thread"].room = 0
    assert queued.submissions.patience is None
    world.lanes["process"].room = 1
    assert queued.draw("process") == [4]


def test_a_plan_that_is_pinned_is_the_only_place() -> None:
    for spec, opened, most in (
        ("inline", Plan("thread", 1), None),
        ("thread:5", Plan("thread", 3), None),
        ("thread:2/7", Plan("thread", 2, batch_size=7), None),
        ("process:4x8", Plan("process", 4, 8), 3),
    ):
        plans: list[Plan] = []
        router = Pinned(Plan.parse(spec), 3)
        router.begin(SimpleNamespace(open=plans.append))  # type: ignore[arg-type]
        assert plans == [opened]
        assert router.route(Seen(None, Reach(Told()))) == opened.mechanism
        assert router.max_concurrency == most


# ---- for real ------------------------------------------------------------------------------------


@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2 if hasattr(os, "sched_getaffinity") else os.cpu_count() == 1,
    reason="on one CPU, processes bring nothing",
)
def test_calls_that_hold_the_gil_end_up_in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    # A quota would show one CPU; what is tested here does not need two of them all the time.
    monkeypatch.setattr("poolwise.executor.executor.this_machine", machine)
    with poolwise.Executor() as pool:
        for _ in range(300):
            # Fresh lambdas, as programs make them, and others that wait for the GIL beside them. To
            # send one takes up to 1 ms, so shorter calls had better stay.
            futures = [pool.submit(lambda seconds: compute(seconds), 12e-3) for _ in range(12)]
            processes = {future.result(DEADLINE) for future in futures}
            if os.getpid() not in processes:
                break
        assert os.getpid() not in processes
        assert len(processes) <= 2
