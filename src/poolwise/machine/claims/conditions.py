"""Conditions: questions about figures that have the answers yes, no and "cannot be told"."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    def denied(self) -> Text:
        """That it is not so, as part of a sentence."""

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The figures that it needs."""

    def answer(self, measured: Measured, /) -> Answer:
        """Answer it; a missing figure is `Unknown`."""


@dataclass(frozen=True, slots=True)
class Question:
    """What may be asked of one figure: how a yes and a no are said, and what readings say.

    ``{}`` stands for the figure's name. `of` returns ``None`` where the spread gives no answer.
    """

    yes: Text
    no: Text
    of: Callable[[Sample], bool | None]


def is_yes(sample: Sample) -> bool | None:
    """Whether all readings are yes; those that contradict each other give no answer."""
    said = {value >= 0.5 for value in sample.values}
    return said.pop() if len(said) == 1 else None


@dataclass(frozen=True, slots=True)
class WasAbove:
    """Whether any reading was above a limit: one lost update is proof, whatever the median."""

    limit: float

    def __call__(self, sample: Sample) -> bool:
        """Answer for these readings."""
        return max(sample.values) > self.limit


@dataclass(frozen=True, slots=True)
class IsAbove:
    """Whether a figure is above a limit: no answer where that lies between its quartiles."""

    limit: float

    def __call__(self, sample: Sample) -> bool | None:
        """Answer for these readings."""
        if sample.low > self.limit:
            return True
        return False if sample.high <= self.limit else None


YES = Question(Text("{} is yes", "{}为是"), Text("{} is no", "{}为否"), is_yes)


def is_above(limit: float) -> Question:
    """Return the question whether a figure is above a limit."""
    return Question(
        Text(f"{{}} is clearly above {limit:g}", f"{{}}明显大于 {limit:g}"),
        Text(f"{{}} is at most {limit:g}", f"{{}}不大于 {limit:g}"),
        IsAbove(limit),
    )


def was_above(limit: float) -> Question:
    """Return the question whether a figure was above a limit at least once."""
    return Question(
        Text(f"{{}} was above {limit:g} at least once", f"{{}}至少一次大于 {limit:g}"),
        Text(f"{{}} is never above {limit:g}", f"{{}}从不大于 {limit:g}"),
        WasAbove(limit),
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a figure, and the answer that meets the condition."""

    question: Question
    reading: Reading
    wanted: bool = True

    @property
    def text(self) -> Text:
        """The condition as part of a sentence."""
        return self._said(self.wanted)

    @property
    def denied(self) -> Text:
        """That it is not so, as part of a sentence."""
        return self._said(not self.wanted)

    def _said(self, answer: bool) -> Text:
        said = self.question.yes if answer else self.question.no
        label = self.reading.label
        return Text(said.en.format(f"“{label.en}”"), said.zh.format(f"“{label.zh}”"))

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The figures that it needs."""
        return (self.reading,)

    def answer(self, measured: Measured) -> Answer:
        """Answer by the figure; a missing one is `Unknown`, and so is one that does not say."""
        figure = self.reading.figure(measured)
        if isinstance(figure, Gap):
            return _missing(self.reading, figure)
        found = self.question.of(figure)
        return _within_spread(self.reading) if found is None else found is self.wanted


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
    def denied(self) -> Text:
        """That it is not so, as part of a sentence."""
        less, more = self.less.label, self.more.label
        return Text(
            f"“{less.en}” is not clearly less than “{more.en}”",
            f"“{less.zh}”并不明显小于“{more.zh}”",
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
class NotClearly:
    """One figure is not less than another beyond the spread; it may be as much."""

    condition: Less

    @property
    def text(self) -> Text:
        """The condition as part of a sentence."""
        return self.condition.denied

    @property
    def denied(self) -> Text:
        """That it is not so, as part of a sentence."""
        return self.condition.text

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
    def denied(self) -> Text:
        """That it is not so, as part of a sentence."""
        return Text(f"it is not so that {self.text.en}", f"并非{self.text.zh}")

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
    en = " and ".join(f"“{each.en}”" for each in labels)
    zh = "与".join(f"“{each.zh}”" for each in labels)
    more = "相差太小，未超出读数的离散范围" if len(labels) > 1 else "的读数过于分散"
    return Unknown(
        Text(f"too close to tell, by the spread of {en}", f"{zh}{more}，无法判断"), missing=False
    )
