"""Dimension 4 as a whole."""

from __future__ import annotations

import pickle
import sys
from functools import partial

import pytest

from poolwise.machine import concurrency
from poolwise.machine.concurrency import measure_concurrency
from poolwise.machine.concurrency.speedup import KINDS
from poolwise.machine.concurrency.work import perform
from poolwise.machine.door import Door
from poolwise.timing.repeat import Effort
from poolwise.timing.sample import Gap, Sample

TINY = Effort(0.001, least=1, most=3, tolerance=1.0, piece=0.002, largest=1 << 16)
MECHANISMS = ["thread", "process", "interpreter"]


def test_all_is_measured_here() -> None:
    measured = measure_concurrency(TINY)
    assert list(measured.speedup) == list(KINDS)
    there = MECHANISMS if sys.version_info >= (3, 14) else MECHANISMS[:2]
    for by_mechanism in measured.speedup.values():
        assert list(by_mechanism) == MECHANISMS
        for mechanism, by_workers in by_mechanism.items():
            assert list(by_workers)[:2] == [1, 2]
            for figure in by_workers.values():
                assert isinstance(figure, Sample if mechanism in there else Gap)
    for name in there:
        assert measured.efficiency("waits", name, 1) == Sample("x", (1.0,))
        assert isinstance(measured.bytecode_at_once[name], Sample)
        assert isinstance(measured.cpus_at_once[name], Sample)
    for beats in (measured.heartbeat, measured.heartbeat_process):
        assert list(beats) == ["waiting", "computing"]
    assert list(measured.neighbour) == ["computing", "memory"]
    assert pickle.loads(pickle.dumps(measured)) == measured


def test_a_mechanism_that_cannot_be_opened_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *_: object, **__: object) -> None:
        raise OSError(f"no {name}")

    monkeypatch.setattr(concurrency, "Door", refuse)
    monkeypatch.setattr(concurrency, "Interpreters", refuse)
    measured = measure_concurrency(TINY)
    assert measured.speedup["waits"]["thread"][2] == Gap("OSError: no thread")
    assert measured.heartbeat_process["computing"] == Gap("OSError: no process")
    assert measured.switch_interval == Gap("OSError: no thread")
    assert measured.neighbour["memory"] == Gap("OSError: no process")


def test_an_interrupt_leaves_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(workers: object, effort: Effort) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(concurrency.heartbeat, "cpus_at_once", interrupt)
    for name in ("thread", "process"):
        opened = partial(Door, name, perform, workers=2)
        with pytest.raises(KeyboardInterrupt):
            concurrency._mechanism(name, opened, [1, 2], TINY)
