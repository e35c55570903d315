"""What repeated readings of one quantity say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Sample:
    """Readings of one quantity, in `unit`: ``"s"``, ``"B"``, ``"B/s"``, ``"1/s"``, ``"x"`` for a
    ratio, ``"1"`` for a count, ``"yes"`` for 1.0 or 0.0.

    `throttled` says that the machine took CPU time away from this process meanwhile (a cgroup
    quota was used up), so that durations are too long.

    Raises:
        ValueError: there is no reading.

    >>> Sample("s", (3.0, 1.0, 2.0)).median
    2.0
    """

    unit: str
    values: tuple[float, ...]
    throttled: bool = False

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a sample needs at least one reading")

    @property
    def count(self) -> int:
        """How many readings there are."""
        return len(self.values)

    @property
    def median(self) -> float:
        """The middle reading, or the mean of the two in the middle."""
        import statistics  # brings fractions and decimals, which no map needs

        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The lower quartile."""
        return self._quartiles()[0]

    @property
    def high(self) -> float:
        """The upper quartile."""
        return self._quartiles()[2]

    def _quartiles(self) -> list[float]:
        if self.count == 1:
            return [self.values[0]] * 3
        import statistics

        return statistics.quantiles(self.values, n=4, method="inclusive")


@dataclass(frozen=True, slots=True)
class Gap:
    """Why a quantity was not measured here."""

    why: str


#: What a measurement gives: readings, or the reason why there are none.
Figure: TypeAlias = Sample | Gap
