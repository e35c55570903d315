"""Work in Python itself; imports nothing but the standard library."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterable, Iterator

from _workload import Workload, times


def square(x: int) -> int:
    """Do next to nothing."""
    return x * x


_RECORD = {
    "id": 4711,
    "name": "Ada Lovelace",
    "tags": ["analysis", "engine", "notes"] * 3,
    "scores": [round(0.37 * number, 2) for number in range(120)],
    "address": {"street": "St James's Square", "number": 12, "city": "London"},
}


def documents(scale: float) -> list[str]:
    """Some documents of 1 KB."""
    return [json.dumps(_RECORD | {"id": number}) for number in range(times(scale, 14_000))]


def total_score(text: str) -> float:
    """Parse a document, and look at it as one does in Python."""
    record = json.loads(text)
    best = 0.0
    for score in record["scores"]:
        best = max(best, score)
    return best + sum(len(tag) for tag in record["tags"])


def primes_below(limit: int) -> int:
    """Count primes, in plain Python."""
    found = 0
    for number in range(2, limit):
        for divisor in range(2, int(number**0.5) + 1):
            if number % divisor == 0:
                break
        else:
            found += 1
    return found


def skewed(scale: float) -> list[int]:
    """Lengths of which a few take most of the time, in no order."""
    draw = random.Random(11)
    return [min(40_000, int(400 + 300 * draw.paretovariate(1.1))) for _ in range(times(scale, 500))]


def numbers(scale: float) -> Iterator[int]:
    """As many as there happen to be."""
    draw = random.Random(5)
    for _ in range(times(scale, 600)):
        yield 1_000 + draw.randrange(1_000)


_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")


def pages(scale: float) -> list[str]:
    """Text in which one looks for something."""
    line = "Write to ada.lovelace@example.org or to nobody at all, before the 10th of December. "
    return [f"{number} " + line * 150 for number in range(times(scale, 400))]


def addresses(text: str) -> list[str]:
    """Find mail addresses, as one does before one has read the grammar."""
    return sorted(set(_MAIL.findall(text)))


def table_of(rows: int) -> list[tuple[int, str, float]]:
    """Make a large result of many small objects."""
    return [(row, f"row {row}", row / 7) for row in range(rows)]


def wait_or_compute(item: tuple[str, int]) -> int:
    """Fetch what is not there yet; compute with what is."""
    what, size = item
    if what == "fetch":
        time.sleep(4e-3)
        return size
    return primes_below(size)


def fetch_then_compute(scale: float) -> list[tuple[str, int]]:
    """First nothing is there, then all of it."""
    half = times(scale, 150)
    return [("fetch", 2_600)] * half + [("compute", 2_600)] * half


def _same(value: int, count: int) -> Iterable[int]:
    return [value + number for number in range(count)]


WORKLOADS = {
    "tiny calls": Workload(square, lambda scale: range(times(scale, 200_000)), True),
    "parse JSON": Workload(total_score, documents, True),
    "count primes": Workload(primes_below, lambda scale: _same(16_000, times(scale, 50)), True),
    "skewed lengths": Workload(primes_below, skewed, True),
    "two long inputs": Workload(
        primes_below, lambda scale: _same(int(2_000 + 288_000 * scale), 2), True
    ),
    "a handful": Workload(primes_below, lambda scale: _same(int(2_000 + 128_000 * scale), 5), True),
    "few short calls": Workload(primes_below, lambda scale: _same(3_000, 4), True),
    "generator": Workload(primes_below, numbers, True),
    "regular expressions": Workload(addresses, pages, True),
    "large results": Workload(table_of, lambda scale: _same(12_000, times(scale, 100)), True),
    "drift": Workload(wait_or_compute, fetch_then_compute, False),
}
