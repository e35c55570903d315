"""Settings of this process that calls may look at, as they are now.

Working directory, environment, ``sys.path``, ``sys.argv`` and the recursion limit go with each
worker that starts. What follows may be changed by a line of the program at any time, and goes with
each function.
"""

from __future__ import annotations

import locale
import logging
import sys
import warnings
from collections.abc import Iterator

from _poolwise_worker import transfer
from _poolwise_worker.state import SETTING

#: Levels of a program that has set none. As long as it has not, no worker imports `logging`, which
#: takes it 5 ms.
_AS_IMPORTED = {"": logging.WARNING, "\0disabled": 0}
_has_levels = False


def settings() -> dict[str, tuple[int, bytes]]:
    """Return the settings by name, for the module ``""`` of a state."""
    pickled = {}
    for name, value in _settings():
        try:
            # Backwards: one of Python's own filters names ``__main__``, and whatever that is seen
            # in takes the slow way through cloudpickle.
            pickled[name] = SETTING, transfer.dumps(value)[::-1]
        except Exception:  # a warning of a class that nothing can carry
            continue
    return pickled


def _settings() -> Iterator[tuple[str, object]]:
    # From 3.14 on they may belong to a context.
    in_force = getattr(warnings, "_get_filters", lambda: warnings.filters)
    yield "warnings", list(in_force())
    yield "locale", locale.setlocale(locale.LC_ALL)
    global _has_levels
    levels = _levels()
    _has_levels = _has_levels or levels != _AS_IMPORTED
    if _has_levels:
        yield "logging", levels
    if "multiprocessing.managers" in sys.modules:  # whose objects ask for the key
        from multiprocessing.process import current_process

        yield "authkey", bytes(current_process().authkey)


def _levels() -> dict[str, int]:
    """Return the level of each logger that has one."""
    root = logging.root
    levels = {"": root.level, "\0disabled": root.manager.disable}
    for name, logger in root.manager.loggerDict.copy().items():
        if isinstance(logger, logging.Logger) and logger.level:
            levels[name] = logger.level
    return levels
