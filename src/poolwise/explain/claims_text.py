"""Claims and their verdicts as text: all of them in a list, one of them in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from poolwise.explain import languages
from poolwise.explain.figures import aside, value
from poolwise.explain.table import paragraph, wrapped
from poolwise.machine.claims import KINDS, Evidence, Language, Verdict
from poolwise.machine.claims.vocabulary import gap_text
from poolwise.timing.sample import Gap, Sample

#: Where long lines are broken.
_WIDTH = 96

_ID, _VERDICT = 7, 15


def claims_text(verdicts: Sequence[Verdict], language: Language) -> str:
    """Return all claims by section, each with its verdict, and on what it depends."""
    lines = [languages.CLAIMS.in_(language), summary(verdicts, language)]
    for section, name in languages.SECTIONS.items():
        rows = [each for each in verdicts if each.claim.section == section]
        if rows:
            lines += ["", f"{section}  {name.in_(language)}"]
        for each in rows:
            lines += _row(each, language)
    return "\n".join(lines)


def summary(verdicts: Sequence[Verdict], language: Language) -> str:
    """Return which verdict how many claims have: ``"holds 40 · depends 9"``."""
    counts = Counter(each.kind for each in verdicts)
    there = [kind for kind in KINDS if counts[kind]]
    return " · ".join(f"{languages.VERDICTS[kind].in_(language)} {counts[kind]}" for kind in there)


def _row(verdict: Verdict, language: Language) -> list[str]:
    indent = _ID + _VERDICT
    lines = wrapped(verdict.claim.text.in_(language), width=_WIDTH - indent)
    if verdict.kind in ("depends", "not_measured"):
        # The continuation is set off, so that a claim and its limits are told apart.
        lines += [f"  {line}" for line in wrapped(verdict.why.in_(language), width=_WIDTH - indent)]
    label = paragraph(verdict.claim.id, [""], indent=_ID)[0]
    return paragraph(label + _mark(verdict, language), lines, indent=indent)


def _mark(verdict: Verdict, language: Language) -> str:
    said = languages.VERDICTS[verdict.kind].in_(language)
    return f"{said} !" if verdict.throttled else said


def claim_text(verdict: Verdict, language: Language) -> str:
    """Return one claim in full: the statement, the rule, every figure, the verdict."""
    claim = verdict.claim
    labels = {
        languages.ARTICLE: [claim.text.zh] if language != "zh" else [],
        languages.VERDICT: [_mark(verdict, language)],
        languages.WHY: wrapped(verdict.why.in_(language), width=_WIDTH) if verdict.why.en else [],
        languages.RULE: wrapped(claim.rule.in_(language), width=_WIDTH),
        languages.EVIDENCE: _evidence(verdict.evidence, language),
    }
    indent = 10
    head = wrapped(claim.text.in_(language), width=_WIDTH)
    lines = paragraph(claim.id, head, indent=indent)
    for label, said in labels.items():
        lines += paragraph(label.in_(language), said, indent=indent)
    code = languages.CODE.in_(language).format(id=claim.id)
    if verdict.throttled:
        lines.append(languages.THROTTLED.in_(language))
    return "\n".join([*lines, *paragraph("", [code], indent=indent)])


def _evidence(evidence: Sequence[Evidence], language: Language) -> list[str]:
    return [f"{each.label.in_(language)}{_is(each, language)}" for each in evidence]


def _is(evidence: Evidence, language: Language) -> str:
    figure = evidence.figure
    if isinstance(figure, Gap):
        return f" = –{aside(gap_text(figure.why).in_(language), language)}"
    return f" = {value(figure.median, figure.unit, language)}{_readings(figure, language)}"


def _readings(sample: Sample, language: Language) -> str:
    if sample.count == 1:
        return ""
    low, high = (value(each, sample.unit, language) for each in (sample.low, sample.high))
    said = languages.READINGS if low == high else languages.MIDDLE_HALF
    return aside(said.in_(language).format(count=sample.count, low=low, high=high), language)
