"""Entries made by hand."""

from __future__ import annotations

from poolwise.plan import Plan
from poolwise.probe import Payload, TaskProfile
from poolwise.wisdom import Entry, Subject

PROFILE = TaskProfile(14, 7.5e-3, 2.4e-3, 0.0, 2.1e-3, 2.4e-3, Payload(1e-5, 2e-5, 1200, 90), 812.0)


def an_entry(
    name: str,
    *,
    machine: str = "here",
    at: float = 1.0,
    calls: int = 100,
    module: str = "module",
    inputs: str = "",
) -> Entry:
    """What a run has taught of ``module:name``."""
    subject = Subject(module, name, "0123456789abcdef")
    return Entry(subject, machine, PROFILE, True, Plan("process", 2, 8), calls, 2.0, at, inputs)
