"""What is shared and what is not, as every system of today has it."""

from __future__ import annotations

import sys
from dataclasses import fields

import pytest

from poolwise.machine.dimensions import Isolation
from poolwise.machine.isolation import _at_once, measure_isolation
from poolwise.timing.repeat import QUICK
from poolwise.timing.sample import Figure, Gap, Sample
from poolwise.worker import Worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="others have gaps")


def measured() -> Isolation:
    program = Worker(measure_isolation, (QUICK,), mechanism="process")
    program.start()
    return program.result()


@pytest.fixture(scope="module")
def isolation() -> Isolation:
    return measured()


def is_yes(figure: Figure) -> bool:
    assert isinstance(figure, Sample), figure
    assert figure.unit == "yes"
    return figure.median == 1.0


#: What a thread and a process have; an interpreter, where there are some.
EXPECTED = {
    "write_seen": (True, False, False),
    "sibling_write_seen": (True, False, False),
    "same_pid": (True, False, True),
    "same_interpreter": (True, False, False),
    "same_code": (True, False, False),
    "own_stack": (True, True, False),
    "own_descriptors": (False, True, False),
    "own_directory": (False, True, False),
    "own_environment": (False, True, False),
    "own_limits": (False, True, False),
    "kernel_task": (True, True, False),
    "survives_crash": (False, True, False),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_shared_is_seen(isolation: Isolation, name: str) -> None:
    figures = getattr(isolation, name)
    expected = dict(zip(("thread", "process", "interpreter"), EXPECTED[name], strict=True))
    if sys.version_info < (3, 14):
        assert isinstance(figures["interpreter"], Gap)
        assert "3.14" in figures["interpreter"].why
        del expected["interpreter"]
    assert {kind: is_yes(figures[kind]) for kind in expected} == expected


def test_whoever_shares_the_gil_waits_for_it(isolation: Isolation) -> None:
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    for kind, same in (("thread", has_gil), ("process", False)):
        figure = isolation.same_gil[kind]
        while isinstance(figure, Gap):  # beside other work a worker may never have its turns
            assert figure.why == "other work kept the worker from its turns"
            figure = measured().same_gil[kind]
        assert is_yes(figure) is same


def test_the_map_of_a_process_has_its_segments(isolation: Isolation) -> None:
    assert {name: is_yes(each) for name, each in isolation.segments.items()} == {
        "code": True,
        "data": True,
        "stack": True,
    }


def test_workers_were_on_some_cpu(isolation: Isolation) -> None:
    for kind in ("thread", "process"):
        figure = isolation.cpus_seen[kind]
        assert isinstance(figure, Sample)
        assert figure.median in (1.0, 2.0)


def test_nothing_is_left_out(isolation: Isolation) -> None:
    kinds = {"thread", "process", "interpreter"}
    for field in fields(Isolation):
        if field.name != "segments":
            assert getattr(isolation, field.name).keys() == kinds, field.name


@pytest.mark.parametrize(
    ("one", "other", "most"),
    [
        ([(1.0, 0), (2.0, 0)], [(0.5, 1), (2.5, 1)], 2),
        ([(1.0, 0), (2.0, 0)], [(0.5, 0), (2.5, 0)], 1),
        ([(1.0, 0), (2.0, 0)], [(3.0, 1), (4.0, 1)], 0),  # one after the other
        ([(1.0, 0)], [(0.5, 1), (2.5, 2)], 0),  # the other moved: nobody knows when
        ([], [], 0),
    ],
)
def test_at_once_means_at_the_same_moment(
    one: list[tuple[float, int]], other: list[tuple[float, int]], most: int
) -> None:
    assert max(map(len, _at_once(one, other))) == most
