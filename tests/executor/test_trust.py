"""Whether calls are seen to differ from what is known of them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from cost.drawn import a_task
from poolwise.executor.findings import Findings
from poolwise.executor.trust import Trust
from poolwise.plan import Plan
from poolwise.probe import Sample, TaskProfile


def trusting(task: TaskProfile) -> tuple[Trust, Findings, list[str]]:
    findings, notes = Findings(gil=True, profile=task), list[str]()
    dispatch = SimpleNamespace(note=notes.append)
    return Trust(dispatch, None, findings, 2.0), findings, notes  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("service", "waiting"),
    [
        (8.2e-3, None),  # the program takes all of the rest
        (12e-3, 4e-3),  # somebody else does
    ],
)
def test_calls_do_not_wait_while_their_programs_compute(
    service: float, waiting: float | None
) -> None:
    """They compute for 3 ms, and programs for 5."""
    task = a_task(gil=3e-3, helpers=5e-3)
    trust, findings, notes = trusting(task)
    sample = Sample(10, 2, 5 * service, 10 * service, 10 * task.cpu)
    assert trust.wait_as_well(Plan("process", 2), sample) is (waiting is not None)
    assert findings.profile is not None
    assert findings.profile.waiting == pytest.approx(waiting or 0.0)
    assert findings.profile.helpers == task.helpers
    assert len(notes) == (waiting is not None)


def test_threads_of_libraries_hide_no_waiting() -> None:
    """They computed beside calls of 10 ms, and there are none in workers of one thread."""
    task = replace(a_task(free=10e-3, helpers=10e-3), wall=10e-3)
    trust, _, notes = trusting(task)
    assert trust.wait_as_well(Plan("process", 2), Sample(10, 2, 0.15, 0.3, 0.2))
    assert notes == ["calls wait as well: 10 ms on average"]
