"""Whether calls change what they are given, or what they share with the program.

A call that counts in a global, or fills a list that it was given, does so in a loop. In a worker
process the change would be lost, and threads would race on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from _poolwise_worker.timeouts import kind
from poolwise.mechanisms.module_state import variables_of
from poolwise.probe.picture import picture
from poolwise.task import Columns, Refusal, Task
from poolwise.units import Bytes

#: A variable's name, or a word for it, and something that is equal as long as its value is.
_Seen: TypeAlias = tuple[str, object]

#: So many variables are named; a reader who finds these finds the others.
_NAMED = 3

#: Nothing larger is looked at: pickling so much takes about a millisecond.
_LARGEST: Bytes = 1 << 20

#: A change at the first call may be a lazy initialisation. So many in a row are a habit.
_HABIT = 3


class EffectWatch:
    """Compares before and after single calls, until one changes nothing or several all did.

    Cannot see: objects that do not pickle, or are large; what C code keeps; files, databases and
    whatever else is outside of Python's variables.
    """

    def __init__(self) -> None:
        self._before: list[_Seen] | None = None
        self._changed: list[str] = []  # by the latest call
        self._changes = 0
        self._clean = False

    @property
    def undecided(self) -> bool:
        """Whether every call so far has changed something, but too few have run to say more."""
        return not self._clean and 0 < self._changes < _HABIT

    @property
    def refusal(self) -> Refusal | None:
        """Say why only a plain loop will do, or ``None``."""
        if self._clean or self._changes < _HABIT:
            return None
        return Refusal(
            f"each call changes {_listed(self._changed)}",
            "return what is new instead; or pin a plan, if it does not matter",
        )

    def before(self, task: Task, columns: Columns) -> None:
        """Look at one call that is about to run."""
        if not self._clean and self._changes < _HABIT and len(columns[0]) == 1:
            self._before = _picture(task.function, columns)

    def after(self, task: Task, columns: Columns) -> None:
        """Look again, after the call of the latest `before`."""
        if self._before is None:
            return
        before, self._before = self._before, None
        after = _picture(task.function, columns)
        if after == before:
            self._clean = True
        else:
            self._changes += 1
            self._changed = _differing(before, after)


def _picture(function: Callable[..., object], columns: Columns) -> list[_Seen]:
    arguments = [("its arguments", _seen(columns))]
    return arguments + [
        (name or f"{kind(value)} that the function holds", _seen(value))
        for name, value in variables_of(function)
    ]


def _differing(before: list[_Seen], after: list[_Seen]) -> list[str]:
    """Return the names of what changed, came or went; each once."""
    came = [name for name, seen in after if (name, seen) not in before]
    went = [name for name, seen in before if (name, seen) not in after]
    return [*dict.fromkeys(came + went)]


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _seen(value: object) -> object:
    """Return something that is equal as long as `value` is."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return value
    try:
        return picture(value, _LARGEST, _LARGEST)
    except Exception:  # too large, or it does not pickle
        return None
