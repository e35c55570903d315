"""Machines, tasks and plans, as hypothesis draws them."""

from __future__ import annotations

from hypothesis import strategies as st

from poolwise.machine import Facts, MachineProfile, PoolCosts
from poolwise.plan import Plan
from poolwise.probe import Payload, TaskProfile


def a_machine(cpus: float = 2.0, costs: PoolCosts | None = None) -> MachineProfile:
    return MachineProfile(
        Facts("CPython 3.13", True, cpus, "affinity", None), costs=costs or PoolCosts()
    )


def a_task(
    wait: float = 0.0,
    gil: float = 0.0,
    free: float = 0.0,
    *,
    helpers: float = 0.0,
    pickling: float = 0.0,
    outside: float | None = None,
) -> TaskProfile:
    """A task of which everything is known: it waits, computes with the GIL and without."""
    payload = Payload(pickling, pickling, 1_000, 1_000)
    wall = wait + gil + free + helpers
    return TaskProfile(10, wall, gil + free, helpers, gil, gil, payload, outside)


shares = st.just(0.0) | st.floats(1e-6, 1.0)
machines = st.builds(a_machine, st.floats(0.1, 64.0))
thread_plans = st.builds(Plan, st.just("thread"), st.integers(1, 64))
process_plans = st.builds(Plan, st.just("process"), st.integers(1, 16), st.integers(1, 16))
plans = st.just(Plan("inline")) | thread_plans | process_plans


@st.composite
def profiles(draw: st.DrawFn) -> TaskProfile:
    """Calls from 100 ns to 10 s; of CPU, GIL, helpers and pickling any share."""
    wall = 10.0 ** draw(st.floats(-7.0, 1.0))
    cpu = wall * draw(shares)
    low, high = sorted((cpu * draw(shares), cpu * draw(shares)))
    helpers = wall * draw(st.just(0.0) | st.floats(0.02, 4.0))
    pickling = wall * 10.0 * draw(shares)
    outside = draw(st.none() | st.floats(1.0, 1e6))
    payload, paging = Payload(pickling, pickling), cpu * draw(shares)
    return TaskProfile(10, wall, cpu, helpers, low, high, payload, outside, paging)
