"""Whether calls change what they are given, or what they share with the program.

A call that counts in a global, or fills a list that it was given, does so in a loop. In a worker
process the change would be lost, and threads would race on it.
"""

from __future__ import annotations

from collections.abc import Callable

from poolwise.mechanisms.module_state import variables_of
from poolwise.probe.picture import picture
from poolwise.task import Columns, Refusal, Task
from poolwise.units import Bytes

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
        self._before: list[object] | None = None
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
            "each call changes its arguments, or variables that it shares with the program",
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
        if _picture(task.function, columns) == before:
            self._clean = True
        else:
            self._changes += 1


def _picture(function: Callable[..., object], columns: Columns) -> list[object]:
    return [_seen(value) for value in (columns, *variables_of(function))]


def _seen(value: object) -> object:
    """Return something that is equal as long as `value` is."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return value
    try:
        return picture(value, _LARGEST, _LARGEST)
    except Exception:  # too large, or it does not pickle
        return None
