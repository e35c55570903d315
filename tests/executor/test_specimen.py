"""What one call says of sending others of its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from poolwise.executor import specimen
from poolwise.executor.specimen import Examination, Specimen
from poolwise.probe.payload import copying

LARGE = 8 << 20


def examined(function: Callable[..., Any], *args: Any) -> Specimen:
    examination = Examination(function, args, {})
    return examination.end(function, args, {}, function(*args))


def with_table() -> Callable[[Any], Any]:
    table = bytes(LARGE)
    return lambda value: value or table


@pytest.fixture(autouse=True)
def _no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specimen, "thread_time", lambda: 0.0)


def test_what_each_worker_gets_once_is_no_cost_of_a_call() -> None:
    seen = examined(with_table(), 1)
    assert seen.carried
    assert seen.unchanged
    assert seen.transfer < sum(copying(LARGE)) / 100


def test_what_goes_with_each_call_is() -> None:
    assert examined(len, bytes(LARGE)).transfer >= sum(copying(LARGE))
    assert examined(with_table(), 0).transfer >= sum(copying(LARGE))  # its result
