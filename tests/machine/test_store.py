"""Profiles are kept between runs; what cannot be trusted or written is no error."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from poolwise.machine import MachineProfile, PoolCosts, cache, here, read_facts, store, this_machine
from poolwise.machine.fingerprint import fingerprint_of

COSTS = PoolCosts(process_start=7e-3)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and nothing in memory."""
    monkeypatch.setattr(store, "_kept", {})
    monkeypatch.setenv("POOLWISE_CACHE", str(tmp_path / "cache"))
    here.forget()
    yield tmp_path / "cache"
    here.forget()


def profile() -> MachineProfile:
    facts = read_facts()
    return MachineProfile(facts, costs=COSTS, fingerprint=fingerprint_of(facts))


def as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_kept", {})
    here.forget()


def test_what_is_saved_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = profile()
    store.save(saved)
    as_in_a_new_process(monkeypatch)
    assert saved.fingerprint is not None
    assert store.load(saved.fingerprint) == saved
    assert this_machine().costs == COSTS
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o077 == 0


def test_a_quick_profile_is_kept_until_there_is_a_full_one_and_takes_the_place_of_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = profile()
    assert full.fingerprint is not None
    quick = replace(full, costs=PoolCosts(process_start=9e-3), quick=True)
    for saved, found in ((quick, quick), (full, full), (quick, full)):
        store.save(saved)
        as_in_a_new_process(monkeypatch)
        assert store.load(full.fingerprint) == found
        assert this_machine().costs == found.costs


def test_a_profile_of_another_machine_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = profile()
    assert saved.fingerprint is not None
    store.save(replace(saved, fingerprint=replace(saved.fingerprint, kernel="Linux 2.4")))
    as_in_a_new_process(monkeypatch)
    assert store.load(saved.fingerprint) is None
    assert this_machine().costs == PoolCosts()


def spoiled(text: str) -> list[str]:
    document = json.loads(text)
    other = document["fingerprint"] | {"kernel": "Linux 2.4"}
    return [
        "",
        text[: len(text) // 2],
        "\0" * 100,
        "[1]",
        json.dumps(document | {"format": 99}),
        json.dumps(document | {"fingerprint": other}),
        json.dumps(document | {"fingerprint": None}),
        json.dumps(document | {"costs": {"thread_start": -1.0}}),
        json.dumps(document | {"costs": None}),
    ]


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("way", ["profile", "costs"])
def test_a_damaged_or_foreign_file_is_set_aside_with_a_warning(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    way: str,
) -> None:
    saved = profile()
    assert saved.fingerprint is not None
    store.save(saved)
    (file,) = folder.iterdir()
    text = spoiled(file.read_text())[number]
    file.write_text(text)
    as_in_a_new_process(monkeypatch)
    if way == "profile":
        assert store.load(saved.fingerprint) is None
    else:
        assert this_machine().costs == PoolCosts()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("poolwise", logging.WARNING)
    assert str(file) in record.getMessage()
    (aside,) = folder.iterdir()
    assert aside.suffix == ".set-aside"
    assert aside.read_text() == text
    store.save(saved)
    as_in_a_new_process(monkeypatch)
    assert store.load(saved.fingerprint) == saved


@pytest.mark.parametrize("blocked", ["file", "nowhere"])
def test_where_nothing_can_be_written_it_is_kept_in_memory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    blocked: str,
) -> None:
    # Not a folder without permissions: root may write there.
    if blocked == "file":
        (tmp_path / "taken").touch()
        monkeypatch.setenv("POOLWISE_CACHE", str(tmp_path / "taken" / "cache"))
    else:
        for name in ("POOLWISE_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no HOME, no name
    caplog.set_level(logging.DEBUG, "poolwise")
    saved = profile()
    store.save(saved)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("poolwise", logging.DEBUG)
    assert saved.fingerprint is not None
    assert store.load(saved.fingerprint) is saved
    assert this_machine().costs == COSTS


def test_a_write_that_fails_leaves_what_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(profile())
    (file,) = folder.iterdir()
    before = file.read_text()

    def interrupt(source: object, target: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.save(replace(profile(), costs=PoolCosts()))
    assert list(folder.iterdir()) == [file]
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"POOLWISE_CACHE": "/a"}, "/a"),
        ("linux", {"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/poolwise"),
        ("linux", {"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/poolwise"),
        ("linux", {"HOME": "/h"}, "/h/.cache/poolwise"),
        ("linux", {"POOLWISE_CACHE": "", "HOME": "/h"}, "/h/.cache/poolwise"),
        ("darwin", {"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/h/Library/Caches/poolwise"),
    ],
)
def test_the_folder_is_where_the_platform_has_it(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], expected: str
) -> None:
    for name in ("POOLWISE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache.cache_folder() == expected


def test_a_map_of_short_calls_reads_no_profile(folder: Path) -> None:
    program = """
import sys, poolwise
assert list(poolwise.map(abs, range(1000))) == list(range(1000))
assert list(poolwise.map(abs, range(1000), plan="thread:2")) == list(range(1000))
assert "poolwise.machine.store" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert not folder.exists()
