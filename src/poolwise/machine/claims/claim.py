"""A claim of the article, and what is said of it on one machine."""

from __future__ import annotations

from dataclasses import dataclass

from poolwise.machine.claims.readings import Reading
from poolwise.machine.claims.rules import Decision, Kind, Rule
from poolwise.machine.claims.text import Text
from poolwise.machine.measured import Measured
from poolwise.timing.sample import Figure, Sample


@dataclass(frozen=True, slots=True)
class Evidence:
    """A figure and what it is called."""

    label: Text
    figure: Figure


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement of the article, and the rule that decides about it.

    `id` is section, side and number: ``"3.T.2"`` is the second statement on threads in section 3;
    the sides are P (processes), T (threads) and S (both). `beside` are figures that are shown
    with it and decide nothing.
    """

    id: str
    text: Text
    decided: Rule
    beside: tuple[Reading, ...] = ()

    @property
    def section(self) -> int:
        """The section of the article: 1 to 6, and 0 for its opening sentence."""
        return int(self.id.partition(".")[0])

    @property
    def rule(self) -> Text:
        """The rule as a sentence."""
        return self.decided.text

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The figures that decide, then those beside them, each once."""
        return tuple(dict.fromkeys((*self.decided.readings, *self.beside)))

    def judge(self, measured: Measured) -> Verdict:
        """Return what is said of it on this machine."""
        evidence = (Evidence(each.label, each.figure(measured)) for each in self.readings)
        return Verdict(self, self.decided.decide(measured), tuple(evidence))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a claim on one machine, and the figures that it rests on."""

    claim: Claim
    decision: Decision
    evidence: tuple[Evidence, ...]

    @property
    def kind(self) -> Kind:
        """``holds``, ``does_not_hold``, ``depends``, ``explained`` or ``not_measured``."""
        return self.decision.kind

    @property
    def why(self) -> Text:
        """On what it depends, how it is explained or why it was not measured; else empty."""
        return self.decision.why

    @property
    def throttled(self) -> bool:
        """Whether a quota took CPU time away while one of the figures was measured."""
        figures = (each.figure for each in self.evidence)
        return any(isinstance(figure, Sample) and figure.throttled for figure in figures)
