"""Pickling plain data, which runs no code of the user's, so that any thread may do it, whatever
locks its caller holds.
"""

from __future__ import annotations

from _pickle import Pickler
from typing import NoReturn

from poolwise.units import Bytes

#: What is larger takes so long that a thread is better woken for it.
_SHORT: Bytes = 4 << 10


class _Unlike(Exception):
    """It is not plain, or not short."""


#: What is raised here, or where a thing is nested too deeply or changed by another thread. Not all
#: exceptions: others are a signal handler's.
_GIVEN_UP = _Unlike, RuntimeError, MemoryError


class _Plain(Pickler):
    """Is asked for whatever is not exactly of a type that needs no code but C's: numbers, texts,
    bytes, ``None``, and tuples, lists, dicts and sets.
    """

    def reducer_override(self, thing: object) -> NoReturn:
        raise _Unlike


class _Short:
    """Is written to at the end, or when 64 KiB have come together."""

    data = b""

    def write(self, data: bytes) -> None:
        if len(self.data) + len(data) > _SHORT:  # what is large comes by itself
            raise _Unlike
        self.data += data


def dumps_plain(value: object) -> bytes | None:
    """Pickle `value`, if it is short and consists of plain data only; else return ``None``."""
    file = _Short()
    try:
        _Plain(file, 5).dump(value)
    except _GIVEN_UP:
        return None
    return file.data
