"""`poolwise.measure`: what it takes, and that forecasts use what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import poolwise
from poolwise.machine import MachineProfile, PoolCosts, here, measuring, read_facts, store
from poolwise.machine.fingerprint import fingerprint_of


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(store, "_kept", {})
    monkeypatch.setenv("POOLWISE_CACHE", str(tmp_path))
    here.forget()
    yield
    here.forget()


def compute(rounds: int) -> int:
    total = 0
    for each in range(rounds):
        total += each & 7
    return total


def startups(costs: PoolCosts | None) -> dict[str, float]:
    """The start-up that is forecast for each plan, with such costs in the store."""
    if costs is not None:
        facts = replace(read_facts())
        store.save(MachineProfile(facts, costs=costs, fingerprint=fingerprint_of(facts)))
        store._kept.clear()
    here.forget()
    poolwise.shutdown()
    advice = poolwise.advise(compute, [20_000] * 400)
    advice.close()
    return {each.plan.spec: each.startup for each in advice.forecasts}


def test_forecasts_use_the_costs_of_a_stored_profile() -> None:
    slow = startups(PoolCosts(process_start=5.0))
    found = [value for spec, value in slow.items() if spec.startswith("process")]
    assert found
    assert min(found) >= 5.0
    assert slow["inline"] == 0.0


def test_without_one_they_use_the_usual_costs() -> None:
    usual = startups(None)
    assert max(usual.values()) < 5.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"quick": 1}, "quick takes True or False, not 1"),
        ({"progress": "yes"}, "progress takes True, False or a function"),
    ],
)
def test_bad_input_is_named(arguments: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        poolwise.measure(**arguments)


def test_progress_is_told(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(measuring, "_measure", lambda name, effort: None)
    steps: list[tuple[str, int, int]] = []
    profile = poolwise.measure(quick=True, progress=lambda *step: steps.append(step))
    assert profile.facts.python == read_facts().python
    assert [number for _, number, _ in steps] == list(range(6))
    assert capsys.readouterr() == ("", "")
    poolwise.measure(quick=True, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[1] == "poolwise: measuring resources (2 of 6)"
