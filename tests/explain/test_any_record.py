"""Whatever a record holds, it can be explained, and no figure is infinite or undefined."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from explain_records import NOT_PICKLABLE, read
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise.cost import Ceilings, Forecast
from poolwise.executor.record import Phase, PlanUse, RunRecord
from poolwise.explain import Explanation, explain_advice, explain_run
from poolwise.machine import Facts, MachineProfile
from poolwise.plan import Plan
from poolwise.probe import Payload, TaskProfile
from poolwise.task import Task

ODD = re.compile(r"\b(inf|nan)\b", re.IGNORECASE)

seconds = st.sampled_from([0.0, 1e-9, 4e-8, 1e-3, 5e-3, 0.1, 1.0, 75.0, 1e5])
rates = st.sampled_from([0.0, 1e-3, 1.0, 417.3, 2.5e6, float("inf")])
counts = st.integers(0, 3_000_000)
shares = st.floats(0.0, 1.0)
plans = st.one_of(
    st.just(Plan("inline")),
    st.builds(Plan, st.just("thread"), st.integers(1, 64)),
    st.builds(
        Plan,
        st.just("process"),
        st.integers(1, 8),
        st.integers(1, 8),
        st.none() | st.integers(1, 500),
    ),
)
ceilings = st.builds(Ceilings, rates, rates, rates, rates, rates)
forecasts = st.lists(
    st.builds(
        Forecast,
        plans,
        ceilings,
        startup=seconds,
        straggler=seconds,
        makespan=seconds | st.just(float("inf")),
        predicted=rates,
        measured=st.none() | rates,
        refusal=st.none() | st.just(NOT_PICKLABLE),
    ),
    max_size=6,
).map(tuple)
machines = st.builds(
    MachineProfile,
    st.builds(
        Facts,
        st.just("CPython 3.13.1"),
        st.booleans(),
        st.sampled_from([0.25, 1.0, 2.0, 64.0]),
        st.sampled_from(["affinity", "cgroup quota"]),
        st.none() | st.just(10**9),
    ),
)
uses = st.lists(st.builds(PlanUse, plans, counts, seconds, seconds, seconds), max_size=4).map(tuple)
phases = st.lists(st.builds(Phase, seconds, st.just("something began")), max_size=30).map(tuple)


@st.composite
def profiles(draw: Callable) -> TaskProfile:
    wall = draw(seconds)
    cpu = wall * draw(shares)
    low = cpu * draw(shares)
    return TaskProfile(
        calls=draw(counts),
        wall=wall,
        cpu=cpu,
        helpers=draw(seconds),
        gil_low=low,
        gil_high=low + (cpu - low) * draw(shares),
        payload=draw(st.builds(Payload, seconds, seconds, counts, counts, st.booleans())),
        outside=draw(st.none() | rates),
    )


records = st.builds(
    RunRecord,
    task=st.just(Task(read)),
    machine=machines,
    profile=st.none() | profiles(),
    plan=plans,
    pinned=st.booleans(),
    forecasts=forecasts,
    forecast=st.none() | seconds | st.just(float("inf")),
    phases=phases,
    uses=uses,
    started=counts,
    done=counts,
    failed=counts,
    lost_workers=st.integers(0, 3),
    killed_workers=st.integers(0, 3),
    missing=st.just(()) | st.just(("retries=2", "task_timeout=3.0")),
    retried=st.integers(0, 3),
    elapsed=seconds,
    finished=st.booleans(),
    total=st.none() | counts,
)


def _check(explanation: Explanation) -> None:
    text, _, _ = str(explanation).partition("\nby hand")
    assert text.strip()
    assert not ODD.search(text), text
    assert "Infinity" not in explanation.to_json()
    json.loads(explanation.to_json())
    compile(explanation.code, "<by hand>", "exec")


@settings(max_examples=150, deadline=None)
@given(records)
def test_any_run_can_be_explained(record: RunRecord) -> None:
    _check(explain_run(record))


@settings(max_examples=150, deadline=None)
@given(records, forecasts)
def test_any_advice_can_be_explained(record: RunRecord, given: tuple[Forecast, ...]) -> None:
    _check(explain_advice(record, given))
