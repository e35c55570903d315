"""Rules: how the figures of a machine decide about a claim. Each is data, and says itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from poolwise.machine.claims.conditions import All, Condition, Unknown, conjunction
from poolwise.machine.claims.readings import Reading
from poolwise.machine.claims.text import NOTHING, Text, joined
from poolwise.machine.claims.vocabulary import gap_text
from poolwise.machine.measured import Measured
from poolwise.timing.sample import Gap

Kind: TypeAlias = Literal["holds", "does_not_hold", "depends", "explained", "not_measured"]

#: The verdicts there are.
KINDS: tuple[Kind, ...] = ("holds", "does_not_hold", "depends", "explained", "not_measured")


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict's kind, and why or on what: empty where the figures say it all."""

    kind: Kind
    why: Text = NOTHING


class Rule(Protocol):
    """What decides about a claim."""

    @property
    def text(self) -> Text:
        """The rule as a sentence."""

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The figures that it decides by."""

    def decide(self, measured: Measured, /) -> Decision:
        """Decide; a missing figure is "not measured", never an exception."""


@dataclass(frozen=True, slots=True)
class Facets:
    """Conditions of equal weight: all met, none met, or it depends on which one is looked at."""

    conditions: tuple[Condition, ...]

    @property
    def text(self) -> Text:
        """The rule as a sentence."""
        met = conjunction(each.text for each in self.conditions)
        if len(self.conditions) == 1:
            return Text(f"Holds if {met.en}.", f"成立条件：{met.zh}。")
        return Text(
            f"Holds if {met.en}; depends if some of it is so and some is not.",
            f"成立条件：{met.zh}；若只有一部分如此，则视情况而定。",
        )

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The figures that it decides by."""
        return All(self.conditions).readings

    def decide(self, measured: Measured) -> Decision:
        """Decide by how many conditions are met."""
        answers = [each.answer(measured) for each in self.conditions]
        unknown = [answer for answer in answers if isinstance(answer, Unknown)]
        missing = [answer for answer in unknown if answer.missing]
        if missing:
            return Decision("not_measured", missing[0].why)
        if True in answers and False in answers:
            return Decision("depends", self._which(answers))
        if unknown:
            return Decision("not_measured", unknown[0].why)
        return Decision("holds" if answers[0] else "does_not_hold")

    def _which(self, answers: list[bool | Unknown]) -> Text:
        said = conjunction(
            condition.denied
            for condition, answer in zip(self.conditions, answers, strict=True)
            if answer is False
        )
        return Text(
            f"on what is looked at: the rest holds, but {said.en}",
            f"取决于看哪一点：其余成立，但{said.zh}",
        )


@dataclass(frozen=True, slots=True)
class Case:
    """A verdict, and the condition under which it is given."""

    kind: Kind
    condition: Condition
    on: Text = NOTHING

    @property
    def why(self) -> Text:
        """What is said with the verdict: on what it depends, or why nothing can be told."""
        if self.kind == "depends":
            return Text(f"on {self.on.en}", f"取决于{self.on.zh}")
        return self.on


@dataclass(frozen=True, slots=True)
class Cases:
    """The first case whose condition is met decides; if none is, the claim does not hold."""

    cases: tuple[Case, ...]

    @property
    def text(self) -> Text:
        """The rule as a sentence."""
        said = joined(map(_case_text, self.cases), by=Text("; else ", "；否则"))
        return Text(
            f"{said.en[0].upper()}{said.en[1:]}; else it does not hold.", f"{said.zh}；否则不成立。"
        )

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The figures that it decides by."""
        return tuple(reading for case in self.cases for reading in case.condition.readings)

    def decide(self, measured: Measured) -> Decision:
        """Decide by the first condition that is met, once every figure is there."""
        answers = [case.condition.answer(measured) for case in self.cases]
        for answer in answers:
            if isinstance(answer, Unknown) and answer.missing:
                return Decision("not_measured", answer.why)
        for case, answer in zip(self.cases, answers, strict=True):
            if answer is True:
                return Decision(case.kind, case.why)
        for answer in answers:
            if isinstance(answer, Unknown):
                return Decision("not_measured", answer.why)
        return Decision("does_not_hold")


def _case_text(case: Case) -> Text:
    condition = case.condition.text
    match case.kind:
        case "depends":
            return Text(
                f"depends {case.why.en}, if {condition.en}",
                f"若{condition.zh}，则{case.why.zh}",
            )
        case "not_measured":
            return Text(
                f"not measured ({case.on.en}) if {condition.en}",
                f"若{condition.zh}，则视为未测量（{case.on.zh}）",
            )
        case "holds":
            return Text(f"holds if {condition.en}", f"若{condition.zh}，则成立")
        case _:
            return Text(f"does not hold if {condition.en}", f"若{condition.zh}，则不成立")


@dataclass(frozen=True, slots=True)
class Explained:
    """A statement about how the kernel works, which no program can see; figures stand beside it."""

    how: Text
    beside: tuple[Reading, ...]

    @property
    def text(self) -> Text:
        """The rule as a sentence."""
        return Text(
            "Explained, not measured: no program sees it, and the figures beside it are indirect.",
            "仅作解释：程序无法直接观测，所列数字只是旁证。",
        )

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The indirect figures."""
        return self.beside

    def decide(self, measured: Measured) -> Decision:
        """Explain, where at least one of the indirect figures is there to stand beside it."""
        figures = [each.figure(measured) for each in self.beside]
        gaps = [figure.why for figure in figures if isinstance(figure, Gap)]
        if len(gaps) < len(figures):
            return Decision("explained", self.how)
        return Decision("not_measured", gap_text(gaps[0]))
