"""Settings of a whole process that calls may look at: brought to what they are in the caller."""

from __future__ import annotations

import _locale
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Loggers whose level came from the caller: it may have none there by now.
_levelled: set[str] = set()


def put(name: str, value: Any) -> None:
    """Make one setting what it is in the caller.

    Raises whatever the setting raises.
    """
    _SETTERS[name](value)


class _OfForking:
    """Matches the warning that forks beside threads are dangerous. In a loop there are no others;
    here is the one that waits for recalls, and a child is told to let go of what it uses.

    A compiled pattern would have each worker import `re`.
    """

    def match(self, text: str) -> bool:
        """Whether a warning says so."""
        return text.startswith("This process (pid=") and "is multi-threaded" in text


def _set_warnings(filters: list[Any]) -> None:
    warnings.resetwarnings()
    of_forking = ("ignore", _OfForking(), DeprecationWarning, None, 0)
    warnings.filters.extend([of_forking, *filters])  # type: ignore[attr-defined]


def _set_logging(levels: dict[str, int]) -> None:
    import logging

    logging.disable(levels.pop("\0disabled"))
    for name in _levelled - levels.keys():
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    _levelled.update(levels)


def _set_locale(locale: str) -> None:
    _locale.setlocale(_locale.LC_ALL, locale)


def _set_authkey(key: bytes) -> None:
    from multiprocessing.process import current_process

    current_process().authkey = key


_SETTERS: dict[str, Callable[[Any], None]] = {
    "warnings": _set_warnings,
    "logging": _set_logging,
    "locale": _set_locale,
    "authkey": _set_authkey,
}
