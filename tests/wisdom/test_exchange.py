"""Wisdom that is exported comes back as it was; what is damaged is not taken at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wisdom_entries import an_entry

from poolwise.plan import Plan
from poolwise.probe import Payload, TaskProfile
from poolwise.wisdom import Entry, Subject
from poolwise.wisdom.entry import FORMAT
from poolwise.wisdom.exchange import exported, imported

seconds = st.floats(0.0, 1e6)
counts = st.integers(0, 1 << 40)
names = st.text(min_size=1, max_size=20)
plans = st.one_of(
    st.just(Plan("inline")),
    st.builds(Plan, st.just("thread"), st.integers(1, 64), st.just(1), st.none() | st.just(9)),
    st.builds(Plan, st.just("process"), st.integers(1, 64), st.integers(1, 64)),
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    low, high, cpu = sorted(draw(st.tuples(seconds, seconds, seconds)))
    profile = TaskProfile(
        draw(counts), draw(st.floats(1e-9, 1e6)), cpu, draw(seconds), low, high,
        Payload(draw(seconds), draw(seconds), draw(counts), draw(counts), draw(st.booleans())),
        draw(st.none() | st.floats(1e-9, 1e9)),
    )  # fmt: skip
    subject = Subject(draw(names), draw(names), draw(names))
    learned, plan = draw(st.booleans()), draw(plans)
    return Entry(
        subject, draw(names), profile, learned, plan, draw(counts), draw(seconds), draw(seconds)
    )


@settings(deadline=None)
@given(st.lists(entries(), max_size=3))
def test_there_and_back(some: list[Entry]) -> None:
    assert imported(exported(some)) == some


def test_the_key_tells_functions_and_machines_apart() -> None:
    keys = {
        each.key
        for each in (
            an_entry("f"), an_entry("g"), an_entry("f", machine="there"), an_entry("f", module="m"),
            an_entry("", module="modulef"),
        )
    }  # fmt: skip
    assert len(keys) == 5
    assert an_entry("f").key == an_entry("f", at=9.0, calls=7).key


ENTRY: dict[str, Any] = an_entry("f").to_document()
PROFILE: dict[str, Any] = ENTRY["profile"]


def _with(**changes: Any) -> str:
    return json.dumps({"format": FORMAT, "kind": "wisdom", "entries": [ENTRY | changes]})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps({"format": FORMAT, "entries": []}),
        json.dumps({"format": 99, "kind": "wisdom", "entries": []}),
        json.dumps({"format": FORMAT, "kind": "wisdom"}),
        json.dumps({"format": FORMAT, "kind": "wisdom", "entries": [3]}),
        _with(subject=None),
        _with(subject=ENTRY["subject"] | {"module": ""}),
        _with(subject={"module": "m", "name": "n"}),
        _with(plan=ENTRY["plan"] | {"mechanism": "gpu"}),
        _with(plan=ENTRY["plan"] | {"workers": 0}),
        _with(plan=ENTRY["plan"] | {"workers": True}),
        _with(plan=ENTRY["plan"] | {"workers": 1_000_000}),
        _with(profile=PROFILE | {"wall": 0.0}),
        _with(profile=PROFILE | {"wall": "long"}),
        _with(profile=PROFILE | {"cpu": -1.0}),
        _with(profile=PROFILE | {"gil_low": 1.0}),
        _with(profile=PROFILE | {"outside": 0.0}),
        _with(profile=PROFILE | {"payload": None}),
        _with(at=-1.0),
        _with(at=1e300),
        _with(calls=-1),
        _with(learned=1),
        _with().replace("1.0", "NaN"),
    ],
    ids=lambda text: text[:60],
)
def test_what_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        imported(text)
