"""A small table of aligned text; characters that a terminal shows two columns wide count double."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_GAP = "  "

#: An East Asian character or a word, with the signs that must not be parted from it; or space.
_PIECES = re.compile(
    r"[（“]*[\u2e80-\u9fff\uff00-\uffef][，。；：、）”]*"
    r"|\s*[^\s\u2e80-\u9fff\uff00-\uffef]+[，。；：、）”]*"
    r"|\s+"
)


def columns(text: str) -> int:
    """Return how many columns of a terminal `text` takes.

    >>> columns("thread"), columns("线程")
    (6, 4)
    """
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int]) -> str:
    """Return `rows` under `header`; the columns in `left` are flush left, the others right.

    The last cell of a row that is shorter than the header runs on over the missing columns, and
    takes no part in their width.

    >>> print(table(["plan", "s"], [["loop", "1.5"], ["32 threads", "12"]], left=[0]))
    plan          s
    loop        1.5
    32 threads   12
    """
    full = [header, *(row for row in rows if len(row) == len(header))]
    firsts = [row[:1] for row in rows if len(row) > 1]
    widths = [max(columns(row[column]) for row in full) for column in range(len(header))]
    widths[0] = max([widths[0], *(columns(cell) for first in firsts for cell in first)])
    return "\n".join(_line(row, widths, left) for row in (header, *rows))


def _line(row: Sequence[str], widths: Sequence[int], left: Sequence[int]) -> str:
    runs_on = len(row) < len(widths)
    cells = []
    for column, cell in enumerate(row):
        space = " " * max(0, widths[column] - columns(cell))
        flush_left = column in left or (runs_on and column == len(row) - 1)
        cells.append(cell + space if flush_left else space + cell)
    return _GAP.join(cells).rstrip()


def listed(items: Sequence[str], *, width: int) -> list[str]:
    """Return `items` with dots between them, in lines of at most `width` where that is possible.

    >>> listed(["one", "two", "three"], width=12)
    ['one · two', 'three']
    """
    lines: list[str] = []
    for item in items:
        longer = f"{lines[-1]} · {item}" if lines else item
        if lines and columns(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(item)
    return lines


def wrapped(text: str, *, width: int) -> list[str]:
    """Return `text` in lines of at most `width` columns: broken at spaces, and in Chinese anywhere.

    >>> wrapped("threads share memory", width=14)
    ['threads share', 'memory']
    >>> wrapped("线程共享内存。", width=8)
    ['线程共享', '内存。']
    """
    lines = [""]
    for piece in _PIECES.findall(text):
        if columns(lines[-1]) + columns(piece) > width and lines[-1]:
            lines.append(piece.lstrip())
        else:
            lines[-1] += piece
    return lines


def paragraph(label: str, lines: Sequence[str], *, indent: int) -> list[str]:
    """Return `lines` beside `label`, the first on its line, all indented alike; none if empty.

    >>> paragraph("why", ["it waits", "it computes"], indent=6)
    ['why   it waits', '      it computes']
    """
    first = label + " " * max(0, indent - columns(label))
    return [f"{' ' * indent if row else first}{line}" for row, line in enumerate(lines)]
