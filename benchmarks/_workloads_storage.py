"""Files, archives and databases; standard library only."""

from __future__ import annotations

import gzip
import lzma
import os
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from _workload import Workload, times

_FOLDER = Path(tempfile.gettempdir()) / "poolwise-bench-regret-second-files"
_SHM = Path("/dev/shm")
_IN_MEMORY = (
    _SHM if _SHM.is_dir() else Path(tempfile.gettempdir())
) / "poolwise-bench-regret-second-notes"


@contextmanager
def folder() -> Iterator[None]:
    """Make an empty folder, on disk."""
    with emptied(_FOLDER):
        yield


@contextmanager
def folder_in_memory() -> Iterator[None]:
    """Make an empty folder in memory, where nothing waits for the disk's journal."""
    with emptied(_IN_MEMORY):
        yield


@contextmanager
def emptied(path: Path) -> Iterator[None]:
    """Make an empty folder, and remove it at the end."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)


def access_log(seed: int, lines: int) -> str:
    """What a web server writes."""
    draw = random.Random(seed)
    return "".join(
        f'10.0.{draw.randrange(256)}.{line % 251} - - "GET /page/{draw.randrange(900)} HTTP/1.1" '
        f"{draw.choice((200, 200, 200, 304, 404, 500))} {draw.randrange(20_000)}\n"
        for line in range(lines)
    )


def logs(scale: float) -> list[str]:
    """Write logs of 3,000 to 15,000 lines, compressed."""
    bodies = [gzip.compress(access_log(number, 3_000 + 2_000 * number).encode(), 1)
              for number in range(7)]  # fmt: skip
    paths: list[str] = []
    for number in range(times(scale, 120)):
        path = _FOLDER / f"access-{number}.log.gz"
        path.write_bytes(bodies[number * 5 % 7])
        paths.append(str(path))
    return paths


def states(path: str) -> dict[str, int]:
    """Count the answers of a log by their state."""
    counts: Counter[str] = Counter()
    with gzip.open(path, "rt", encoding="ascii") as file:
        for line in file:
            counts[line.rsplit(" ", 2)[1]] += 1
    return dict(counts)


def imported(number: int) -> int:
    """Put 1,500 rows into a database of its own."""
    path = _FOLDER / f"tenant-{number}.sqlite"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, kind TEXT, value REAL)")
        connection.execute("CREATE INDEX by_kind ON events (kind)")
        with connection:
            connection.executemany(
                "INSERT INTO events (kind, value) VALUES (?, ?)",
                ((f"kind {row * 31 % 17}", row / (number + 1)) for row in range(1_500)),
            )
        return int(connection.execute("SELECT COUNT(*) FROM events").fetchone()[0])


def noted(number: int) -> int:
    """Write a small file under another name first, and look how large it is."""
    path = _IN_MEMORY / f"{number}.txt"
    draft = path.with_suffix(".tmp")
    draft.write_text(f"number {number}\n" * 20, encoding="utf-8")
    os.replace(draft, path)
    return path.stat().st_size


def archive(text: bytes) -> bytes:
    """Compress as tightly as the standard library can."""
    return lzma.compress(text, preset=6)


def three_texts(scale: float) -> list[bytes]:
    """Three logs, smaller ones in a smoke run."""
    return [access_log(50 + each, int(500 + 25_500 * scale)).encode() for each in range(3)]


WORKLOADS = {
    "gzip logs": Workload(states, logs, True, folder),
    "SQLite inserts": Workload(imported, lambda scale: range(times(scale, 100)), False, folder),
    "small files": Workload(
        noted, lambda scale: range(times(scale, 15_000)), False, folder_in_memory
    ),
    "three archives": Workload(archive, three_texts, True),
}
