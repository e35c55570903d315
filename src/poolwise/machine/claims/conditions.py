"""Conditions: questions about figures that have the answers yes, no and "cannot be told"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from poolwise.machine.claims.readings import Reading
from poolwise.machine.claims.text import Text, joined
from poolwise.machine.claims.vocabulary import gap_text
from poolwise.machine.measured import Measured
from poolwise.timing.sample import Gap, Sample

_AND = Text(" and ", "，且")
_COMMA = Text(", ", "，")


def conjunction(texts: Iterable[Text]) -> Text:
    """Return sentences as one: ``"this, this and that"``."""
    *firsts, last = texts
    return joined([joined(firsts, by=_COMMA), last], by=_AND) if firsts else last


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is no answer: a figure is `missing`, or the spread is too wide for one."""

    why: Text
    missing: bool


Answer: TypeAlias = bool | Unknown


class Condition(Protocol):
    """A question that a machine's figures answer."""

    @property
    def text(self) -> Text:
        """The condition as part of a sentence."""

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The figures that it needs."""

    def answer(self, measured: Measured, /) -> Answer:
        """Answer it; a missing figure is `Unknown`."""


@dataclass(frozen=True, slots=True)
class _OfOne:
    """A condition on one figure, which is there."""

    reading: Reading

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The figures that it needs."""
        return (self.reading,)

    def answer(self, measured: Measured) -> Answer:
        """Answer by the figure; a missing one is `Unknown`."""
        figure = self.reading.figure(measured)
        return _missing(self.reading, figure) if isinstance(figure, Gap) else self._by(figure)

    def _by(self, sample: Sample) -> Answer:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Yes(_OfOne):
    """A figure of the unit ``"yes"`` is yes; readings that contradict each other give no answer."""

    @property
    def text(self) -> Text:
        """The condition as part of a sentence."""
        label = self.reading.label
        return Text(f"“{label.en}” is yes", f"“{label.zh}”为是")

    def _by(self, sample: Sample) -> Answer:
        said = {value >= 0.5 for value in sample.values}
        return said.pop() if len(said) == 1 else _within_spread(self.reading)


@dataclass(frozen=True, slots=True)
class Less:
    """One figure is less than another, beyond the spread of both."""

    less: Reading
    more: Reading

    @property
    def text(self) -> Text:
        """The condition as part of a sentence."""
        less, more = self.less.label, self.more.label
        return Text(
            f"“{less.en}” is clearly less than “{more.en}”", f"“{less.zh}”明显小于“{more.zh}”"
        )

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The figures that it needs."""
        return (self.less, self.more)

    def answer(self, measured: Measured) -> Answer:
        """Compare quartiles: where they overlap there is no answer. Equal exact counts are no."""
        less, more = self.less.figure(measured), self.more.figure(measured)
        if isinstance(less, Gap):
            return _missing(self.less, less)
        if isinstance(more, Gap):
            return _missing(self.more, more)
        if less.high < more.low:
            return True
        if less.low > more.high or less.low == less.high == more.low == more.high:
            return False
        return _within_spread(self.less, self.more)


@dataclass(frozen=True, slots=True)
class Above(_OfOne):
    """A figure is above a given number: no answer where that lies between its quartiles."""

    limit: float

    @property
    def text(self) -> Text:
        """The condition as part of a sentence."""
        label = self.reading.label
        return Text(
            f"“{label.en}” is clearly above {self.limit:g}", f"“{label.zh}”明显大于 {self.limit:g}"
        )

    def _by(self, sample: Sample) -> Answer:
        if sample.low > self.limit:
            return True
        return False if sample.high <= self.limit else _within_spread(self.reading)


@dataclass(frozen=True, slots=True)
class Ever(_OfOne):
    """A count was above zero at least once: one lost update is proof, whatever the median."""

    @property
    def text(self) -> Text:
        """The condition as part of a sentence."""
        label = self.reading.label
        return Text(f"“{label.en}” was above 0 at least once", f"“{label.zh}”至少一次大于 0")

    def _by(self, sample: Sample) -> Answer:
        return max(sample.values) > 0


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition; what cannot be told cannot be told of its opposite either."""

    condition: Condition

    @property
    def text(self) -> Text:
        """The condition as part of a sentence."""
        match self.condition:
            case Yes(reading):
                return Text(f"“{reading.label.en}” is no", f"“{reading.label.zh}”为否")
            case Ever(reading):
                return Text(f"“{reading.label.en}” is always 0", f"“{reading.label.zh}”始终为 0")
            case Above(reading, limit):
                label = reading.label
                return Text(f"“{label.en}” is at most {limit:g}", f"“{label.zh}”不大于 {limit:g}")
            case other:
                return Text(f"not: {other.text.en}", f"并非{other.text.zh}")

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The figures that it needs."""
        return self.condition.readings

    def answer(self, measured: Measured) -> Answer:
        """Answer the opposite."""
        answer = self.condition.answer(measured)
        return answer if isinstance(answer, Unknown) else not answer


@dataclass(frozen=True, slots=True)
class NotClearly:
    """One figure is not less than another beyond the spread; it may be as much."""

    condition: Less

    @property
    def text(self) -> Text:
        """The condition as part of a sentence."""
        less, more = self.condition.less.label, self.condition.more.label
        return Text(
            f"“{less.en}” is not clearly less than “{more.en}”",
            f"“{less.zh}”并不明显小于“{more.zh}”",
        )

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The figures that it needs."""
        return self.condition.readings

    def answer(self, measured: Measured) -> Answer:
        """Answer yes unless the condition is clearly met."""
        answer = self.condition.answer(measured)
        if isinstance(answer, Unknown):
            return answer if answer.missing else True
        return not answer


@dataclass(frozen=True, slots=True)
class All:
    """Several conditions at once."""

    conditions: tuple[Condition, ...]

    @property
    def text(self) -> Text:
        """The conditions as part of a sentence."""
        return conjunction(each.text for each in self.conditions)

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The figures that they need."""
        return tuple(reading for each in self.conditions for reading in each.readings)

    def answer(self, measured: Measured) -> Answer:
        """Answer yes if all do; a missing figure goes before everything else."""
        answers = [each.answer(measured) for each in self.conditions]
        unknown = [answer for answer in answers if isinstance(answer, Unknown)]
        for answer in unknown:
            if answer.missing:
                return answer
        if False in answers:
            return False
        return unknown[0] if unknown else True


def _missing(reading: Reading, gap: Gap) -> Unknown:
    label, why = reading.label, gap_text(gap.why)
    return Unknown(Text(f"{label.en}: {why.en}", f"{label.zh}：{why.zh}"), missing=True)


def _within_spread(*readings: Reading) -> Unknown:
    labels = [reading.label for reading in readings]
    return Unknown(
        Text(
            "too close to tell, by the spread of "
            + " and ".join(f"“{each.en}”" for each in labels),
            "相差太小，无法判断，数据的离散见" + "、".join(f"“{each.zh}”" for each in labels),
        ),
        missing=False,
    )
