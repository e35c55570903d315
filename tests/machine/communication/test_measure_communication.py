"""Dimension 3 as a whole."""

from __future__ import annotations

import _multiprocessing
import pickle
import sys

import pytest
from small_effort import TINY, value, why

from poolwise.machine.communication import measure_communication
from poolwise.machine.communication.channels import CHANNELS
from poolwise.timing.sample import Sample


def test_all_is_measured_here() -> None:
    tracked = _tracker_runs()
    measured = measure_communication(TINY)
    names = {channel.name for channel in CHANNELS}
    for field in ("latency", "carries", "lines", "system_calls", "objects"):
        assert set(getattr(measured, field)) == names
    assert set(measured.throughput) == names - {"signal"}
    units = {"latency": "s", "throughput": "B/s", "carries": "yes", "lock": "s", "contended": "s"}
    for field in (*units, "lines", "system_calls", "objects"):
        for figure in getattr(measured, field).values():
            for each in figure.values() if isinstance(figure, dict) else [figure]:
                assert isinstance(each, Sample), (field, each)
                assert each.unit == units.get(field, "1")
    assert pickle.loads(pickle.dumps(measured)) == measured
    assert _tracker_runs() is tracked


def _tracker_runs() -> bool:
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    return tracker is not None and tracker._resource_tracker._pid is not None


def test_without_semaphores_only_what_needs_them_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is no ``/dev/shm``."""

    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(_multiprocessing, "SemLock", refuse)
    measured = measure_communication(TINY)
    for name in ("shared memory", "mp.Queue"):
        for figure in (
            measured.carries[name],
            measured.latency[name][1],
            measured.throughput[name][1],
            measured.system_calls[name],
            measured.objects[name],
        ):
            assert "FileNotFoundError" in why(figure), name
    for kind in ("mp.Lock process", "mp.RLock process"):
        assert "FileNotFoundError" in why(measured.lock[kind])
        assert "FileNotFoundError" in why(measured.contended[kind])
    others = {name for name, figure in measured.carries.items() if isinstance(figure, Sample)}
    assert others == {channel.name for channel in CHANNELS} - {"shared memory", "mp.Queue"}
    assert value(measured.lock["Lock process"]) > 0
