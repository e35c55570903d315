"""What an article says of processes and threads, statement by statement, and whether it holds here.

>>> claim("3.P.4").text.en
'shared memory'
"""

from __future__ import annotations

from poolwise.machine.claims import (
    communication,
    concurrency,
    cost,
    definition,
    implementation,
    suitability,
    whole,
)
from poolwise.machine.claims.claim import Claim, Evidence, Verdict
from poolwise.machine.claims.program import program, run_program
from poolwise.machine.claims.rules import KINDS, Kind
from poolwise.machine.claims.text import LANGUAGES, Language, Text
from poolwise.machine.measured import Measured

#: Every statement, in the order of the article.
CLAIMS: tuple[Claim, ...] = (
    *whole.OPENING,
    *definition.CLAIMS,
    *cost.CLAIMS,
    *communication.CLAIMS,
    *concurrency.CLAIMS,
    *suitability.CLAIMS,
    *implementation.CLAIMS,
    *whole.CLOSING,
)

_BY_ID = {each.id: each for each in CLAIMS}


def claim(id: str) -> Claim:
    """Return the claim of that id; small letters will do.

    Raises:
        ValueError: there is no such claim; the text lists those that exist.
    """
    found = _BY_ID.get(id.strip().upper())
    if found is None:
        raise ValueError(f"there is no claim {id!r}; there are {', '.join(_BY_ID)}")
    return found


def judge(measured: Measured) -> tuple[Verdict, ...]:
    """Return what is said of each claim on this machine; nothing is measured."""
    return tuple(each.judge(measured) for each in CLAIMS)


__all__ = [
    "CLAIMS",
    "KINDS",
    "LANGUAGES",
    "Claim",
    "Evidence",
    "Kind",
    "Language",
    "Measured",
    "Text",
    "Verdict",
    "claim",
    "judge",
    "program",
    "run_program",
]
