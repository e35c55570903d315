"""The decision map as a picture of letters, and its break-even lines."""

from __future__ import annotations

from poolwise.explain import languages
from poolwise.explain.decision_map import LENGTHS, BreakEven, DecisionMap, Rest, Row, family
from poolwise.explain.figures import aside
from poolwise.explain.table import columns
from poolwise.machine.claims import Language
from poolwise.units import duration, size


def map_text(found: DecisionMap, language: Language) -> str:
    """Return the picture: a line for each share that holds the GIL, a letter for each length."""
    letters = "  ".join(
        f"{letter} {name.in_(language)}" for letter, name in languages.FAMILIES.values()
    )
    heading = languages.MAP.in_(language).format(tasks=f"{found.tasks:,}")
    parts = [f"{heading}\n{letters}"]
    by_rest: dict[Rest, tuple[Row, ...]] = {"waits": found.waits, "computes": found.computes}
    for rest, rows in by_rest.items():
        parts.append(f"{languages.RESTS[rest].in_(language)}\n{_picture(found, rows, language)}")
    parts.append("\n".join(_line(each, language) for each in found.break_evens))
    return "\n\n".join(parts)


def _picture(found: DecisionMap, rows: tuple[Row, ...], language: Language) -> str:
    """Return one block beside the other for each size."""
    sizes = list(dict.fromkeys(row.moved for row in rows))
    shares = list(dict.fromkeys(row.share for row in rows))
    held = languages.GIL_SHARE.in_(language)
    names = [f"{held} {share:4.0%}" for share in shares]
    indent = max(map(columns, names))
    width = len(found.lengths)
    moved = [languages.MOVED.in_(language).format(size=size(each)) for each in sizes]
    lines = [" " * indent + "".join(f"  {_padded(each, width)}" for each in moved)]
    for share, name in zip(shares, names, strict=True):
        blocks = [_letters(row) for row in rows if row.share == share]
        lines.append(name + " " * (indent - columns(name)) + "".join(f"  {b}" for b in blocks))
    first, last = duration(found.lengths[0]), duration(found.lengths[-1])
    scale = first + duration(_middle(found)).center(width - len(first) - len(last)) + last
    lines.append(" " * indent + f"  {scale}" * len(sizes))
    return "\n".join(line.rstrip() for line in lines)


def _middle(found: DecisionMap) -> float:
    return float((found.lengths[0] * found.lengths[-1]) ** 0.5)


def _padded(text: str, width: int) -> str:
    return text + " " * max(0, width - columns(text))


def _letters(row: Row) -> str:
    return "".join(languages.FAMILIES[family(plan)][0] for plan in row.plans)


def _line(found: BreakEven, language: Language) -> str:
    """Return a break-even as a sentence: "processes beat threads from 3 ms a task"."""
    winner, loser = (
        languages.FAMILIES[each][1].in_(language) for each in (found.winner, found.loser)
    )
    if found.length is None:
        said = languages.BEATS_NEVER
    else:
        said = languages.BEATS if found.length > LENGTHS[0] else languages.BEATS_ALWAYS
    length = duration(found.length or 0.0)
    sentence = said.in_(language).format(winner=winner, loser=loser, length=length)
    held = f"{languages.GIL_SHARE.in_(language)} {found.share:.0%}"
    moved = languages.MOVED.in_(language).format(size=size(found.moved))
    rest = "" if found.share == 1.0 else f" · {languages.RESTS[found.rest].in_(language)}"
    return sentence + aside(f"{held} · {moved}{rest}", language)
