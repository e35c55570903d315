"""The machine profile: what is known of this machine, measured or read, and what forecasts need."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from poolwise.machine.costs import PoolCosts
from poolwise.machine.measured import Measured

if TYPE_CHECKING:
    from poolwise.machine.claims import Verdict
    from poolwise.machine.fingerprint import Fingerprint

#: Grows when a key goes or changes its meaning; new keys may come without.
FORMAT = 2

DIMENSIONS = (
    "isolation",
    "resources",
    "communication",
    "concurrency",
    "suitability",
    "implementation",
)


@dataclass(frozen=True)
class MachineProfile(Measured):
    """Facts, the six dimensions as far as they were measured, and the costs that forecasts use.

    A dimension that was not measured is ``None``; a figure that cannot be measured here is a
    `Gap` that says why. `quick` says that there was little time for each figure.
    """

    costs: PoolCosts = field(default_factory=PoolCosts)
    fingerprint: Fingerprint | None = None
    quick: bool = False

    @property
    def claims(self) -> tuple[Verdict, ...]:
        """What the article says, statement by statement, and whether it holds here."""
        from poolwise.machine.claims import judge

        return judge(self)

    def to_json(self) -> str:
        """Return everything as JSON; ``docs/measure.md`` lists the keys."""
        document = self.to_document()
        document["claims"] = [_claim(verdict) for verdict in self.claims]
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)

    def to_document(self) -> dict[str, Any]:
        """Return what was measured, as `json` writes it: everything but the claims."""
        from poolwise.machine.record_json import to_plain

        names = ("quick", "fingerprint", "facts", "costs", *DIMENSIONS)
        return {"format": FORMAT} | {name: to_plain(getattr(self, name)) for name in names}

    @classmethod
    def from_json(cls, text: str) -> MachineProfile:
        """Return the profile that `to_json` wrote, here or elsewhere; claims are judged anew.

        Raises:
            ValueError: it is no such document, or one of a later format.
        """
        return cls.from_document(read_document(text))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> MachineProfile:
        """Return the profile of a document that `json` has read. Raises as `from_json` does."""
        from typing import get_type_hints

        from poolwise.machine import dimensions
        from poolwise.machine.fingerprint import Fingerprint
        from poolwise.machine.record_json import from_plain

        hints = get_type_hints(Measured, localns=vars(dimensions))
        hints |= {"costs": PoolCosts, "fingerprint": Fingerprint | None, "quick": bool}
        values = {}
        for name in (each.name for each in fields(cls)):
            if document.get(name) is not None:
                (kind,) = (each for each in _kinds(hints[name]) if each is not type(None))
                values[name] = from_plain(kind, document[name])
        if "facts" not in values:
            raise ValueError("no machine profile: it has no facts")
        return cls(**values)

    def require_here(self) -> None:
        """Accept a profile of this machine.

        Raises:
            StaleProfile: it was measured where something was otherwise; the error says what.
        """
        from poolwise.errors import StaleProfile
        from poolwise.machine.facts import read_facts
        from poolwise.machine.fingerprint import fingerprint_of

        if self.fingerprint is None:
            raise StaleProfile({"fingerprint": (None, "one")})
        fingerprint_of(read_facts()).require(self.fingerprint)


def _kinds(hint: Any) -> tuple[Any, ...]:
    from typing import get_args

    return get_args(hint) or (hint,)


def read_document(text: str) -> dict[str, Any]:
    """Return a document of the format that is read here.

    Raises:
        ValueError: it is none.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"no machine profile: {error}") from None
    found = document.get("format") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(found, int):
        raise ValueError("no machine profile: it has no format")
    if found != FORMAT:
        raise ValueError(f"a machine profile of format {found}; this version reads {FORMAT}")
    return document


def _claim(verdict: Verdict) -> dict[str, Any]:
    from poolwise.machine.claims import program
    from poolwise.machine.record_json import to_plain

    claim = verdict.claim
    return {
        "id": claim.id,
        "section": claim.section,
        "text": claim.text.en,
        "text_zh": claim.text.zh,
        "rule": claim.rule.en,
        "rule_zh": claim.rule.zh,
        "evidence": [
            {"label": each.label.en, "label_zh": each.label.zh, "figure": to_plain(each.figure)}
            for each in verdict.evidence
        ],
        "verdict": verdict.kind,
        "why": verdict.why.en,
        "why_zh": verdict.why.zh,
        "code": program(claim.id),
    }


def costs_of(measured: Measured) -> PoolCosts:
    """Return the costs that were measured; the usual ones where there is a gap."""
    usual = PoolCosts()
    resources = measured.resources
    if resources is None:
        return usual
    create, dispatch = resources.create, resources.dispatch
    found = {
        "thread_start": _median(create.get("thread")),
        "process_start": _median(create.get("process")),
        "process_reuse": _median(create.get("idle")),
        "thread_dispatch": _median(dispatch.get("thread")),
        "process_dispatch": _median(dispatch.get("process")),
        "call_overhead": _median(resources.call_overhead),
    }
    first, further = _median(create.get("server")), _median(create.get("forkserver"))
    if first is not None and further is not None:
        found["server_start"] = first - further
    return PoolCosts(**{name: value for name, value in found.items() if value and value > 0.0})


def _median(figure: object) -> float | None:
    from poolwise.timing.sample import Sample

    return figure.median if isinstance(figure, Sample) else None
