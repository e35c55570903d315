"""Entries in a file, shared by all processes of a user: SQLite, one short transaction at a time.

Nobody waits for it longer than `_PATIENCE`, and nothing that is wrong with it is an error of
anybody's: what cannot be read was never learnt, what cannot be written is learnt again.

A rollback journal, not a write-ahead log: that one needs a folder that can be written even to read
(an image is often read-only), and is not for network file systems, where home folders may lie. It
is not synchronised with the disk: after a power cut the file may be damaged, and is set aside.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING

from _poolwise_worker import forks
from poolwise.machine.cache import cache_folder
from poolwise.units import Bytes, Seconds
from poolwise.wisdom import copy
from poolwise.wisdom.entry import FORMAT, Entry
from poolwise.wisdom.inputs import MOST_KINDS

if TYPE_CHECKING:
    import sqlite3
    from io import FileIO

#: Named after the format, so that two versions of poolwise do not fight over one file.
NAME = f"wisdom-{FORMAT}.db"

#: How long another process's transaction is waited for; one that writes, and the
#: copy, take 0.7 ms together, beside 500 entries 1.3.
_PATIENCE: Seconds = 5e-3

#: Entries; those of runs that were longest ago are forgotten first. One takes some 700 bytes.
MOST = 500

#: A file of this size is not ours, or not only: SQLite is to say what it is.
_LARGE: Bytes = 4 << 20

#: "pool", by which SQLite files are told apart.
_APPLICATION = 0x706F6F6C

_SCHEMA = """
CREATE TABLE entries (
    key TEXT NOT NULL, inputs TEXT NOT NULL, module TEXT NOT NULL, name TEXT NOT NULL,
    machine TEXT NOT NULL, at REAL NOT NULL, document TEXT NOT NULL, PRIMARY KEY (key, inputs)
) WITHOUT ROWID
"""

_REPLACE = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)"
_MERGE = """
INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET at = excluded.at, document = excluded.document
WHERE excluded.at > entries.at
"""
_OLDEST = """
DELETE FROM entries WHERE (key, inputs) IN (
    SELECT key, inputs FROM entries ORDER BY at DESC LIMIT -1 OFFSET ?
)
"""
_OLDEST_OF_ONE = """
DELETE FROM entries WHERE key = ?1 AND inputs IN (
    SELECT inputs FROM entries WHERE key = ?1 ORDER BY at DESC LIMIT -1 OFFSET ?2
)
"""

#: Held while the file is open in any way. POSIX forgets the locks that SQLite has on a file as soon
#: as the process closes *any* descriptor of it, so no thread may look at it beside another's
#: transaction. Never waited for longer than a few transactions take; a child of a fork gets a new
#: one, because its parent's may be held by a thread that the child does not have.
_turn = threading.Lock()
_TURN: Seconds = 50e-3

#: What has been complained of in this process: once each. One set operation at a time.
_said: set[str] = set()


def _new_turn() -> None:
    global _turn
    _turn = threading.Lock()


forks.in_child(_new_turn)


class Unavailable(Exception):
    """The file cannot be used now; the text says why. Has been logged, and is never the user's."""


def path() -> str | None:
    """Return where the file is, or would be; ``None`` if there is no place for one."""
    folder = cache_folder()
    return None if folder is None else os.path.join(folder, NAME)


def may_hold(key: str) -> bool:
    """Whether it is worth asking for `key`: a file without these letters has no entry with it.

    SQLite writes keys as they are. Loading it takes 1 to 7 ms, which is too much for a "no"; this
    takes a tenth of a millisecond. Beside a write that goes on it may say no.
    """
    file = path()
    if file is None:
        return False
    turn = _turn
    if not turn.acquire(timeout=_TURN):
        return False
    try:
        with open(file, "rb") as opened:
            data = opened.read(_LARGE)
    except OSError:
        return False
    finally:
        turn.release()
    return len(data) == _LARGE or key.encode() in data


def copied(key: str) -> list[Entry] | None:
    """Return what `read` would, from the copy; ``None`` if that cannot tell."""
    file = path()
    if file is None:
        return []
    turn = _turn
    if not turn.acquire(timeout=_TURN):
        return None
    try:
        with open(file, "rb") as opened:
            header = opened.read(copy.HEADER)
    except OSError:
        return None
    finally:
        turn.release()
    documents = copy.look_up(file, header, key)
    return None if documents is None else list(_entries(documents))


def read(key: str) -> list[Entry]:
    """Return the entries with this key, the latest first: of one function, for other inputs each.

    Raises:
        Unavailable: the file cannot be read now.
    """
    with _open(write=False) as connection:
        of_one = "SELECT document FROM entries WHERE key = ? ORDER BY at DESC"
        rows = connection.execute(of_one, (key,)).fetchall()
    return list(_entries(document for (document,) in rows))


def read_all() -> list[Entry]:
    """Return all entries that can be read, the latest first.

    Raises:
        Unavailable: the file cannot be read now.
    """
    if not _is_there():
        return []
    with _open(write=False) as connection:
        ordered = "SELECT document FROM entries ORDER BY at DESC, module, name, inputs"
        rows = connection.execute(ordered).fetchall()
    return list(_entries(document for (document,) in rows))


def write(entries: Iterable[Entry]) -> None:
    """Put entries in the place of those with their keys, in one transaction.

    Raises:
        Unavailable: the file cannot be written now.
    """
    rows = list(map(_row, entries))
    with _open(write=True) as connection:
        connection.executemany(_REPLACE, rows)
        _make_room(connection, rows)


def merge(entries: Iterable[Entry]) -> int:
    """Add entries, but for those of functions of which the file knows a later run; return how many.

    Raises:
        Unavailable: the file cannot be written now.
    """
    rows = list(map(_row, entries))
    with _open(write=True) as connection:
        added = connection.executemany(_MERGE, rows).rowcount
        _make_room(connection, rows)
    return added


def forget(module: str | None = None, name: str | None = None) -> int:
    """Remove the entries of a function, on every machine, or all; return how many there were.

    Raises:
        Unavailable: the file cannot be written now.
    """
    if not _is_there():
        return 0
    with _open(write=True) as connection:
        if module is None:
            return connection.execute("DELETE FROM entries").rowcount
        return connection.execute(
            "DELETE FROM entries WHERE module = ? AND name = ?", (module, name)
        ).rowcount


_Row = tuple[str, str, str, str, str, float, str]


def _make_room(connection: sqlite3.Connection, rows: Iterable[_Row]) -> None:
    for key in {row[0] for row in rows}:
        connection.execute(_OLDEST_OF_ONE, (key, MOST_KINDS))
    connection.execute(_OLDEST, (MOST,))


def _row(entry: Entry) -> _Row:
    import json

    document = json.dumps(entry.to_document(), allow_nan=False)
    subject = entry.subject
    module, name = subject.module, subject.name
    return entry.key, entry.inputs, module, name, entry.machine, entry.at, document


# ---- opening, and what can go wrong --------------------------------------------------------------


def _is_there() -> bool:
    """Whether there is a file with something in it: it begins empty.

    Raises:
        Unavailable: nobody can tell, or there can be none: its folder is a file.
    """
    file = path()
    try:
        return file is not None and os.path.getsize(file) > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unavailable(str(error)) from None


@contextmanager
def _open(*, write: bool) -> Iterator[sqlite3.Connection]:
    """Yield a connection inside one transaction, which is kept if the block ends well. To `write`,
    the file is made where there is none.

    Each block has a connection of its own: none is open when this process is forked.

    Raises:
        Unavailable: whatever goes wrong.
    """
    file = path()
    if file is None:
        raise _unavailable("there is no home folder and no POOLWISE_CACHE")
    try:
        sqlite3 = _loaded()
    except ImportError as error:
        raise _unavailable(str(error)) from None
    turn = _turn
    if not turn.acquire(timeout=_TURN):
        raise _unavailable(f"{file}: another thread of this process uses it")
    inode = None
    try:
        if write:
            os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite would let others read
            if not os.path.getsize(file):
                copy.remove(file)  # that of another begins to count as this one does
        inode = os.stat(file).st_ino
        with (
            open(file, "rb", buffering=0) as raw,  # closed last, as `_turn` says
            closing(sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None)) as connection,
        ):
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            _check(connection, write)
            yield connection
            connection.execute("COMMIT")
            if write:
                with suppress(sqlite3.Error, OSError):  # then it is stale
                    _copy(connection, file, raw)
    except _Foreign as error:
        raise _set_aside(file, inode, str(error)) from None
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
            raise _set_aside(file, inode, str(error)) from None
        raise _unavailable(f"{file}: {error}") from None  # locked, read-only, full, not to be read
    except OSError as error:
        raise _unavailable(str(error)) from None
    finally:
        turn.release()


def _copy(connection: sqlite3.Connection, file: str, raw: FileIO) -> None:
    """Write the copy, while nobody else can change the database or write another one."""
    connection.execute("BEGIN IMMEDIATE")
    rows = connection.execute("SELECT key, document FROM entries ORDER BY at DESC").fetchall()
    raw.seek(0)
    copy.write(file, raw.read(copy.HEADER), rows)
    connection.execute("COMMIT")


def _loaded() -> ModuleType:
    """Return SQLite: the module in C, half of what the one around it takes to load, which also
    brings `datetime` and all that it converts.
    """
    try:
        import _sqlite3

        module: ModuleType = _sqlite3
    except ImportError:  # this Python has another one, or none
        import sqlite3

        module = sqlite3
    return module


class _Foreign(Exception):
    """It is a database, and none of ours."""


def _check(connection: sqlite3.Connection, write: bool) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (application, version) == (_APPLICATION, FORMAT):
        return
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables or application or version:
        raise _Foreign(f"it is a database of another kind ({application:#x}, format {version})")
    if write:
        connection.execute(_SCHEMA)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    else:
        raise _unavailable("another process has begun the file, and nothing is in it yet")


def _entries(documents: Iterable[object]) -> Iterator[Entry]:
    import json

    for document in documents:
        try:
            yield Entry.from_document(json.loads(str(document)))
        except ValueError as error:  # it will be written anew
            _say("debug", f"an entry cannot be read: {error}")


def _set_aside(file: str, inode: int | None, why: str) -> Unavailable:
    """Rename what is no wisdom; unless another process has done so, and begun anew."""
    aside = file.removesuffix(".db") + ".set-aside"
    where = "is ignored"
    try:
        if os.stat(file).st_ino == inode:
            os.replace(file, aside)
            where = f"is set aside as {aside}"
            os.unlink(f"{file}-journal")  # it would be played back into what is begun anew
    except OSError:
        pass
    _say("warning", f"the wisdom {file} {where}: {why}")
    return Unavailable(f"{file} {where}: {why}")


def _unavailable(why: str) -> Unavailable:
    _say("debug", f"wisdom is kept in memory only: {why}")
    return Unavailable(why)


def _say(level: str, text: str) -> None:
    if text in _said:
        return
    _said.add(text)
    import logging

    logger = logging.getLogger("poolwise")
    if not logger.handlers:  # else a warning that nobody handles would be printed
        logger.addHandler(logging.NullHandler())
    getattr(logger, level)("%s", text)
