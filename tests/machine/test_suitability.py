"""Every kind of work takes its time under every plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from poolwise.machine import chores
from poolwise.machine.suitability import _amount, _needs, measure_suitability
from poolwise.timing.repeat import QUICK
from poolwise.timing.sample import Sample
from poolwise.worker import Worker

TINY = replace(QUICK, seconds=1e-3, least=2, piece=1e-3)


def test_every_kind_of_work_is_measured_under_every_plan() -> None:
    program = Worker(measure_suitability, (TINY,), mechanism="process")
    program.start()
    makespan = program.result().makespan
    assert makespan.keys() == chores.CHORES.keys()
    for work, figures in makespan.items():
        assert figures.keys() == {"loop", "thread", "process"}
        for plan, figure in figures.items():
            assert isinstance(figure, Sample), (work, plan, figure)
            assert figure.unit == "s"


@pytest.fixture(params=sorted(chores.CHORES))
def chore(request: pytest.FixtureRequest) -> Iterator[tuple[str, object]]:
    with _needs(request.param) as given:
        yield request.param, given


def test_a_larger_amount_is_more_of_the_same(chore: tuple[str, object]) -> None:
    kind, given = chore
    assert chores.perform(kind, 1, given) is not None
    assert _amount(kind, given, 1e-4) >= 1


def test_pictures_are_blurred() -> None:
    pixels = bytes(range(256)) * (chores.IMAGE_SIZE // 256)
    blurred = chores.perform("image", 2, pixels)
    assert isinstance(blurred, bytes)
    assert len(blurred) == len(pixels)
    assert blurred != bytes(len(pixels))


def test_files_are_read() -> None:
    with _needs("files cached") as path:
        assert chores.perform("files cached", 2, path) == 2 * ((1 << 20) // 80)
