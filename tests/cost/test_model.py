"""The cost model: its table of ceilings, how they move, and what a makespan is made of."""

from __future__ import annotations

import math
from dataclasses import astuple, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost.drawn import a_machine, a_task, machines, plans, process_plans, profiles, thread_plans
from poolwise.cost import Ceilings, ceilings, forecast
from poolwise.cost.model import limited_by_cpu, queued, startup
from poolwise.machine import MachineProfile, PoolCosts
from poolwise.plan import Plan
from poolwise.probe import TaskProfile
from poolwise.units import Seconds

relaxed = settings(deadline=None)
batches = st.integers(1, 50_000)
calls = st.floats(0.0, 1e6)

#: Costs that leave round figures: the table can be checked by hand.
ROUND = PoolCosts(
    thread_start=0.001,
    server_start=0.100,
    process_start=0.010,
    thread_dispatch=0.001,
    process_dispatch=0.002,
    call_overhead=0.0,
)


def nearly_at_most(lower: float, higher: float) -> bool:
    return lower <= higher * (1 + 1e-9)


def more_workers(plan: Plan, more: int = 1) -> Plan:
    return replace(plan, workers=plan.workers + more)


# ---- the table -------------------------------------------------------------------------------


def test_the_table_of_threads() -> None:
    task = a_task(wait=0.050, gil=0.010, free=0.040, pickling=1.0, outside=70.0)
    limits = ceilings(a_machine(2.0, ROUND), task, Plan("thread", 8), batch=4)
    assert limits == Ceilings(
        concurrency=pytest.approx(8 / 0.100),
        gil=pytest.approx(1 / 0.010),
        cores=pytest.approx(2 / 0.050),
        dispatch=pytest.approx(4 / 0.001),
        outside=70.0,
    )
    assert (limits.binding, limits.lowest) == ("cores", limits.cores)


def test_the_table_of_processes() -> None:
    task = a_task(wait=0.050, gil=0.010, free=0.040, pickling=0.010, outside=70.0)
    limits = ceilings(a_machine(2.0, ROUND), task, Plan("process", 4, 8), batch=4)
    assert limits == Ceilings(
        concurrency=pytest.approx(4 * 8 / (0.100 + 0.010)),
        gil=pytest.approx(4 / (0.010 + 0.010)),
        cores=pytest.approx(2 / (0.050 + 0.010 + 0.010)),
        dispatch=pytest.approx(1 / (0.010 + 0.002 / 4)),
        outside=70.0,
    )


def test_workers_have_no_page_faults_for_memory_that_was_freed() -> None:
    machine = a_machine(2.0, ROUND)
    task = replace(a_task(wait=0.050, gil=0.020, free=0.080), paging=0.030)
    assert ceilings(machine, task, Plan("process", 2)) == Ceilings(
        concurrency=pytest.approx(2 / 0.120),
        gil=pytest.approx(2 / 0.014),
        cores=pytest.approx(2 / 0.070),
        dispatch=pytest.approx(1 / 0.002),
        outside=math.inf,
    )
    without = replace(task, paging=0.0)
    for plan in Plan("inline"), Plan("thread", 8):
        assert ceilings(machine, task, plan) == ceilings(machine, without, plan)


def test_half_of_what_libraries_do_beside_a_call_is_done_for_it() -> None:
    """In workers they do not run beside calls; what runs instead of a call stays."""
    machine, plan = a_machine(2.0, ROUND), Plan("process", 2)
    beside = replace(a_task(free=0.1), helpers=0.1)
    assert ceilings(machine, beside, plan).cores == pytest.approx(2 / 0.15)
    assert ceilings(machine, beside, Plan("thread", 2)).cores == pytest.approx(2 / 0.2)
    instead = replace(a_task(wait=0.1), helpers=0.1)
    assert ceilings(machine, instead, plan).cores == pytest.approx(2 / 0.1)


def test_the_table_of_a_loop() -> None:
    limits = ceilings(a_machine(), a_task(wait=0.05, gil=0.05, pickling=1.0), Plan("inline"))
    assert limits == Ceilings(concurrency=pytest.approx(10.0))
    assert limits.binding == "concurrency"


def test_the_gil_is_taken_amid_its_bounds() -> None:
    task = replace(a_task(gil=0.020), gil_low=0.0)
    limits = ceilings(a_machine(2.0, ROUND), task, Plan("thread", 2))
    assert limits.gil == pytest.approx(1 / 0.010)


def test_every_ceiling_has_words_and_a_loop_its_own() -> None:
    machine, task = a_machine(), a_task(gil=0.01)
    plan = Plan("thread", 2)
    words = {
        replace(
            forecast(machine, task, plan, 10), ceilings=replace(Ceilings(), **{name: 1.0})
        ).bound_by
        for name in Ceilings.__dataclass_fields__
    }
    assert len(words) == len(Ceilings.__dataclass_fields__)
    assert forecast(machine, task, Plan("inline"), 10).bound_by == "one at a time"


# ---- how ceilings move ---------------------------------------------------------------------


@relaxed
@given(machines, profiles(), plans, batches)
def test_the_binding_ceiling_is_the_lowest(
    machine: MachineProfile, task: TaskProfile, plan: Plan, batch: int
) -> None:
    limits = ceilings(machine, task, plan, batch)
    assert limits.lowest == getattr(limits, limits.binding) == min(astuple(limits))
    assert 0.0 < limits.lowest < math.inf


@relaxed
@given(machines, profiles(), thread_plans | process_plans, batches, st.integers(1, 8))
def test_more_workers_never_lower_any_ceiling(
    machine: MachineProfile, task: TaskProfile, plan: Plan, batch: int, more: int
) -> None:
    few = ceilings(machine, task, plan, batch)
    many = ceilings(machine, task, more_workers(plan, more), batch)
    assert all(map(nearly_at_most, astuple(few), astuple(many)))
    assert many.concurrency > few.concurrency
    assert (many.cores, many.dispatch, many.outside) == (few.cores, few.dispatch, few.outside)


@relaxed
@given(machines, profiles(), thread_plans, batches, st.integers(1, 8))
def test_threads_share_one_gil_however_many_there_are(
    machine: MachineProfile, task: TaskProfile, plan: Plan, batch: int, more: int
) -> None:
    wide = ceilings(machine, task, more_workers(plan, more), batch)
    assert wide.gil == ceilings(machine, task, plan, batch).gil


@relaxed
@given(machines, profiles(), process_plans, batches)
def test_processes_have_a_gil_each_and_their_threads_none(
    machine: MachineProfile, task: TaskProfile, plan: Plan, batch: int
) -> None:
    alone = ceilings(machine, task, Plan("process", 1, plan.threads_per_worker), batch)
    limits = ceilings(machine, task, plan, batch)
    assert limits.gil == pytest.approx(plan.workers * alone.gil)
    assert limits.gil == ceilings(machine, task, Plan("process", plan.workers), batch).gil
    assert limits.concurrency == pytest.approx(plan.workers * alone.concurrency)


@relaxed
@given(machines, profiles(), plans, batches, batches)
def test_a_larger_batch_raises_the_ceiling_of_dispatch_and_no_other(
    machine: MachineProfile, task: TaskProfile, plan: Plan, one: int, other: int
) -> None:
    small, large = (ceilings(machine, task, plan, batch) for batch in sorted((one, other)))
    assert nearly_at_most(small.dispatch, large.dispatch)
    assert replace(small, dispatch=large.dispatch) == large


@relaxed
@given(profiles(), plans, st.floats(0.1, 32.0), st.floats(0.1, 32.0))
def test_more_cpus_raise_the_ceiling_of_the_cores_and_no_other(
    task: TaskProfile, plan: Plan, one: float, other: float
) -> None:
    few, many = (ceilings(a_machine(cpus), task, plan) for cpus in sorted((one, other)))
    assert nearly_at_most(few.cores, many.cores)
    assert replace(few, cores=many.cores) == many


# ---- queueing ----------------------------------------------------------------------------------


@relaxed
@given(machines, profiles(), plans, batches)
def test_queueing_never_exceeds_the_lowest_ceiling(
    machine: MachineProfile, task: TaskProfile, plan: Plan, batch: int
) -> None:
    limits = ceilings(machine, task, plan, batch)
    assert 0.0 < queued(machine, plan, limits) <= limits.lowest


@pytest.mark.parametrize("plan", ["inline", "thread:4", "process:2x2"])
@pytest.mark.parametrize("nothing", ["gil", "concurrency", "outside"])
def test_what_lets_nothing_through_lets_nothing_through(plan: str, nothing: str) -> None:
    limits = replace(Ceilings(gil=1.0), **{nothing: 0.0})
    assert queued(a_machine(2.0), Plan.parse(plan), limits) == 0.0


@relaxed
@given(machines, profiles(), thread_plans | process_plans)
def test_one_more_at_once_never_lowers_the_throughput(
    machine: MachineProfile, task: TaskProfile, plan: Plan
) -> None:
    def reached(plan: Plan) -> float:
        return queued(machine, plan, ceilings(machine, task, plan))

    assert nearly_at_most(reached(plan), reached(more_workers(plan)))
    if plan.mechanism == "process":
        wider = replace(plan, threads_per_worker=plan.threads_per_worker + 1)
        assert nearly_at_most(reached(plan), reached(wider))


@relaxed
@given(machines, profiles(), thread_plans | process_plans)
def test_queueing_is_no_worse_than_coming_last_every_time(
    machine: MachineProfile, task: TaskProfile, plan: Plan
) -> None:
    limits = ceilings(machine, task, plan)
    gils = 1 if plan.mechanism == "thread" else plan.workers
    at_once = plan.concurrency // gils
    service = gils / limits.gil
    alone = max(service, plan.concurrency / limits.concurrency)
    for_gil = plan.concurrency / (alone + (at_once - 1) * service)
    cpus = machine.facts.usable_cpus
    service = cpus / limits.cores
    alone = max(service, plan.concurrency / limits.concurrency)
    for_cpus = plan.concurrency / (alone + max(0.0, plan.concurrency / cpus - 1) * service)
    worst = 0.999 * min(for_gil, for_cpus)  # what is at work for so much of the time counts as full
    assert nearly_at_most(min(worst, limits.lowest), queued(machine, plan, limits))


@pytest.mark.parametrize("gil", [1e-4, 1e-3, 5e-3])
def test_queueing_tends_to_the_lowest_ceiling(gil: Seconds) -> None:
    machine, task = a_machine(64.0), a_task(wait=20e-3, gil=gil)

    def share(threads: int) -> float:
        plan = Plan("thread", threads)
        limits = ceilings(machine, task, plan)
        return queued(machine, plan, limits) / limits.lowest

    where_they_meet = round(task.wall / gil)
    assert share(1) == pytest.approx(1.0, rel=1e-2)
    assert share(20 * where_they_meet) == pytest.approx(1.0, rel=1e-2)
    assert share(where_they_meet) < 0.96


def test_queueing_for_the_gil_by_hand() -> None:
    # Two calls, each one second of waiting and one of computing: the second finds the GIL taken
    # half of the time.
    machine, task = a_machine(8.0, replace(ROUND, thread_dispatch=0.0)), a_task(wait=1.0, gil=1.0)
    for threads, reached in ((1, 1 / 2), (2, 2 / 2.5), (3, 3 / 3.2)):
        plan = Plan("thread", threads)
        assert queued(machine, plan, ceilings(machine, task, plan)) == pytest.approx(reached)
    two = Plan("process", 2, 2)
    assert queued(machine, two, ceilings(machine, task, two)) == pytest.approx(2 * 2 / 2.5)


def test_queueing_for_cpus_by_hand() -> None:
    # Three calls, each one second of waiting and one of computing, on two CPUs: of 17 seconds none
    # computes for 2, one for 6, two for 6 and all for 3.
    free = replace(ROUND, thread_dispatch=0.0, call_overhead=0.0)
    machine, task = a_machine(2.0, free), a_task(wait=1.0, free=1.0)
    plan = Plan("thread", 3)
    assert queued(machine, plan, ceilings(machine, task, plan)) == pytest.approx(24 / 17)


@pytest.mark.parametrize("wait", [1e-6, 1e-3, 1.0])
def test_many_calls_that_come_back_from_waiting_fill_all_cpus(wait: Seconds) -> None:
    machine, task = a_machine(2.0), a_task(wait=wait, free=1e-3)
    plan = Plan("thread", 10 * round(2 * (wait + 1e-3) / 1e-3))
    limits = ceilings(machine, task, plan)
    assert queued(machine, plan, limits) == pytest.approx(limits.lowest, rel=1e-3)


def test_nothing_queues_where_there_is_a_cpu_for_each_and_no_gil_is_held() -> None:
    machine, task = a_machine(8.0, ROUND), a_task(wait=1.0, free=1.0)
    plan = Plan("thread", 4)
    limits = ceilings(machine, task, plan)
    assert limits.gil == math.inf
    assert queued(machine, plan, limits) == limits.lowest == pytest.approx(2.0)


# ---- starting ----------------------------------------------------------------------------------


def test_starting_by_hand() -> None:
    machine = a_machine(2.0, ROUND)
    assert startup(machine, Plan("inline"), server_running=False) == 0.0
    assert startup(machine, Plan("thread", 4), server_running=False) == pytest.approx(0.004)
    four = Plan("process", 4, 3)
    assert startup(machine, four, server_running=False) == pytest.approx(0.100 + 4 * 0.012)
    assert startup(machine, four, server_running=True) == pytest.approx(4 * 0.012)


@relaxed
@given(thread_plans | process_plans, st.booleans())
def test_more_workers_take_longer_to_start(plan: Plan, served: bool) -> None:
    machine = a_machine()
    few = startup(machine, plan, server_running=served)
    assert 0.0 < few < startup(machine, more_workers(plan), server_running=served)


# ---- makespans ---------------------------------------------------------------------------------


@relaxed
@given(machines, profiles(), plans, calls, calls, st.floats(0.0, 1.0), st.floats(0.0, 1e3))
def test_a_makespan_grows_with_the_calls(
    machine: MachineProfile,
    task: TaskProfile,
    plan: Plan,
    one: float,
    other: float,
    start: Seconds,
    meanwhile: float,
) -> None:
    few, many = (
        forecast(machine, task, plan, n, startup=start, meanwhile=meanwhile).makespan
        for n in sorted((one, other))
    )
    assert start <= few
    assert nearly_at_most(few, many)


@relaxed
@given(machines, profiles(), plans, st.integers(1, 10**6), st.floats(0.0, 1.0))
def test_a_makespan_is_start_up_run_and_straggler(
    machine: MachineProfile, task: TaskProfile, plan: Plan, n: int, start: Seconds
) -> None:
    made = forecast(machine, task, plan, n, startup=start)
    run = n / made.rate
    straggler = made.straggler if n > plan.concurrency else 0.0
    assert made.makespan == pytest.approx(start + run + straggler)
    assert 0.0 <= made.straggler < task.wall
    assert made.rate <= made.ceilings.lowest


def test_a_loop_takes_the_sum_of_its_calls() -> None:
    made = forecast(a_machine(), a_task(wait=0.2, gil=0.3), Plan("inline"), 7)
    assert made.makespan == pytest.approx(7 * 0.5)
    assert (made.startup, made.straggler) == (0.0, 0.0)


@pytest.mark.parametrize("n", [1, 3, 31])
def test_few_calls_cannot_fill_all_slots(n: int) -> None:
    machine, task, plan = a_machine(), a_task(wait=0.5), Plan("thread", 32)
    assert forecast(machine, task, plan, n).makespan == pytest.approx(0.5, rel=1e-3)
    assert forecast(machine, task, plan, n, measured=64.0).makespan == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("n", "workers", "rounds"), [(4, 2, 2.0), (5, 2, 3.0), (3, 3, 1.5), (5, 3, 2.5), (6, 2, 3.0)]
)
def test_a_few_calls_end_in_rounds(n: int, workers: int, rounds: float) -> None:
    machine, task = a_machine(2.0), a_task(gil=1.0)
    made = forecast(machine, task, Plan("process", workers), n)
    assert made.makespan == pytest.approx(rounds, rel=1e-3)


def test_calls_that_end_while_workers_start_are_not_run_again() -> None:
    machine, task, plan = a_machine(), a_task(gil=0.010), Plan("process", 2)
    idle = forecast(machine, task, plan, 1_000, startup=1.0)
    busy = forecast(machine, task, plan, 1_000, startup=1.0, meanwhile=100.0)
    assert idle.makespan - busy.makespan == pytest.approx(100 / idle.rate)
    assert forecast(machine, task, plan, 50, startup=1.0, meanwhile=100.0).makespan == 1.0


def test_what_was_measured_stands_beside_the_forecast_and_counts() -> None:
    machine, task, plan = a_machine(), a_task(gil=0.010), Plan("process", 2)
    forecasted = forecast(machine, task, plan, 1_000)
    measured = forecast(machine, task, plan, 1_000, measured=50.0)
    assert measured.predicted == forecasted.predicted == forecasted.rate
    assert measured.measured == measured.rate == 50.0
    assert measured.makespan == pytest.approx(1_000 / 50.0 + measured.straggler)


def test_a_correction_counts_for_the_forecast_and_not_for_what_was_measured() -> None:
    machine, task, plan = a_machine(), a_task(gil=0.010), Plan("process", 2)
    plain = forecast(machine, task, plan, 1_000)
    halved = forecast(machine, task, plan, 1_000, correction=0.5)
    assert halved.predicted == halved.rate == pytest.approx(0.5 * plain.predicted)
    assert halved.ceilings == plain.ceilings
    assert forecast(machine, task, plan, 1_000, correction=0.5, measured=50.0).rate == 50.0


@pytest.mark.parametrize(
    ("task", "spec", "limited"),
    [
        (a_task(gil=0.010), "inline", True),
        (a_task(wait=0.010, gil=0.001), "inline", False),
        (a_task(gil=0.010), "thread:4", True),
        (a_task(free=0.010), "thread:4", True),
        (a_task(wait=0.100, gil=0.001), "thread:4", False),
        (a_task(wait=0.100, gil=0.001, outside=20.0), "thread:32", False),
        (a_task(gil=1e-6, pickling=1e-3), "process:2", False),
    ],
)
def test_what_a_faster_cpu_would_speed_up(task: TaskProfile, spec: str, limited: bool) -> None:
    plan = Plan.parse(spec)
    assert limited_by_cpu(task, plan, ceilings(a_machine(), task, plan)) is limited


# ---- what it is for -------------------------------------------------------------------------


def best(task: TaskProfile, n: int = 10_000) -> Plan:
    """The shortest makespan, start-up left aside."""
    plans = [Plan("inline"), *(Plan("thread", k) for k in (2, 8, 32))]
    plans += [Plan("process", 2, k) for k in (1, 2, 6, 16)]
    made = [forecast(a_machine(), task, plan, n, batch=100) for plan in plans]
    return min(made, key=lambda each: each.makespan).plan


@pytest.mark.parametrize(
    ("task", "mechanism"),
    [
        (a_task(gil=5e-8, pickling=1e-6), "inline"),
        (a_task(gil=1e-3, pickling=1e-5), "process"),
        (a_task(free=1e-3, pickling=1e-4), "thread"),
        (a_task(wait=1e-2, pickling=1e-3), "thread"),
        (a_task(gil=1e-3, pickling=5e-3), "inline"),
    ],
)
def test_the_best_mechanism_of_clear_cases(task: TaskProfile, mechanism: str) -> None:
    assert best(task).mechanism == mechanism


def test_processes_that_run_threads_are_best_where_calls_wait_and_compute() -> None:
    # The case that any pool of only threads or only processes loses.
    plan = best(a_task(wait=5e-3, gil=1e-3, pickling=1e-5))
    assert (plan.mechanism, plan.threads_per_worker > 1) == ("process", True)
