"""``poolwise wisdom``: what runs have taught, to be seen, forgotten, carried elsewhere."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from difflib import get_close_matches

from poolwise.cli.errors import CommandError
from poolwise.cli.output import Output, complain
from poolwise.cli.signals import Signals
from poolwise.explain.wisdom_text import wisdom_text
from poolwise.machine import this_machine
from poolwise.machine.fingerprint import fingerprint_of
from poolwise.units import plural
from poolwise.wisdom import database
from poolwise.wisdom.exchange import exported, imported


def run(arguments: Namespace, signals: Signals, stdout: int) -> int:
    """Do what is asked for; return the exit code.

    Raises:
        CommandError: wrong usage, or the file cannot be used now.
    """
    try:
        if arguments.action == "show":
            entries = database.read_all()
            _write(
                None, wisdom_text(entries, _here(), database.path() or "memory"), stdout, signals
            )
        elif arguments.action == "forget":
            _forget(arguments.operand)
        elif arguments.action == "export":
            _export(arguments.operand, stdout, signals)
        else:
            _import(arguments.operand)
    except database.Unavailable as error:
        raise CommandError(str(error), code=1) from None
    return 0


def _here() -> str:
    return fingerprint_of(this_machine().facts).short


def _forget(target: str | None) -> None:
    if target is None:
        count = database.forget()
    else:
        module, name = _subject(target)
        count = database.forget(module, name)
        if not count:
            known = {str(each.subject) for each in database.read_all()}
            near = get_close_matches(f"{module}:{name}", known, n=1)
            hint = f"is it {near[0]}?" if near else "'poolwise wisdom show' lists what is"
            raise CommandError(f"nothing is remembered of {target}; {hint}")
    complain(f"forgot {plural(count, 'plan')}")


def _subject(target: str) -> tuple[str, str]:
    """Return module and name of a function that need not exist any more."""
    place, _, name = target.rpartition(":")
    if not place or not name:
        raise CommandError(
            f"'{target}' names no function; write package.module:function or file.py:function"
        )
    if place.endswith(".py") or os.sep in place:
        place = os.path.splitext(os.path.basename(place))[0]
    return place, name


def _export(file: str, stdout: int, signals: Signals) -> None:
    entries = database.read_all()
    _write(None if file == "-" else file, exported(entries), stdout, signals)
    complain(f"exported {plural(len(entries), 'plan')}")


def _import(file: str) -> None:
    name = "standard input" if file == "-" else file
    try:
        entries = imported(_read(file))
    except OSError as error:
        raise CommandError(f"{name} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise CommandError(f"{name} cannot be imported: {error}") from None
    if len(entries) > database.MOST:
        complain(f"only the latest {database.MOST:,} plans are kept")
    added = database.merge(entries) if entries else 0
    said = f"imported {plural(added, 'plan')}"
    if later := len(entries) - added:
        said += f"; of {later:,} a run as late is remembered already"
    if others := sum(each.machine != _here() for each in entries):
        said += f"; {others:,} are for other machines or other Pythons, and of no use here"
    complain(said)


def _read(file: str) -> str:
    if file != "-":
        with open(file, encoding="utf-8") as opened:
            return opened.read()
    if sys.stdin is None:
        raise CommandError("standard input is not open")
    return sys.stdin.buffer.read().decode("utf-8")


def _write(file: str | None, text: str, stdout: int, signals: Signals) -> None:
    with Output(file, stdout, signals) as output:
        output.write(text.rstrip("\n") + "\n")
