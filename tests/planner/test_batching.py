"""Batches: as long as makes sending negligible, shorter towards the end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost.drawn import plans, process_plans, thread_plans
from poolwise.plan import Plan
from poolwise.planner import batch_size, in_flight_batches
from poolwise.units import Seconds

relaxed = settings(deadline=None)
services = st.none() | st.just(0.0) | st.floats(1e-9, 100.0)
remainders = st.none() | st.integers(0, 10**7)


@relaxed
@given(plans, services, remainders)
def test_a_batch_has_from_one_to_fifty_thousand_calls(
    plan: Plan, service: Seconds | None, remaining: int | None
) -> None:
    assert 1 <= batch_size(plan, service, remaining) <= 50_000


@relaxed
@given(plans, st.floats(1e-9, 100.0), remainders)
def test_a_batch_lasts_some_milliseconds_or_is_one_call(
    plan: Plan, service: Seconds, remaining: int | None
) -> None:
    size = batch_size(plan, service, remaining)
    assert size == 1 or size * service <= (9e-3 if plan.mechanism == "process" else 5e-3)


@relaxed
@given(plans, services, st.integers(0, 10**7), st.integers(0, 10**7))
def test_fewer_calls_left_never_make_a_larger_batch(
    plan: Plan, service: Seconds | None, one: int, other: int
) -> None:
    few, many = sorted((one, other))
    assert batch_size(plan, service, few) <= batch_size(plan, service, many)


@relaxed
@given(thread_plans | process_plans, st.floats(1e-7, 1e-2), st.integers(1, 5_000))
def test_batches_shrink_to_single_calls(plan: Plan, service: Seconds, calls: int) -> None:
    sizes, left = [], calls
    while left > 0:
        sizes.append(batch_size(plan, service, left))
        left -= sizes[-1]
    assert left == 0
    assert sizes == sorted(sizes, reverse=True)
    # From here on, every call goes to whoever is idle first.
    assert set(sizes[-min(calls, plan.concurrency) :]) == {1}


@relaxed
@given(thread_plans | process_plans, services, st.integers(0, 10**7))
def test_no_batch_takes_more_than_half_of_a_fair_share(
    plan: Plan, service: Seconds | None, remaining: int
) -> None:
    size = batch_size(plan, service, remaining)
    assert size == 1 or size * 2 * plan.concurrency <= remaining


def test_a_loop_has_no_one_to_share_with() -> None:
    assert batch_size(Plan("inline"), 1e-6, 10) == batch_size(Plan("inline"), 1e-6, None)


@relaxed
@given(plans, remainders)
def test_of_calls_that_nobody_knows_one_is_sent(plan: Plan, remaining: int | None) -> None:
    assert batch_size(plan, None, remaining) == 1


@relaxed
@given(thread_plans | process_plans, st.data(), services)
def test_at_most_one_batch_is_sent_ahead_for_each_call_at_once(
    plan: Plan, data: st.DataObject, service: Seconds | None
) -> None:
    slots = data.draw(st.integers(1, plan.concurrency))
    assert in_flight_batches(plan, slots, service) in (slots, 2 * slots)


@pytest.mark.parametrize(
    ("spec", "service", "ahead"),
    [
        ("process:4", 1e-3, 4),
        ("process:4", 9e-3, 4),
        ("process:4", 20e-3, 4),
        ("process:4", 100e-3, 0),
        ("process:4x8", 1e-3, 32),
        ("thread:4", 1e-3, 4),
        ("thread:4", 9e-3, 0),
        ("process:4", None, 0),
        ("thread:4", None, 0),
    ],
)
def test_long_calls_are_not_sent_ahead_nor_those_that_may_be(
    spec: str, service: Seconds | None, ahead: int
) -> None:
    plan = Plan.parse(spec)
    assert in_flight_batches(plan, plan.concurrency, service) == plan.concurrency + ahead


def test_where_a_user_may_cancel_less_is_sent_ahead() -> None:
    plan = Plan("process", 4, 8)
    assert in_flight_batches(plan, 32, 1e-3, for_each_call=False) == 36


@pytest.mark.parametrize("service", [None, 1e-3, 9e-3, 100.0])
def test_more_is_sent_ahead_where_the_first_free_takes_it(service: Seconds | None) -> None:
    assert in_flight_batches(Plan("thread", 4), 3, service, ahead_for_all=3) == 12


def test_a_loop_runs_one_batch_at_a_time() -> None:
    assert in_flight_batches(Plan("inline"), 1, 1e-6) == 1
