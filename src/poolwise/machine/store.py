"""Where profiles are kept between runs: a file for each fingerprint in the user's cache folder.

What cannot be kept there is kept in memory. What cannot be trusted is set aside, never fatal.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

from _poolwise_worker.errors import PoolwiseError
from poolwise.machine.cache import cache_folder
from poolwise.machine.costs import PoolCosts
from poolwise.machine.fingerprint import Fingerprint
from poolwise.machine.profile import MachineProfile, read_document

#: Profiles measured in this process, by the file they would be in. One dict operation at a time,
#: so any thread may use it; a child of a fork has what its parent had.
_kept: dict[str, MachineProfile] = {}


def save(profile: MachineProfile) -> None:
    """Keep a profile for this process, and for later ones if the folder can be written.

    The file is there as a whole or not at all. A quick profile does not take the place of a full
    one.
    """
    assert profile.fingerprint is not None
    if profile.quick:
        there = load(profile.fingerprint)
        if there is not None and not there.quick:
            return
    name = _name(profile.fingerprint)
    _kept[name] = profile
    folder = cache_folder()
    try:
        if folder is None:
            raise OSError("there is no home folder and no POOLWISE_CACHE")
        _write(folder, name, json.dumps(profile.to_document(), allow_nan=False))
    except OSError as error:
        import logging

        logger = logging.getLogger("poolwise")
        logger.debug("the machine profile is kept in memory only: %s", error)


def load(fingerprint: Fingerprint) -> MachineProfile | None:
    """Return the profile that was kept for a fingerprint, if there is one that can be trusted."""
    name = _name(fingerprint)
    if name in _kept:
        return _kept[name]
    text = _read(name)
    if text is None:
        return None
    try:
        document = _trusted(text, fingerprint)
        return MachineProfile.from_document(document)
    except (ValueError, PoolwiseError) as error:
        _set_aside(name, error)
        return None


def load_costs(fingerprint: Fingerprint) -> PoolCosts | None:
    """Return only the costs, which takes a fraction of the time."""
    name = _name(fingerprint)
    if name in _kept:
        return _kept[name].costs
    text = _read(name)
    if text is None:
        return None
    from poolwise.machine.record_json import from_plain  # as in `_trusted`

    try:
        return from_plain(PoolCosts, _trusted(text, fingerprint).get("costs"))
    except (ValueError, PoolwiseError) as error:
        _set_aside(name, error)
        return None


def _name(fingerprint: Fingerprint) -> str:
    return f"profile-{fingerprint.short}.json"


def _read(name: str) -> str | None:
    folder = cache_folder()
    if folder is None:
        return None
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _trusted(text: str, fingerprint: Fingerprint) -> dict[str, Any]:
    """Return the document if it is of this machine.

    Raises:
        ValueError: it is damaged.
        StaleProfile: it is foreign.
    """
    from poolwise.machine.record_json import from_plain  # every run asks, few find a profile

    document = read_document(text)
    fingerprint.require(from_plain(Fingerprint, document.get("fingerprint")))
    costs = from_plain(PoolCosts, document.get("costs"))
    wrong = [name for name in PoolCosts.__slots__ if not getattr(costs, name) > 0.0]
    if wrong:
        raise ValueError(f"costs.{wrong[0]} is not more than 0")
    return document


def _write(folder: str, name: str, text: str) -> None:
    import tempfile  # some milliseconds; every run reads, few write

    os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor, path = tempfile.mkstemp(prefix=f".{name}-", dir=folder)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(path, os.path.join(folder, name))
    except BaseException:  # Ctrl-C too
        with suppress(OSError):
            os.unlink(path)
        raise


def _set_aside(name: str, error: Exception) -> None:
    import logging

    folder = cache_folder()
    assert folder is not None
    path = os.path.join(folder, name)
    aside = path.removesuffix(".json") + ".set-aside"
    try:
        os.replace(path, aside)
        where = f"set aside as {aside}"
    except OSError:
        where = "ignored"
    logging.getLogger("poolwise").warning("the machine profile %s is %s: %s", path, where, error)
