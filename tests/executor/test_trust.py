"""Whether calls are seen to differ from what is known of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cost.drawn import a_task
from poolwise.executor.findings import Findings
from poolwise.executor.trust import Trust
from poolwise.plan import Plan
from poolwise.probe import Sample


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
    findings = Findings(gil=True, profile=task)
    notes: list[str] = []
    trust = Trust(SimpleNamespace(note=notes.append), None, findings, 2.0)  # type: ignore[arg-type]
    sample = Sample(10, 2, 5 * service, 10 * service, 10 * task.cpu)
    assert trust.wait_as_well(Plan("process", 2), sample) is (waiting is not None)
    assert findings.profile is not None
    assert findings.profile.waiting == pytest.approx(waiting or 0.0)
    assert findings.profile.helpers == task.helpers
    assert len(notes) == (waiting is not None)
