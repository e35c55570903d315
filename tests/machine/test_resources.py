"""What workers cost: everything is measured here, and the orders that hold everywhere hold."""

from __future__ import annotations

import sys
from dataclasses import fields, replace

import pytest

from poolwise.machine.dimensions import Resources
from poolwise.machine.resources import measure_resources
from poolwise.timing.repeat import QUICK
from poolwise.timing.sample import Gap, Sample
from poolwise.worker import Worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="others have gaps")

METHODS = ("fork", "forkserver", "spawn")


@pytest.fixture(scope="module")
def resources() -> Resources:
    program = Worker(measure_resources, (replace(QUICK, seconds=5e-3),), mechanism="process")
    program.start()
    return program.result()


def median(figure: object) -> float:
    assert isinstance(figure, Sample), figure
    return figure.median


def test_there_are_no_gaps_but_where_there_are_no_interpreters(resources: Resources) -> None:
    for field in fields(Resources):
        figures = getattr(resources, field.name)
        if field.name == "call_overhead":
            assert isinstance(figures, Sample)
            continue
        assert {"thread", "process"} <= figures.keys(), field.name
        for kind, figure in figures.items():
            gap = kind == "interpreter" and sys.version_info < (3, 14)
            assert isinstance(figure, Gap if gap else Sample), (field.name, kind, figure)


@pytest.mark.parametrize("method", METHODS)
def test_a_process_costs_more_than_a_thread(resources: Resources, method: str) -> None:
    for name in ("create", "create_and_join", "page_faults", "page_tables", "rss", "uss", "pss"):
        figures = getattr(resources, name)
        # The least of each, which other load disturbs least.
        assert min(figures[method].values) > min(figures["thread"].values), name


def test_memory_that_is_shared_counts_in_parts(resources: Resources) -> None:
    for kind in ("process", *METHODS):
        rss, uss, pss = (
            median(each[kind]) for each in (resources.rss, resources.uss, resources.pss)
        )
        assert uss <= pss <= rss


def test_whole_lives_are_creation_and_end(resources: Resources) -> None:
    for kind in ("thread", *METHODS):
        whole, parts = (
            resources.create_and_join[kind],
            (resources.create[kind], resources.destroy[kind]),
        )
        assert isinstance(whole, Sample)
        sums = [sum(each) for each in zip(*(part.values for part in parts), strict=True)]  # type: ignore[union-attr]
        assert list(whole.values) == pytest.approx(sums)


def test_pools_are_started_whole(resources: Resources) -> None:
    assert {"pool 1", "pool 2"} <= resources.create_and_join.keys()


def test_the_first_worker_of_a_server_pays_for_the_server(resources: Resources) -> None:
    create = resources.create
    assert median(create["server"]) > median(create["forkserver"]) > median(create["idle"])
