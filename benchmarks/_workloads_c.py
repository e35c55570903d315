"""Work in C that releases the GIL, of the standard library only."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _workload import Workload, times


def blobs(size: int, count: int) -> list[bytes]:
    """Bytes that compress by about a half, no two alike."""
    draw = random.Random(3)
    return [bytes(draw.choices(range(16), k=1_024)) * (size // 1_024) for _ in range(count)]


def digest(blob: bytes) -> str:
    """Hash a megabyte."""
    return hashlib.sha256(blob).hexdigest()


def compressed(blob: bytes) -> bytes:
    """Compress 100 KB."""
    return zlib.compress(blob, 6)


def mixed_text(scale: float) -> list[bytes]:
    """Numbers as text: neither all alike nor noise."""
    draw = random.Random(4)
    return [
        b" ".join(b"%d" % draw.getrandbits(20) for _ in range(14_000))
        for _ in range(times(scale, 90))
    ]


def key(password: str) -> bytes:
    """Derive a key."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), b"salt", 60_000)


_FOLDER = Path(tempfile.gettempdir()) / "poolwise-bench-regret"
_DATABASE = _FOLDER / "sales.sqlite"


@contextmanager
def database() -> Iterator[None]:
    """Write a table of sales to a file."""
    _FOLDER.mkdir(exist_ok=True)
    _DATABASE.unlink(missing_ok=True)
    draw = random.Random(6)
    connection = sqlite3.connect(_DATABASE)
    connection.execute("CREATE TABLE sales (shop INTEGER, item INTEGER, price REAL)")
    connection.executemany(
        "INSERT INTO sales VALUES (?, ?, ?)",
        ((draw.randrange(50), draw.randrange(900), draw.random()) for _ in range(60_000)),
    )
    connection.commit()
    connection.close()
    try:
        yield
    finally:
        _DATABASE.unlink(missing_ok=True)


def best_items(shop: int) -> list[tuple[int, float]]:
    """Ask for what a shop sells best."""
    connection = sqlite3.connect(_DATABASE)
    try:
        return connection.execute(
            "SELECT item, SUM(price) AS total FROM sales WHERE shop % 10 = ? "
            "GROUP BY item ORDER BY total DESC LIMIT 10",
            (shop % 10,),
        ).fetchall()
    finally:
        connection.close()


WORKLOADS = {
    "SHA-256": Workload(digest, lambda scale: blobs(1 << 20, times(scale, 60)) * 6, True),
    "compress": Workload(compressed, mixed_text, True),
    "derive keys": Workload(
        key, lambda scale: [f"secret {number}" for number in range(times(scale, 20))], True
    ),
    "query SQLite": Workload(best_items, lambda scale: range(times(scale, 70)), True, database),
}
