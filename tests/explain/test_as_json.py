"""The document: every key of it is described, and every described key is there."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from explain_records import (
    NOT_PICKLABLE,
    REMEMBERED,
    a_machine,
    a_profile,
    a_record,
    a_run,
    forecasts_for,
)

import poolwise.explain
from poolwise.explain import Explanation, explain_advice, explain_run
from poolwise.plan import Plan

README = Path(poolwise.explain.__file__).with_name("README.md")


def _never(text: str) -> object:
    raise AssertionError(f"{text} is not JSON")


def _read(explanation: Explanation) -> dict:
    document = json.loads(explanation.to_json(), parse_constant=_never)
    assert isinstance(document, dict)
    return document


def _advice(total: int | None = 1_512) -> Explanation:
    forecasts = forecasts_for(
        a_profile(),
        a_machine(),
        total,
        measured={Plan("thread", 16): 402.0},
        refused={"process": NOT_PICKLABLE},
    )
    return explain_advice(a_record(a_profile(), total=total), forecasts)


def _described() -> dict[str, tuple[str, str]]:
    """Each top-level key: where it occurs and what is said of it."""
    rows = re.findall(r"^\| `(\w+)` \| (both|advice|run) \| (.*) \|$", README.read_text(), re.M)
    return {key: (where, text) for key, where, text in rows}


@pytest.mark.parametrize("kind", ["advice", "run"])
def test_the_readme_has_every_key_and_no_other(kind: str) -> None:
    run = replace(a_run(), remembered=REMEMBERED, kept=True)
    document = _read(_advice() if kind == "advice" else explain_run(run))
    described = _described()
    assert document["kind"] == kind
    assert document.keys() == {
        key for key, (where, _) in described.items() if where in (kind, "both")
    }
    for key, value in document.items():
        for inner in _keys(value):
            assert f"`{inner}`" in described[key][1] or key in ("plan", "changes", "uses"), (
                key,
                inner,
            )


def _keys(value: object) -> set[str]:
    """All keys below `value`, those of plans left out: they have a row of their own."""
    found: set[str] = set()
    if isinstance(value, list):
        found.update(*map(_keys, value))
    elif isinstance(value, dict):
        for key, inner in value.items():
            found.add(key)
            found |= set() if key == "plan" else _keys(inner)
    return found


def test_the_format_in_the_readme_is_the_one_written() -> None:
    assert f"`format` is {_read(_advice())['format']}." in README.read_text()


def test_figures_come_back_as_they_were() -> None:
    record = a_run()
    document = _read(explain_run(record))
    assert document["elapsed"] == record.elapsed
    assert document["forecasts"][0]["makespan"] == record.forecasts[0].makespan
    assert document["uses"][1]["calls"] == 1_498
    assert document["uses"][1]["rate"] == record.uses[1].rate
    assert document["machine"]["free_memory"] == 1_600_000_000
    assert document["profile"]["waiting"] == pytest.approx(5.1e-3)
    assert Plan.parse(document["plan"]["spec"]) == record.plan


def test_an_advice_has_every_candidate_with_figures_or_a_refusal() -> None:
    document = _read(_advice())
    for each in document["forecasts"]:
        assert (each["makespan"] is None) == (each["refusal"] is not None)
        assert (each["bound_by"] is None) == (each["refusal"] is not None)
    assert {"reason": NOT_PICKLABLE.reason, "remedy": NOT_PICKLABLE.remedy} in [
        each["refusal"] for each in document["forecasts"]
    ]
    assert [each["measured"] for each in document["forecasts"]].count(402.0) == 1


def test_inputs_are_a_thousand_where_the_total_is_unknown() -> None:
    document = _read(_advice(None))
    assert document["total"] is None
    assert document["inputs"] == 1_000


def test_what_does_not_bind_is_null() -> None:
    loop = next(f for f in _read(_advice())["forecasts"] if f["plan"]["mechanism"] == "inline")
    assert loop["ceilings"]["gil"] is None
    assert loop["binding"] == "concurrency"


def test_the_document_is_ascii_and_holds_the_code() -> None:
    explanation = _advice()
    assert explanation.to_json().isascii()
    assert _read(explanation)["code"] == explanation.code


def test_a_record_without_anything_is_a_document_too() -> None:
    record = replace(a_record(None, total=None), phases=(), uses=(), started=0, done=0)
    assert _read(explain_run(record))["profile"] is None
    assert _read(explain_advice(record, ()))["plan"] is None
