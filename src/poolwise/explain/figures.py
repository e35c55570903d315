"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from poolwise.explain.languages import NO, YES
from poolwise.explain.words import NO_FIGURE
from poolwise.machine.claims import Language
from poolwise.timing.sample import Figure, Gap, Sample
from poolwise.units import duration, rate, size

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


def gaps(figures: Mapping[str, Figure | None]) -> list[str]:
    """Return why figures are missing: each reason once, after the names of what it is about."""
    about: dict[str, list[str]] = {}
    for name, figure in figures.items():
        if isinstance(figure, Gap):
            about.setdefault(figure.why, []).append(name)
    return [f"{NO_FIGURE} {', '.join(names)}: {why}" for why, names in about.items()]
