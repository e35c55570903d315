"""A small table of aligned text."""

from __future__ import annotations

from collections.abc import Sequence

_GAP = "  "


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
    widths = [max(len(row[column]) for row in full) for column in range(len(header))]
    widths[0] = max([widths[0], *(len(cell) for first in firsts for cell in first)])
    return "\n".join(_line(row, widths, left) for row in (header, *rows))


def _line(row: Sequence[str], widths: Sequence[int], left: Sequence[int]) -> str:
    runs_on = len(row) < len(widths)
    cells = []
    for column, cell in enumerate(row):
        if column in left or (runs_on and column == len(row) - 1):
            cells.append(cell.ljust(widths[column]))
        else:
            cells.append(cell.rjust(widths[column]))
    return _GAP.join(cells).rstrip()


def listed(items: Sequence[str], *, width: int) -> list[str]:
    """Return `items` with dots between them, in lines of at most `width` where that is possible.

    >>> listed(["one", "two", "three"], width=12)
    ['one · two', 'three']
    """
    lines: list[str] = []
    for item in items:
        longer = f"{lines[-1]} · {item}" if lines else item
        if lines and len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(item)
    return lines


def paragraph(label: str, lines: Sequence[str], *, indent: int) -> list[str]:
    """Return `lines` beside `label`, the first on its line, all indented alike; none if empty.

    >>> paragraph("why", ["it waits", "it computes"], indent=6)
    ['why   it waits', '      it computes']
    """
    gaps = " " * indent
    return [f"{gaps if row else label.ljust(indent)}{line}" for row, line in enumerate(lines)]
