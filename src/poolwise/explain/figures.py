"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from poolwise.explain.languages import ASIDE, NO, SEMICOLON, YES
from poolwise.explain.words import NO_FIGURE
from poolwise.machine.claims import Language
from poolwise.machine.claims.vocabulary import gap_text
from poolwise.timing.sample import Figure, Gap, Sample
from poolwise.units import duration, rate, size

#: A row and a column of a table.
_Place: TypeAlias = tuple[str, str]

#: A spread below this share of the median is not worth its place in a table.
_WORTH_SAYING = 0.1


def value(number: float, unit: str, language: Language) -> str:
    """Write a number with its unit.

    >>> value(0.0051, "s", "en"), value(1.9, "x", "en"), value(1.0, "yes", "zh")
    ('5.1 ms', '1.9×', '是')
    """
    match unit:
        case "s":
            return duration(number)
        case "B":
            return size(round(number))
        case "B/s":
            return f"{size(round(number))}/s"
        case "1/s":
            return f"{rate(number)}/s"
        case "x":
            return f"{number:.2g}×" if number < 9.95 else f"{number:,.0f}×"
        case "yes":
            return (YES if number >= 0.5 else NO).in_(language)
        case _:
            return f"{number:,.0f}" if number == round(number) else f"{number:,.1f}"


def aside(said: str, language: Language) -> str:
    """Write something in parentheses, behind what it is about.

    >>> aside("2 CPUs", "en"), aside("两个", "zh")
    (' (2 CPUs)', '（两个）')
    """
    return ASIDE.in_(language).format(said=said)


def cell(figure: Figure | None, language: Language) -> str:
    """Write a figure for a table: its median, its spread if that is wide, ``!`` if throttled.

    >>> cell(Sample("s", (1.0, 1.0, 1.5, 1.5)), "en"), cell(Gap("no such thing"), "en")
    ('1.2 s ±20%', '–')
    """
    if not isinstance(figure, Sample):
        return NO_FIGURE
    text = value(figure.median, figure.unit, language)
    spread = _spread(figure)
    if spread >= _WORTH_SAYING:
        text += f" ±{spread:.0%}"
    return f"{text} !" if figure.throttled else text


def _spread(sample: Sample) -> float:
    """Half the distance of the quartiles, as a share of the median; a yes or a count has none."""
    if sample.unit in ("yes", "1") or not sample.median:
        return 0.0
    return (sample.high - sample.low) / 2 / abs(sample.median)


def gaps(
    rows: Mapping[str, Mapping[str, Figure | None]], language: Language
) -> Iterator[tuple[str, str]]:
    """Yield why figures of a table are missing, each reason once, and what it is about.

    A column or a row that misses all it has for one reason is named alone.

    >>> no = Gap("refused")
    >>> list(gaps({"create": {"fork": no, "spawn": None}, "end": {"fork": no}}, "en"))
    [('fork', 'refused')]
    """
    cells = {
        (row, column): figure
        for row, figures in rows.items()
        for column, figure in figures.items()
        if figure is not None
    }
    for why in dict.fromkeys(figure.why for figure in cells.values() if isinstance(figure, Gap)):
        missing = [place for place, figure in cells.items() if figure == Gap(why)]
        names = dict.fromkeys(_named(place, missing, cells, language) for place in missing)
        yield SEMICOLON.in_(language).join(names), gap_text(why).in_(language)


def _named(
    place: _Place, missing: Sequence[_Place], cells: Iterable[_Place], language: Language
) -> str:
    """Return the name of a column or row that is missing as a whole, or of the place itself."""
    for axis in (1, 0):
        if all(each in missing for each in cells if each[axis] == place[axis]):
            return place[axis]
    return place[0] + aside(place[1], language)
