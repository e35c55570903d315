"""The article's programs run as they stand, and print the same through `poolwise.Worker`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from poolwise.machine import implementation
from poolwise.machine.implementation import measure_implementation
from poolwise.timing.repeat import QUICK
from poolwise.timing.sample import Gap, Sample

ONCE = replace(QUICK, least=1, seconds=0.0)


def test_both_programs_print_the_same_both_ways() -> None:
    programs = measure_implementation(ONCE).programs
    assert {kind: each.output for kind, each in programs.items()} == {
        "thread": "Worker thread\n",
        "process": "Worker process\n",
    }
    for each in programs.values():
        assert each.same
        assert isinstance(each.took, Sample)
    assert "threading.Thread(target=worker)" in programs["thread"].source
    assert "multiprocessing.Process(target=worker)" in programs["process"].source


def test_a_program_that_fails_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("thread", "process"):
        (tmp_path / f"{kind}.py").write_text("raise SystemExit('no threads here')")
    monkeypatch.setattr(implementation, "_PROGRAMS", tmp_path)
    for kind, each in measure_implementation(ONCE).programs.items():
        assert each.took == Gap(f"RuntimeError: {kind}.py: no threads here")
