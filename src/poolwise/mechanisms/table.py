"""The one list of mechanisms."""

from __future__ import annotations

from poolwise.mechanisms.inline import InlineMechanism
from poolwise.mechanisms.process import ProcessMechanism
from poolwise.mechanisms.protocol import Mechanism
from poolwise.mechanisms.thread import ThreadMechanism
from poolwise.plan import MECHANISMS


def mechanism(name: str) -> Mechanism:
    """Return the mechanism that plans call `name`.

    Raises:
        ValueError: there is none; the text lists those that there are.

    >>> mechanism("thread").name
    'thread'
    """
    match name:
        case "inline":
            return InlineMechanism()
        case "thread":
            return ThreadMechanism()
        case "process":
            return ProcessMechanism()
        case _:
            raise ValueError(f"unknown mechanism {name!r}; there are {', '.join(MECHANISMS)}")
