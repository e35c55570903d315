"""Dimension 3 as a whole."""

from __future__ import annotations

import pickle
import sys

from small_effort import TINY

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
