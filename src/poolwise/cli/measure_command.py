"""``poolwise measure``: this machine in six dimensions, and the article's statements beside it."""

from __future__ import annotations

import json
import locale
import os
import sys
from argparse import Namespace

from poolwise.api.machine import measure
from poolwise.cli.errors import CommandError
from poolwise.cli.output import Output
from poolwise.cli.signals import Signals
from poolwise.explain.claims_text import claim_text
from poolwise.explain.languages import language_of
from poolwise.explain.profile_text import profile_text
from poolwise.machine import MachineProfile, read_facts, store
from poolwise.machine.claims import Language, claim, program, run_program
from poolwise.machine.fingerprint import fingerprint_of
from poolwise.machine.profile import DIMENSIONS


def run(arguments: Namespace, signals: Signals, stdout: int) -> int:
    """Measure, and write what came of it; return the exit code.

    Raises:
        CommandError: there is no such claim.
        Stopped: a signal came.
    """
    language = arguments.lang or _language()
    if arguments.claim is None:
        profile = _measured(arguments)
        text = profile.to_json() if arguments.json else profile_text(profile, language)
        _write(text, stdout, signals)
        return 0
    try:
        id = claim(arguments.claim).id
    except ValueError as error:
        raise CommandError(str(error)) from None
    if arguments.code:
        _write(program(id), stdout, signals)
        return 0
    if arguments.run:
        return _run_program(id, stdout)
    profile = _kept() or _measured(arguments)
    if arguments.json:
        document = json.loads(profile.to_json())
        (found,) = (each for each in document["claims"] if each["id"] == id)
        _write(json.dumps(found, indent=1, ensure_ascii=False), stdout, signals)
    else:
        (verdict,) = (each for each in profile.claims if each.claim.id == id)
        _write(claim_text(verdict, language), stdout, signals)
    return 0


def _measured(arguments: Namespace) -> MachineProfile:
    if sys.stderr is None or not sys.stderr.isatty():
        return measure(arguments.quick, progress=True)
    try:
        return measure(arguments.quick, progress=_show_step)
    finally:
        sys.stderr.write(_CLEAR)
        sys.stderr.flush()


#: Has a terminal begin the line anew.
_CLEAR = "\r\x1b[K"


def _show_step(name: str, done: int, total: int) -> None:
    """Write one line again and again."""
    bar = "#" * (done + 1) + "-" * (total - done - 1)
    sys.stderr.write(f"{_CLEAR}poolwise: measuring [{bar}] {name}")
    sys.stderr.flush()


def _kept() -> MachineProfile | None:
    """Return the profile that was kept, if all of it was measured."""
    profile = store.load(fingerprint_of(read_facts()))
    if profile is None or any(getattr(profile, name) is None for name in DIMENSIONS):
        return None
    return profile


def _run_program(id: str, stdout: int) -> int:
    """Run the program of a claim, with standard output as the command got it."""
    os.dup2(stdout, 1)
    try:
        return 1 if run_program(id) else 0
    finally:
        os.dup2(2, 1)


def _write(text: str, stdout: int, signals: Signals) -> None:
    with Output(None, stdout, signals) as output:
        output.write(text.rstrip("\n") + "\n")


def _language() -> Language:
    """Return the language of the messages, as the environment says."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return language_of(value)
    try:
        return language_of(locale.getlocale()[0])
    except ValueError:
        return "en"
