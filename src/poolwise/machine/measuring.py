"""Measuring all dimensions, each in a program of its own.

So the figures do not depend on what the caller has loaded and started, folders, limits and signal
handlers may be changed on the way, and a measurement that dies takes nothing along. The programs
end with this process at the latest, and whatever they have started ends with them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any

from poolwise.errors import ChannelClosed
from poolwise.machine import here, store
from poolwise.machine.facts import read_facts
from poolwise.machine.fingerprint import fingerprint_of
from poolwise.machine.measured import Measured
from poolwise.machine.profile import DIMENSIONS, MachineProfile, costs_of
from poolwise.machine.seed import Failed, Seed
from poolwise.timing.repeat import NORMAL, Effort


def measure_machine(
    effort: Effort, report: Callable[[str, int, int], object] | None = None
) -> MachineProfile:
    """Measure every dimension, and keep the profile.

    `report` is told the name of each dimension before it is measured, how many there were before
    it, and how many there are; what it raises ends the measurement.
    """
    facts = read_facts()
    found: dict[str, Any] = {}
    with Seed(_measure) as seed:
        for number, name in enumerate(DIMENSIONS):
            if report is not None:
                report(name, number, len(DIMENSIONS))
            found[name] = _from(seed, name, effort)
    measured = Measured(facts, **found)
    profile = MachineProfile(
        facts,
        **found,
        costs=costs_of(measured),
        fingerprint=fingerprint_of(facts),
        quick=effort.least < NORMAL.least,
    )
    store.save(profile)
    here.forget()
    return profile


def _from(seed: Seed, name: str, effort: Effort) -> Any:
    """Return the record of a dimension; ``None`` and a warning if none can be had."""
    try:
        return seed.measure(name, effort)
    except (Failed, ChannelClosed) as error:
        # The text, not the error: whoever keeps the record would keep all that its frames hold.
        logging.getLogger("poolwise").warning("%s cannot be measured here: %s", name, str(error))
        return None


def _measure(name: str, effort: Effort) -> Any:
    """Measure one dimension; in the main thread of the program."""
    return getattr(import_module(f"poolwise.machine.{name}"), f"measure_{name}")(effort)
