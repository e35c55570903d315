"""The file: shared by processes that write at once, and never an error of anybody's."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from wisdom_entries import an_entry

from poolwise.wisdom import copy, database
from poolwise.wisdom.database import MOST, NAME, Unavailable
from poolwise.wisdom.inputs import MOST_KINDS


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the file will be: a cache of this test's own. Nothing has been complained of yet."""
    monkeypatch.setenv("POOLWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(database, "_said", set())
    return tmp_path / "cache" / NAME


def test_what_was_written_is_read_and_may_be_there(file: Path) -> None:
    entry, other = an_entry("f"), an_entry("g")
    assert not database.may_hold(entry.key)
    assert database.read_all() == []
    database.write([entry, other])
    assert database.may_hold(entry.key)
    assert database.read(entry.key) == [entry]
    assert database.read_all() == [entry, other]
    assert not database.may_hold(an_entry("h").key)
    assert database.read(an_entry("h").key) == []
    assert file.stat().st_mode & 0o077 == 0
    names = {each.name for each in file.parent.iterdir()}
    assert names == {NAME, Path(copy.path_of(NAME)).name}  # no journal is left


def test_the_latest_word_on_a_function_stands(file: Path) -> None:
    database.write([an_entry("f", at=2.0)])
    database.write([an_entry("f", at=1.0, calls=7)])
    (entry,) = database.read_all()
    assert entry.calls == 7


def test_an_import_keeps_what_is_known_of_a_later_run() -> None:
    database.write([an_entry("f", at=2.0), an_entry("g", at=2.0)])
    added = database.merge([
        an_entry("f", at=1.0, calls=7), an_entry("g", at=3.0, calls=7), an_entry("h", calls=7)
    ])  # fmt: skip
    assert added == 2
    assert {each.subject.name: each.calls for each in database.read_all()} == {
        "f": 100, "g": 7, "h": 7
    }  # fmt: skip


def test_forgetting_one_function_and_all() -> None:
    entries = [an_entry("f"), an_entry("f", machine="another"), an_entry("g")]
    assert database.forget() == 0
    database.write(entries)
    assert database.forget("module", "h") == 0
    assert database.forget("module", "f") == 2
    assert database.read_all() == [entries[2]]
    assert database.forget() == 1
    assert database.read_all() == []


def test_those_that_ran_longest_ago_are_forgotten_first(file: Path) -> None:
    numbers = range(MOST + 50)
    database.write([an_entry(f"f{number}", at=float(number)) for number in numbers])
    assert [each.at for each in database.read_all()] == list(map(float, reversed(numbers[50:])))
    size = file.stat().st_size
    assert size < 2_000 * MOST
    for number in range(10):
        database.write([an_entry(f"g{each}", at=1e6 + number) for each in range(MOST)])
    assert file.stat().st_size < 2 * size


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from wisdom_entries import an_entry
from poolwise.wisdom import database
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    entry = an_entry(f"f{sys.argv[2]}_{number}")
    while True:  # one that finds the file locked has lost nothing but this try
        try:
            database.write([entry])
            assert database.read(entry.key) == [entry]
            break
        except database.Unavailable:
            pass
"""


def test_several_processes_write_at_once_and_nothing_that_was_kept_is_lost(file: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(Path(__file__).parent)]
    writers = [
        subprocess.Popen(
            [*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(4)
    ]
    for each in writers:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in writers:  # all are there: now
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.close()
    for each in writers:
        assert each.stdout is not None
        assert each.wait(50) == 0
        each.stdout.close()
    names = {each.subject.name for each in database.read_all()}
    assert names == {f"f{writer}_{number}" for writer in range(4) for number in range(10)}
    assert not file.with_suffix(".set-aside").exists()


def test_threads_that_look_while_another_writes_disturb_nobody() -> None:
    entries = [an_entry(f"f{number}") for number in range(20)]
    database.write(entries[:1])
    looks = threading.Thread(target=lambda: [database.may_hold(entries[0].key) for _ in range(500)])
    looks.start()
    for each in entries:
        while True:  # the others may be quicker to take their turns for a while
            try:
                database.write([each])
                break
            except Unavailable:
                pass
    looks.join()
    assert len(database.read_all()) == 20


@pytest.mark.parametrize("kind", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_locked_file_is_not_waited_for(
    file: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """Not with a clock: whoever waited for the lock would wait for ever here."""
    caplog.set_level(logging.DEBUG, "poolwise")
    entry = an_entry("f")
    database.write([entry])
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute(f"BEGIN {kind}")
        for _ in range(3):
            with pytest.raises(Unavailable, match="locked"):
                database.write([an_entry("g")])
        if kind == "EXCLUSIVE":
            with pytest.raises(Unavailable, match="locked"):
                database.read(entry.key)
        else:
            assert database.read(entry.key) == [entry]  # who only means to write shuts nobody out
        other.execute("ROLLBACK")
    (record,) = caplog.records  # once, not each time
    assert (record.name, record.levelno) == ("poolwise", logging.DEBUG)
    assert database.read(entry.key) == [entry]


def _sql(*statements: str) -> bytes:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for each in statements:
            connection.execute(each)
        return connection.serialize()


OURS = ("PRAGMA application_id = 0x706f6f6c", "PRAGMA user_version = 1")

SPOILED = {
    "text": b"this is no database " * 100,
    "zeros": bytes(8192),
    "another program's": _sql("CREATE TABLE bookmarks (url TEXT)"),
    "another format": _sql("CREATE TABLE entries (key TEXT)", OURS[0], "PRAGMA user_version = 99"),
    "without its table": _sql("CREATE TABLE other (key TEXT)", *OURS),
    "other columns": _sql("CREATE TABLE entries (key TEXT)", *OURS),
}


@pytest.mark.parametrize("what", SPOILED)
@pytest.mark.parametrize("way", ["read", "write"])
def test_a_damaged_or_foreign_file_is_set_aside_with_a_warning(
    file: Path, caplog: pytest.LogCaptureFixture, what: str, way: str
) -> None:
    file.parent.mkdir()
    file.write_bytes(SPOILED[what])
    entry = an_entry("f")
    use = partial(database.read, entry.key) if way == "read" else partial(database.write, [entry])
    with pytest.raises(Unavailable):
        use()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("poolwise", logging.WARNING)
    assert str(file) in record.getMessage()
    aside = file.with_suffix(".set-aside")
    assert aside.read_bytes() == SPOILED[what]
    assert not file.exists()
    database.write([entry])
    assert database.read(entry.key) == [entry]


def test_a_file_that_is_cut_off_or_overwritten_in_the_middle(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries = [an_entry(f"f{number}") for number in range(50)]
    database.write(entries)
    whole = file.read_bytes()
    for spoiled in (whole[:6000], whole[:4096] + b"\xff" * (len(whole) - 4096)):
        file.write_bytes(spoiled)
        for each in entries:
            try:
                database.read(each.key)
            except Unavailable:
                break
        else:
            pytest.fail("nobody noticed")
        database.write(entries)
        assert len(database.read_all()) == 50


def test_an_entry_that_cannot_be_read_is_as_good_as_none(file: Path) -> None:
    entry, other = an_entry("f"), an_entry("g")
    database.write([entry, other])
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE entries SET document = '{}' WHERE name = 'f'")
    assert database.read(entry.key) == []
    assert database.read_all() == [other]
    database.write([entry])
    assert database.read(entry.key) == [entry]


def test_who_died_while_writing_leaves_what_was_there(file: Path) -> None:
    entry = an_entry("f")
    database.write([entry])
    program = f"""
import os, sqlite3
connection = sqlite3.connect({str(file)!r}, isolation_level=None)
connection.execute("PRAGMA cache_size = 1")  # so that it spills into the file at once
connection.execute("PRAGMA synchronous = OFF")
connection.execute("BEGIN IMMEDIATE")
for number in range(500):
    row = str(number), "x" * 999
    connection.execute("INSERT INTO entries VALUES (?, '', '', '', '', 9, ?)", row)
connection.execute("UPDATE entries SET document = 'spoiled'")
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    assert file.with_name(f"{NAME}-journal").exists()
    assert database.read_all() == [entry]


@pytest.mark.parametrize("blocked", ["by a file", "no place", "by a folder"])
def test_where_nothing_can_be_written_it_is_said_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    blocked: str,
) -> None:
    # Not a folder without permissions: root may write there.
    caplog.set_level(logging.DEBUG, "poolwise")
    if blocked == "by a file":
        (tmp_path / "taken").touch()
        monkeypatch.setenv("POOLWISE_CACHE", str(tmp_path / "taken" / "cache"))
    elif blocked == "by a folder":
        (tmp_path / "cache" / NAME).mkdir(parents=True)
    else:
        for name in ("POOLWISE_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no HOME, no name
    entry = an_entry("f")
    for _ in range(3):
        with pytest.raises(Unavailable):
            database.write([entry])
    assert not database.may_hold(entry.key)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("poolwise", logging.DEBUG)


def test_a_file_that_may_only_be_read_is_read(file: Path) -> None:
    entry = an_entry("f")
    database.write([entry])
    image = file.parent.with_name("image")
    shutil.copytree(file.parent, image)
    image.joinpath(NAME).chmod(0o400)
    image.chmod(0o500)
    try:
        os.environ["POOLWISE_CACHE"] = str(image)  # put back by the fixture
        assert database.read(entry.key) == [entry]
    finally:
        image.chmod(0o700)


def test_each_kind_of_inputs_has_an_entry_and_a_function_keeps_the_latest_few() -> None:
    entries = [an_entry("f", at=float(n), inputs=f"int {n}") for n in range(MOST_KINDS + 2)]
    other = an_entry("g", at=0.0)
    database.write([other])
    for each in entries:
        database.write([each])
    assert database.read(entries[0].key) == entries[:1:-1]
    assert database.read(other.key) == [other]
    again = an_entry("f", at=100.0, inputs=entries[-1].inputs)
    assert database.merge([again]) == 1
    assert database.read(again.key) == [again, *entries[-2:1:-1]]
