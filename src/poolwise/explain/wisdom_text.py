"""What is remembered, as a table."""

from __future__ import annotations

import time
from collections.abc import Sequence

from poolwise.explain.table import table
from poolwise.units import duration, plural
from poolwise.wisdom import Entry


def wisdom_text(entries: Sequence[Entry], machine: str, place: str) -> str:
    """Return a line for each entry of this machine, and how many there are of others."""
    here = [each for each in entries if each.machine == machine]
    parts = [table(_HEAD, list(map(_row, here)), left=[0, 1])] if here else []
    if others := len(entries) - len(here):
        parts.append(f"{plural(others, 'plan')} for other machines or other Pythons")
    if not entries:
        parts.append("nothing is remembered")
    return "\n\n".join([*parts, f"kept in {place}"])


_HEAD = ["function", "plan", "one call waits", "computes", "inputs", "in", "run at"]


def _row(entry: Entry) -> list[str]:
    task = entry.profile
    return [
        str(entry.subject),
        entry.plan.spec,
        duration(task.waiting),
        duration(task.cpu + task.helpers),
        f"{entry.calls:,}",
        duration(entry.elapsed),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.at)),
    ]
