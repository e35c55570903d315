"""The one list of mechanisms; each is imported when it is first asked for."""

from __future__ import annotations

from poolwise.mechanisms.protocol import Mechanism
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
            from poolwise.mechanisms.inline import InlineMechanism

            return InlineMechanism()
        case "thread":
            from poolwise.mechanisms.thread import ThreadMechanism

            return ThreadMechanism()
        case "process":
            from poolwise.mechanisms.process import ProcessMechanism

            return ProcessMechanism()
        case _:
            raise ValueError(f"unknown mechanism {name!r}; there are {', '.join(MECHANISMS)}")
