"""What a worker takes on so that it looks like this process, as it is now."""

from __future__ import annotations

import marshal
import os
import pickle
import sys
import warnings
from _locale import LC_ALL, setlocale
from functools import lru_cache
from io import TextIOWrapper
from typing import NamedTuple

from _poolwise_worker import surroundings as own
from poolwise.units import Bytes


class Surroundings(NamedTuple):
    """What `_poolwise_worker.surroundings` takes on. Equal bytes mean that it is the same, so a
    worker is told only what it has not been told; a fork of this process looks like it already.
    """

    looks: bytes
    part: bytes


def part(siblings: int, threads: int = 1, arena_limit: Bytes = 1 << 30) -> bytes:
    """Return what is the part of a worker of so many threads beside so many siblings, whose results
    may take so much shared memory; if this is a worker too, each of its own siblings may have as
    many.
    """
    siblings *= own.siblings
    return marshal.dumps((siblings, arena_limit, _inner_threads(siblings * threads)), 2)


def part_for_server(siblings: int, threads: int = 1, arena_limit: Bytes = 1 << 30) -> bytes:
    """Return `part`, if a server may take it on for all its workers; else nothing.

    Where libraries may have several threads, they would start these in the server, which is to have
    one; and where they are free, the server would undo what spares its later workers 7 ms each.
    """
    limits = set(_inner_threads(siblings * own.siblings * threads).values())
    return part(siblings, threads, arena_limit) if limits == {1} else b""


def looks() -> bytes:
    """Return what this process looks like."""
    try:
        folder = os.getcwd()
    except OSError:
        folder = ""
    return marshal.dumps(
        {
            "plain_output": plain_output(),
            "cwd": folder,
            "umask": _umask(),
            "arithmetic": own.arithmetic_here(),
            # What `os.environb` copies item by item, through two layers of Python.
            "environ": dict(os.environb._data),  # type: ignore[attr-defined]
            # Anything may lie in these lists; `marshal` takes plain strings only.
            "path": [str(entry) for entry in sys.path if isinstance(entry, str)],
            "argv": [str(argument) for argument in getattr(sys, "argv", ())],
            "recursionlimit": sys.getrecursionlimit(),
            "digits": sys.get_int_max_str_digits(),
            "locale": setlocale(LC_ALL),
            "warnings": [_sendable(each) for each in warnings.filters],
            "logging": _levels(),
            "authkey": _authkey(),
        },
        # Without references between equal objects, which depend on how often each is held.
        2,
    )


def plain_output() -> tuple[bool, bool]:
    """Return whether standard output and error are those that this process was started with."""
    return _is_plain(sys.stdout, 1), _is_plain(sys.stderr, 2)


def _is_plain(stream: object, descriptor: int) -> bool:
    try:
        return type(stream) is TextIOWrapper and stream.fileno() == descriptor
    except (OSError, ValueError):  # closed
        return False


def _umask() -> int | None:
    """Return which rights new files are not given; ``None`` if the system does not tell.

    Not by ``os.umask``, which tells only while it sets another: other threads make files.
    """
    try:
        status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        _, found, rest = os.read(status, 256).partition(b"\nUmask:")
    finally:
        os.close(status)
    return int(rest.split(None, 1)[0], 8) if found else None


#: What libraries read when they are loaded: OpenMP, OpenBLAS, MKL, BLIS, Accelerate, NumExpr.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def _inner_threads(calls: int) -> dict[str, int]:
    """Return how many threads libraries may use in a call, so that all calls together use each CPU
    once; by variable. Variables that the user has set are left alone.
    """
    if calls == 1:
        return {}
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = max(1, cpus // calls)
    return {name: most for name in _THREAD_VARIABLES if name not in os.environ}


@lru_cache(64)
def _sendable(filter: tuple[object, ...]) -> tuple[str, bytes]:
    """Return the module of its category, and the filter; nothing if only this process has it."""
    try:
        return str(getattr(filter[2], "__module__", "")), pickle.dumps(filter)
    except Exception:
        return "", b""


def _authkey() -> bytes | None:
    """Return what objects of a `multiprocessing` manager ask of whoever uses them, if there may be
    some.
    """
    if "multiprocessing.managers" not in sys.modules:
        return None
    from multiprocessing.process import current_process

    return bytes(current_process().authkey)


def _levels() -> tuple[int, dict[str, int]] | None:
    """Return what `logging` is disabled for and the levels that were set; none if it is unused."""
    logging = sys.modules.get("logging")
    if logging is None or not hasattr(logging, "root"):  # or just being imported elsewhere
        return None
    levels = {
        name: logger.level
        for name, logger in list(logging.root.manager.loggerDict.items())
        if getattr(logger, "level", 0)
    }
    if logging.root.level != logging.WARNING:
        levels[""] = logging.root.level
    disabled = logging.root.manager.disable
    return (disabled, levels) if levels or disabled else None
