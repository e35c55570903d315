"""The copy: as good as the database, or not believed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from wisdom_entries import an_entry

from poolwise.wisdom import copy, database
from poolwise.wisdom.database import NAME


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the database will be: a cache of this test's own."""
    monkeypatch.setenv("POOLWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(database, "_said", set())
    return tmp_path / "cache" / NAME


F, G = an_entry("f", at=1.0), an_entry("g", at=2.0)

WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from wisdom_entries import an_entry
from poolwise.wisdom import database
for number in range(20):
    try:
        own = an_entry(f"{sys.argv[2]}{number}")
        database.write([own])
        assert database.copied(own.key) in (None, [own])
    except database.Unavailable:  # the others take too long
        pass
    for writer in "abc":
        copied = database.copied(an_entry(f"{writer}{number}").key)
        assert copied is None or len(copied) <= 1
"""


def test_it_tells_what_the_database_would(file: Path) -> None:
    assert database.copied(F.key) is None
    database.write([F, G, an_entry("f", at=3.0, inputs="others")])
    for entry in F, G, an_entry("h"):
        assert database.copied(entry.key) == database.read(entry.key)
    assert len(database.read(F.key)) == 2
    assert os.stat(copy.path_of(str(file))).st_mode & 0o077 == 0


def test_whatever_changes_the_database_changes_it(file: Path) -> None:
    database.write([F])
    database.write([G])
    assert (database.copied(F.key), database.copied(G.key)) == ([F], [G])
    later = an_entry("f", at=9.0, calls=9)
    database.merge([later])
    assert database.copied(F.key) == [later]
    assert database.forget("module", "f") == 1
    assert database.copied(F.key) == []
    database.forget()
    assert database.copied(G.key) == []


def test_beside_a_change_that_it_knows_nothing_of_it_is_not_believed(file: Path) -> None:
    database.write([F, G])
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DELETE FROM entries WHERE name = 'f'")
    assert database.copied(F.key) is None
    database.write([])
    assert (database.copied(F.key), database.copied(G.key)) == ([], [G])


def test_where_it_cannot_be_written_the_database_is_asked(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.write([F])

    def fails(*arguments: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(copy, "write", fails)
        database.write([G])
    assert database.copied(F.key) is database.copied(G.key) is None
    assert (database.read(F.key), database.read(G.key)) == ([F], [G])


def test_that_of_a_database_which_is_gone_says_nothing_of_the_next(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.write([F])
    os.unlink(file)
    assert database.copied(F.key) is None

    def fails(*arguments: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(copy, "write", fails)
    database.write([G])
    assert database.copied(F.key) is None
    assert database.read(F.key) == []


@pytest.mark.parametrize("left", [0, 1, 50, 300, -1])
def test_one_that_is_cut_off_is_not_believed(file: Path, left: int) -> None:
    database.write([F, G])
    path = Path(copy.path_of(str(file)))
    text = path.read_bytes()
    at_the_end_of_a_line = text[:-1].rindex(b"\n") + 1
    path.write_bytes(text[: at_the_end_of_a_line if left < 0 else left])
    assert database.copied(F.key) is None


def test_one_that_is_no_text_is_not_believed(file: Path) -> None:
    database.write([F, G])
    Path(copy.path_of(str(file))).write_bytes(b"\xff\n")
    assert database.copied(F.key) is None


def test_where_there_is_no_place_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "path", lambda: None)
    assert database.copied(F.key) == []


def test_many_that_write_at_once_leave_the_last_word(file: Path) -> None:
    here = str(Path(__file__).parent)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, here, name]) for name in "abc"]
    assert [each.wait(50) for each in writers] == [0, 0, 0]
    database.write([F])
    for entry in database.read_all():
        assert database.copied(entry.key) == [entry]
