"""A plan is its text, and refuses what it cannot mean."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise.plan import MECHANISMS, Plan, check_count

counts = st.integers(1, 10**6)
batches = st.none() | counts
plans = st.one_of(
    st.builds(Plan, st.just("inline"), batch_size=batches),
    st.builds(Plan, st.just("thread"), counts, batch_size=batches),
    st.builds(Plan, st.just("process"), counts, counts, batches),
)


@settings(deadline=None)
@given(plans)
def test_a_plan_is_read_back_from_its_text(plan: Plan) -> None:
    assert Plan.parse(plan.spec) == plan
    assert Plan.parse(f"  {plan.spec}\n") == plan
    assert Plan.parse(plan.spec).spec == plan.spec


@settings(deadline=None)
@given(plans, plans)
def test_plans_are_equal_where_their_texts_are(one: Plan, other: Plan) -> None:
    assert (one == other) == (one.spec == other.spec)
    assert (one == other) <= (hash(one) == hash(other))
    assert (one == other) == (str(one) == str(other))


@settings(deadline=None)
@given(plans)
def test_a_plan_can_be_copied_and_pickled_but_not_changed(plan: Plan) -> None:
    assert pickle.loads(pickle.dumps(plan)) == plan == copy.deepcopy(plan)
    with pytest.raises(AttributeError):
        plan.workers = 2  # type: ignore[misc]


@settings(deadline=None)
@given(st.text(max_size=20) | st.text(":x/0123456789inlethradpocs ", max_size=20))
def test_any_other_text_is_a_value_error(text: str) -> None:
    try:
        plan = Plan.parse(text)
    except ValueError:
        return
    assert Plan.parse(plan.spec) == plan


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("inline", Plan("inline")),
        ("inline:1", Plan("inline")),
        ("inline/16", Plan("inline", batch_size=16)),
        ("thread", Plan("thread", 1)),
        ("thread:8", Plan("thread", 8)),
        ("thread:8x1", Plan("thread", 8)),
        ("process:4", Plan("process", 4)),
        ("process/16", Plan("process", 1, 1, 16)),
        ("process:4x8/16", Plan("process", 4, 8, 16)),
    ],
)
def test_texts_of_plans(text: str, plan: Plan) -> None:
    assert Plan.parse(text) == plan


NO_PLANS = [
    "",
    "threads:8",
    "auto",
    "thread:0",
    "thread:-1",
    "thread:8x",
    "thread:8x2",
    "thread:x2",
    "thread 8",
    "thread:8/0",
    "thread:8/",
    "inline:2",
    "process:4x0",
    "process:4x8/16/32",
    "Process:4",
    None,
    8,
]


def test_texts_that_are_no_plan() -> None:
    for text in NO_PLANS:
        with pytest.raises(ValueError, match=r"."):
            Plan.parse(text)  # type: ignore[arg-type]


def test_a_wrong_text_shows_the_form() -> None:
    with pytest.raises(ValueError, match="process:4x8/16"):
        Plan.parse("four processes")
    with pytest.raises(ValueError, match="inline, thread, process"):
        Plan.parse("fiber:4")


@pytest.mark.parametrize(
    ("text", "meant"), [("procss:2", "process"), ("threads:8", "thread"), ("in_line", "inline")]
)
def test_a_text_with_a_misspelt_mechanism_names_the_one_meant(text: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean '{meant}'") as info:
        Plan.parse(text)
    assert "Plan.parse" not in str(info.value)


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (Plan("inline"), "plain loop"),
        (Plan("thread", 1), "1 thread"),
        (Plan("thread", 8), "8 threads"),
        (Plan("process", 1), "1 process"),
        (Plan("process", 4), "4 processes"),
        (Plan("process", 4, 8), "4 processes × 8 threads"),
        (Plan("process", 4, 8, 16), "4 processes × 8 threads, batches of 16"),
    ],
)
def test_a_plan_reads_like_a_sentence(plan: Plan, sentence: str) -> None:
    assert str(plan) == sentence


@settings(deadline=None)
@given(plans)
def test_concurrency_is_workers_times_threads(plan: Plan) -> None:
    assert plan.concurrency == plan.workers * plan.threads_per_worker


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fiber",), "fiber"),
        ((None,), "None"),
        (("thread", 0), "workers"),
        (("thread", -3), "workers"),
        (("process", 2, 0), "threads_per_worker"),
        (("process", 2, 2, 0), "batch_size"),
        (("inline", 2), "workers=1"),
        (("inline", 1, 2), "threads_per_worker"),
        (("thread", 2, 2), "say workers"),
    ],
)
def test_a_plan_without_meaning_is_a_value_error(arguments: tuple[object, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Plan(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["workers", "threads_per_worker", "batch_size"])
def test_a_count_of_another_type_is_a_type_error(name: str) -> None:
    for value in (2.0, "2", True, [2]):
        with pytest.raises(TypeError, match=name):
            Plan("process", **{name: value})  # type: ignore[arg-type]


def test_a_count_is_returned_as_it_is() -> None:
    assert check_count("max_workers", 7) == 7


def test_mechanisms_are_listed_from_simple_to_complex() -> None:
    assert MECHANISMS == ("inline", "thread", "process")
