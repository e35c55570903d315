"""Measuring all dimensions, each in a program of its own.

So the figures do not depend on what the caller has loaded and started, folders, limits and signal
handlers may be changed on the way, and a measurement that dies takes nothing along. The programs
end with this process at the latest, and whatever they have started ends with them.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

from poolwise.machine import here, store
from poolwise.machine.facts import read_facts
from poolwise.machine.fingerprint import fingerprint_of
from poolwise.machine.measured import Measured
from poolwise.machine.profile import DIMENSIONS, MachineProfile, costs_of
from poolwise.mechanisms.signals import no_signals
from poolwise.timing.repeat import Effort
from poolwise.units import Seconds
from poolwise.worker import Worker

#: No dimension takes a quarter of it; what lasts longer hangs.
_PATIENCE: Seconds = 90.0

#: What a program that is interrupted may take to remove what it has made.
_GRACE: Seconds = 1.0


def measure_machine(
    effort: Effort, report: Callable[[str, int, int], object] | None = None
) -> MachineProfile:
    """Measure every dimension, and keep the profile.

    `report` is told the name of each dimension before it is measured, how many there were before
    it, and how many there are; what it raises ends the measurement.
    """
    facts = read_facts()
    found: dict[str, Any] = {}
    for number, name in enumerate(DIMENSIONS):
        if report is not None:
            report(name, number, len(DIMENSIONS))
        found[name] = _in_a_program(name, effort)
    measured = Measured(facts, **found)
    profile = MachineProfile(
        facts, **found, costs=costs_of(measured), fingerprint=fingerprint_of(facts)
    )
    store.save(profile)
    here.forget()
    return profile


def _in_a_program(name: str, effort: Effort) -> Any:
    """Return the record of a dimension; ``None`` and a warning if none can be had."""
    program = Worker(_measure, (name, effort), mechanism="process", daemon=True)
    started = False
    try:
        with no_signals():  # it unblocks them when it can be interrupted in peace
            program.start()
            started = True
        return program.result(_PATIENCE)
    except Exception as error:
        logger = logging.getLogger("poolwise")
        logger.warning("%s cannot be measured here: %s: %s", name, type(error).__name__, error)
        return None
    finally:
        if started and program.is_alive():
            _end(program)


def _end(program: Worker[Any]) -> None:
    program.send_signal(signal.SIGTERM)
    try:
        program.join(_GRACE)
    finally:
        program.kill()
        program.join()


def _measure(name: str, effort: Effort) -> Any:
    """Measure one dimension; in the main thread of the program."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return getattr(import_module(f"poolwise.machine.{name}"), f"measure_{name}")(effort)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    # Quietly, and through every `finally` on the way.
    raise SystemExit(128 + number)
