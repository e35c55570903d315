"""What this process remembers: at once for itself, and in the file for others.

Whoever runs a map asks and tells; nothing here ever fails. Entries reach the file when a long run
ends, and else when the process does: to load SQLite takes 1 to 7 ms, which short maps would notice.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable

from poolwise.machine import Facts
from poolwise.machine.fingerprint import fingerprint_of
from poolwise.units import Seconds
from poolwise.wisdom.entry import Entry, key_of
from poolwise.wisdom.inputs import MOST_KINDS
from poolwise.wisdom.subject import subject_of

#: Functions remembered in this process.
_MOST = 256

#: What is known, by key, the latest first; nothing if the file has been asked and knows nothing.
#: Any thread may use these two, one dict operation at a time; who loses a race looks into the file
#: once more, or learns again. A child of a fork has what its parent had.
_known: dict[str, tuple[Entry, ...]] = {}

#: CPU seconds of a function's calls in this process, by key. A thread that loses a race with
#: another loses what one run has used.
_spent: dict[str, Seconds] = {}

#: What is not in the file yet, by key and kind of inputs, and whose it is: a child of a fork must
#: not write it too.
_pending: dict[tuple[str, str], Entry] = {}
_owner: list[int] = []


def recall(function: Callable[..., object], facts: Facts, inputs: str = "") -> Entry | None:
    """Return what is known of `function` on the machine with these facts; ``None`` if nothing is.

    That for such `inputs`, if there have been some, else that of the latest run. Takes some 0.1 ms,
    where the file has something 1 ms for the first time in a process; 2 to 10 ms where its copy is
    stale: SQLite is loaded.
    """
    subject = subject_of(function)
    key = key_of(subject, fingerprint_of(facts).short)
    if key not in _known:
        _make_room()
        _known[key] = _look_up(key) if subject.lasting else ()
    known = _known.get(key, ())
    return next((each for each in known if each.inputs == inputs), next(iter(known), None))


def keep(entry: Entry, *, at_once: bool) -> None:
    """Remember an entry in this process, and for others: with `at_once` now, else at the end."""
    key = entry.key
    _make_room()
    _known[key] = (entry, *_others(entry))[:MOST_KINDS]
    _spent[key] = _spent.get(key, 0.0) + entry.calls * entry.profile.cpu
    if not entry.subject.lasting:
        return
    if _owner != [os.getpid()]:
        if not _owner:
            atexit.register(flush)
        _pending.clear()
        _owner[:] = [os.getpid()]
    _pending[key, entry.inputs] = entry
    if at_once:
        flush()


def drop(entry: Entry) -> None:
    """Forget in this process what has turned out to be wrong; its next run learns anew."""
    _known[entry.key] = _others(entry)
    _pending.pop((entry.key, entry.inputs), None)


def spent(entry: Entry) -> Seconds:
    """Return how much CPU time runs of the function have used in this process: whoever maps again
    and again is likely to go on.
    """
    return _spent.get(entry.key, 0.0)


def flush() -> None:
    """Write what is not in the file yet; what cannot be written now is tried again later."""
    if not _pending or _owner != [os.getpid()]:
        return
    from poolwise.wisdom import database

    waiting = list(_pending.values())
    try:
        database.write(waiting)
    except database.Unavailable:  # has been logged
        return
    for each in waiting:
        if _pending.get((each.key, each.inputs)) is each:
            del _pending[each.key, each.inputs]


def forget_all() -> None:
    """Forget what this process knows; the file stays as it is."""
    _known.clear()
    _spent.clear()
    _pending.clear()


def _others(entry: Entry) -> tuple[Entry, ...]:
    return tuple(each for each in _known.get(entry.key, ()) if each.inputs != entry.inputs)


def _look_up(key: str) -> tuple[Entry, ...]:
    from poolwise.wisdom import database

    copied = database.copied(key)
    if copied is not None:
        return tuple(copied)
    if not database.may_hold(key):
        return ()
    try:
        return tuple(database.read(key))
    except database.Unavailable:
        return ()


def _make_room() -> None:
    for known in (_known, _spent, _pending):
        if len(known) >= _MOST:
            known.clear()  # one step; which ones go does not matter
