"""Text that comes from somewhere and has to become something else; standard library only."""

from __future__ import annotations

import csv
import io
import random
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from datetime import datetime
from typing import Any

from _workload import Workload, times

_COMMON = """
the of and to in a is that for it as was with be by on not he this are or his from at which
but have an they you were their one all we can her has there been if more when will would
who so no said what up its about into than them only other new some could time these two may
then do first any my now such like our over man me even most made after also did many before
must through back years where much your way well down should because each just those people
"""
_WORDS = _COMMON.split()


# Orders as a shop system sends them


def orders(scale: float) -> list[str]:
    """Orders of 20 to 180 lines each, as XML."""
    draw = random.Random(101)
    result: list[str] = []
    for number in range(times(scale, 2_400)):
        lines = "".join(
            f'<line sku="A{draw.randrange(10_000):05}"><quantity>{draw.randrange(1, 9)}</quantity>'
            f"<price currency='EUR'>{draw.randrange(100, 9_999) / 100:.2f}</price>"
            f"<note>with {draw.choice(_WORDS)} &amp; {draw.choice(_WORDS)}</note></line>"
            for _ in range(draw.randrange(20, 180))
        )
        result.append(
            f'<?xml version="1.0"?><order id="{number}"><customer>Nº {number % 97}</customer>'
            f"<lines>{lines}</lines></order>"
        )
    return result


def order_total(document: str) -> dict[str, Any]:
    """Parse an order, and add up what it costs."""
    root = ElementTree.fromstring(document)
    total, pieces = 0.0, 0
    for line in root.iterfind("lines/line"):
        quantity = int(line.findtext("quantity", "0"))
        pieces += quantity
        total += quantity * float(line.findtext("price", "0"))
    return {
        "id": int(root.attrib["id"]),
        "customer": root.findtext("customer"),
        "pieces": pieces,
        "total": round(total, 2),
    }


# Measurements as CSV, whose rows are wanted as dicts


def sheets(scale: float) -> list[str]:
    """Sheets of 700 rows."""
    draw = random.Random(102)
    result: list[str] = []
    for number in range(times(scale, 300)):
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerow(["sensor", "time", "value", "unit", "state"])
        for row in range(700):
            value = round(draw.gauss(20, 4), 3)
            writer.writerow([f"s{number}-{row % 7}", 1_700_000_000 + row, value, "°C", "ok"])
        result.append(file.getvalue())
    return result


def records(sheet: str) -> list[dict[str, Any]]:
    """Return the rows of a sheet, with numbers as numbers."""
    return [
        {**row, "time": int(row["time"]), "value": float(row["value"])}
        for row in csv.DictReader(io.StringIO(sheet))
    ]


# Articles, of which the usual words are wanted


def articles(scale: float) -> list[dict[str, Any]]:
    """Articles of 200 to 2,000 words, each with what belongs to it."""
    draw = random.Random(103)
    return [
        {
            "id": number,
            "title": " ".join(draw.choices(_WORDS, k=5)).title(),
            "text": " ".join(draw.choices(_WORDS, k=draw.randrange(200, 2_000))) + ".",
            "tags": ["news", "long read"],
        }
        for number in range(times(scale, 3_000))
    ]


_WORD = re.compile(r"[a-z']+")


def with_counts(article: dict[str, Any]) -> dict[str, Any]:
    """Return an article with the counts of its words instead of its text."""
    words = Counter(word for word in _WORD.findall(article["text"].lower()) if len(word) > 2)
    rest = {name: value for name, value in article.items() if name != "text"}
    return rest | {"words": words.total(), "usual": dict(words.most_common(15))}


# Names that may be the same


def pairs(scale: float) -> list[tuple[str, str]]:
    """Names with slips of the pen."""
    draw = random.Random(104)
    result: list[tuple[str, str]] = []
    for _ in range(times(scale, 5_000)):
        name = " ".join(draw.choices(_WORDS, k=6))[:30]
        letters = list(name)
        for _ in range(draw.randrange(6)):
            letters[draw.randrange(len(letters))] = draw.choice("aeinrst")
        result.append((name, "".join(letters)))
    return result


def edit_distance(pair: tuple[str, str]) -> int:
    """Levenshtein's distance."""
    one, other = pair
    previous = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        current = [row]
        for column, against in enumerate(other, 1):
            current.append(
                min(
                    previous[column] + 1,
                    current[column - 1] + 1,
                    previous[column - 1] + (letter != against),
                )
            )
        previous = current
    return previous[-1]


# Fifty thousand lines of a log


def log_lines(scale: float) -> list[str]:
    """Lines that begin with a date."""
    draw = random.Random(105)
    return [
        f"{draw.randrange(1, 29):02}/{draw.choice(['Jan', 'May', 'Oct'])}/2023:"
        f"{draw.randrange(24):02}:{draw.randrange(60):02}:{draw.randrange(60):02} +0000 GET /{n}"
        for n in range(times(scale, 50_000))
    ]


def timestamp(line: str) -> float:
    """Read the date of a line."""
    date, zone, _ = line.split(" ", 2)
    return datetime.strptime(f"{date} {zone}", "%d/%b/%Y:%H:%M:%S %z").timestamp()


WORKLOADS = {
    "XML orders": Workload(order_total, orders, True),
    "CSV to dicts": Workload(records, sheets, True),
    "count words": Workload(with_counts, articles, True),
    "edit distances": Workload(edit_distance, pairs, True),
    "parse dates": Workload(timestamp, log_lines, True),
}
