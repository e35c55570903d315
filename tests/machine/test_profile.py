"""A profile goes to JSON and comes back; what is damaged or foreign is told apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake_machine import as_the_article_says, having
from poolwise import MachineProfile, StaleProfile
from poolwise.machine import PoolCosts, read_facts
from poolwise.machine.costs import PoolCosts as Costs
from poolwise.machine.fingerprint import fingerprint_of
from poolwise.machine.measured import Measured
from poolwise.machine.profile import DIMENSIONS, FORMAT, costs_of
from poolwise.timing.sample import Gap, Sample


def profile(measured: Measured | None = None) -> MachineProfile:
    measured = measured or as_the_article_says()
    dimensions = {name: getattr(measured, name) for name in DIMENSIONS}
    return MachineProfile(
        measured.facts,
        **dimensions,
        costs=Costs(thread_start=2e-4),
        fingerprint=fingerprint_of(read_facts()),
    )


def test_json_and_back_is_the_same() -> None:
    first = profile()
    text = first.to_json()
    again = MachineProfile.from_json(text)
    assert again.to_json() == text
    assert again.facts == first.facts
    assert again.costs == Costs(thread_start=2e-4)
    assert again.communication is not None
    assert all(isinstance(size, int) for size in again.communication.latency["mp.Pipe"])
    assert [each.kind for each in again.claims] == [each.kind for each in first.claims]


def test_the_document_has_the_promised_keys() -> None:
    document = json.loads(profile().to_json())
    names = ["format", "quick", "fingerprint", "facts", "costs", *DIMENSIONS, "claims"]
    assert list(document) == names
    assert document["format"] == FORMAT
    figure = document["resources"]["create"]["thread"]
    assert {"unit", "median", "low", "high", "count", "values", "throttled"} == figure.keys()
    promised = {
        "id",
        "section",
        "text",
        "text_zh",
        "rule",
        "rule_zh",
        "evidence",
        "verdict",
        "code",
    }
    assert all(promised <= claim.keys() for claim in document["claims"])
    verdicts = {"holds", "does_not_hold", "depends", "explained", "not_measured"}
    assert {claim["verdict"] for claim in document["claims"]} <= verdicts


def test_the_page_tells_the_format_that_is_written() -> None:
    page = (Path(__file__).parents[2] / "docs" / "measure.md").read_text()
    assert f"`format` is {FORMAT};" in page
    assert f"| `format` | {FORMAT} |" in page


def test_gaps_and_missing_dimensions_come_back() -> None:
    gap = Gap("there are no processes here")
    measured = having(as_the_article_says(), "resources.create", "fork", figure=gap)
    again = MachineProfile.from_json(profile(replace(measured, concurrency=None)).to_json())
    assert again.resources is not None
    assert again.resources.create["fork"] == gap
    assert again.concurrency is None


def test_what_is_only_facts_is_a_profile_too() -> None:
    bare = MachineProfile(read_facts())
    again = MachineProfile.from_json(bare.to_json())
    assert again == bare
    assert {each.kind for each in bare.claims} <= {"not_measured", "explained", "depends", "holds"}


def damage(change: dict[str, Any]) -> str:
    return json.dumps(json.loads(profile().to_json()) | change)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"format": 1}',
        '{"format": "1"}',
        damage({"format": FORMAT + 1}),
        damage({"facts": 3}),
        damage({"facts": {"python": "CPython"}}),
        damage({"costs": {"thread_start": "fast"}}),
        damage({"costs": {"thread_start": float("nan")}}),
        damage({"resources": []}),
        damage({"resources": {"create": {"thread": {"unit": "s", "values": []}}}}),
        damage({"communication": {"latency": {"Pipe": {"small": {"gap": "none"}}}}}),
        damage({"fingerprint": {"cpu": "a CPU"}}),
        damage({"costs": {"thread_start": 10**400}}),
        damage({"facts": json.loads(profile().to_json())["facts"] | {"total_memory": 10**400}}),
    ],
)
def test_what_is_damaged_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        MachineProfile.from_json(text)


def test_a_profile_is_good_on_the_machine_that_it_is_of_only() -> None:
    here = profile()
    here.require_here()
    assert here.fingerprint is not None
    moved = replace(here, fingerprint=replace(here.fingerprint, kernel="Linux 2.4", usable_cpus=64))
    with pytest.raises(
        StaleProfile, match=r"usable_cpus 64, here .*kernel Linux 2\.4, here"
    ) as stale:
        moved.require_here()
    assert stale.value.differences.keys() == {"kernel", "usable_cpus"}
    with pytest.raises(StaleProfile):
        MachineProfile(read_facts()).require_here()


def test_a_fingerprint_has_a_short_name_that_says_it_all() -> None:
    here = fingerprint_of(read_facts())
    assert here.short == fingerprint_of(read_facts()).short
    others = [
        replace(here, cpu="x"),
        replace(here, usable_cpus=here.usable_cpus / 2),
        replace(here, library="9"),
    ]
    assert len({each.short for each in (here, *others)}) == 4


def test_costs_are_what_was_measured_and_the_usual_ones_where_there_is_a_gap() -> None:
    measured: Measured = as_the_article_says()
    for path, key, value in (
        ("resources.create", "thread", 3e-4),
        ("resources.create", "server", 50e-3),
        ("resources.create", "forkserver", 10e-3),
        ("resources.dispatch", "thread", 5e-5),
    ):
        measured = having(measured, path, key, figure=Sample("s", (value,)))
    measured = having(measured, "resources.create", "process", figure=Gap("none"))
    costs = costs_of(measured)
    assert (costs.thread_start, costs.thread_dispatch) == (3e-4, 5e-5)
    assert costs.server_start == pytest.approx(40e-3)
    assert costs.process_start == PoolCosts().process_start
    assert costs_of(Measured(read_facts())) == PoolCosts()
