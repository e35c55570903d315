"""As little effort as shows what is measured."""

from __future__ import annotations

from poolwise.timing.repeat import Effort
from poolwise.timing.sample import Figure, Gap, Sample

TINY = Effort(0.001, least=2, most=3, tolerance=1.0, piece=0.002, largest=1 << 16)


def value(figure: Figure) -> float:
    """The median; it must have been measured."""
    assert isinstance(figure, Sample), figure
    return figure.median


def why(figure: Figure) -> str:
    """Why it was not measured."""
    assert isinstance(figure, Gap), figure
    return figure.why
