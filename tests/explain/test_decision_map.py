"""The decision map follows the cost model: more of what costs a plan moves its break-even."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from explain_records import a_machine

from fake_machine import about, communication
from poolwise.cost import forecast
from poolwise.cost.model import startup
from poolwise.explain.decision_map import (
    LENGTHS,
    SHARES,
    SIZES,
    BreakEven,
    DecisionMap,
    Row,
    decision_map,
    family,
)
from poolwise.plan import Plan
from poolwise.planner import batch_size
from poolwise.probe import Payload, TaskProfile
from poolwise.probe.payload import copying
from poolwise.timing.sample import Gap

MAP = decision_map(a_machine())


def families(found: DecisionMap, share: float, moved: int, rest: str = "waits") -> list[str]:
    rows: tuple[Row, ...] = getattr(found, rest)
    (row,) = (each for each in rows if (each.share, each.moved) == (share, moved))
    return [family(plan) for plan in row.plans]


def line(found: DecisionMap, winner: str, loser: str, moved: int = SIZES[0]) -> BreakEven:
    return next(
        each
        for each in found.break_evens
        if (each.winner, each.loser, each.moved) == (winner, loser, moved)
    )


def test_it_spans_a_microsecond_to_ten_seconds_and_every_share_and_size() -> None:
    assert (LENGTHS[0], LENGTHS[-1]) == (pytest.approx(1e-6), pytest.approx(10.0))
    assert (SHARES[0], SHARES[-1]) == (0.0, 1.0)
    assert [(row.share, row.moved) for row in MAP.waits] == [
        (share, moved) for moved in SIZES for share in SHARES
    ]
    assert all(len(row.plans) == len(LENGTHS) for row in (*MAP.waits, *MAP.computes))


def test_computing_that_holds_the_gil_is_for_a_loop_then_for_processes() -> None:
    found = families(MAP, 1.0, SIZES[0])
    assert found == sorted(found)  # "loop" before "processes", and no threads in between
    assert {found[0], found[-1]} == {"loop", "processes"}


def test_waiting_is_for_threads() -> None:
    assert set(families(MAP, 0.0, SIZES[0])[10:]) == {"threads"}


def test_long_calls_that_wait_and_compute_are_for_both() -> None:
    assert families(MAP, 0.5, SIZES[0])[-1] == "both"


def test_without_a_gil_threads_do_what_processes_do() -> None:
    found = decision_map(a_machine(gil=False))
    assert "processes" not in families(found, 1.0, SIZES[0])
    assert families(found, 1.0, SIZES[0])[-1] == "threads"
    assert line(found, "processes", "threads").length is None


def test_on_one_cpu_processes_never_pay() -> None:
    found = decision_map(a_machine(cpus=1.0))
    assert set(families(found, 1.0, SIZES[0])) == {"loop"}
    assert line(found, "processes", "loop").length is None


def test_bytes_move_the_break_even_of_processes() -> None:
    lengths = [line(MAP, "processes", "threads", moved).length for moved in SIZES]
    assert all(before < after for before, after in pairwise(lengths))


def test_dear_starts_and_few_tasks_move_it_too() -> None:
    machine = a_machine()
    usual = line(MAP, "processes", "threads").length
    dear = replace(machine, costs=replace(machine.costs, process_start=0.5))
    assert line(decision_map(dear), "processes", "threads").length > usual
    assert line(decision_map(machine, tasks=20), "processes", "threads").length > usual


def test_bytes_cost_what_was_measured_here() -> None:
    def at(rate: float) -> BreakEven:
        pipe = {1_000_000: about("B/s", rate), 64_000_000: Gap("not enough memory")}
        record = replace(communication(), throughput={"Pipe": pipe})
        machine = replace(a_machine(), communication=record)
        return line(decision_map(machine), "processes", "threads", 1_000_000)

    assert at(1e8).length > at(1e9).length > at(1e10).length
    without = replace(communication(), throughput={"Pipe": {1: Gap("refused")}})
    machine = replace(a_machine(), communication=without)
    assert decision_map(machine).break_evens == MAP.break_evens


@pytest.mark.parametrize("moved", SIZES)
def test_a_break_even_is_where_the_forecasts_meet(moved: int) -> None:
    found = line(MAP, "processes", "loop", moved)
    assert found.length is not None

    def makespan(plan: Plan, length: float) -> float:
        caller, worker = copying(moved)
        task = TaskProfile(1, length, length, 0.0, length, length, Payload(caller, worker, moved))
        return forecast(
            a_machine(),
            task,
            plan,
            MAP.tasks,
            batch=batch_size(plan, length, MAP.tasks),
            startup=startup(a_machine(), plan, server_running=False),
        ).makespan

    for length, wins in ((found.length * 1.1, True), (found.length / 1.1, False)):
        ratio = makespan(Plan("inline"), length) / makespan(Plan("process", 2), length)
        assert (ratio > 1.05) is wins
