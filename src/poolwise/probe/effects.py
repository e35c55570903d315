"""Whether calls change what they are given, or what they share with the program.

A call that counts in a global, or fills a list that it was given, does so in a loop. In a worker
process the change would be lost, and threads would race on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import chain
from typing import TypeAlias

from _poolwise_worker.timeouts import kind
from poolwise.mechanisms.module_state import variables_of
from poolwise.probe.look import Look
from poolwise.task import Columns, Refusal, Task

#: A variable's name, or a word for it, and something that is equal as long as its value is.
_Seen: TypeAlias = tuple[str, object]

#: So many variables are named; a reader who finds these finds the others.
_NAMED = 3

#: A change at the first call may be a lazy initialisation. So many in a row are a habit.
_HABIT = 3

#: So many calls that change nothing are not a habit of changing something: the first one alone may
#: have written what was there already, as ``out[0] = 0`` does.
_INNOCENT = 2


class EffectWatch:
    """Compares before and after single calls, until several in a row all changed something, or one
    did not after others did, or the first two did not.

    Cannot see: objects that do not pickle; what C code keeps; files, databases and whatever else is
    outside of Python's variables. Of what is large it sees a part; `partly` has the names of that.
    """

    def __init__(self) -> None:
        self.partly: tuple[str, ...] = ()
        self._before: list[_Seen] | None = None
        self._changed: list[str] = []  # by the latest call
        self._changes = 0  # in a row
        self._unchanged = 0

    @property
    def undecided(self) -> bool:
        """Whether every call so far has changed something, but too few have run to say more."""
        return 0 < self._changes < _HABIT

    @property
    def refusal(self) -> Refusal | None:
        """Say why only a plain loop will do, or ``None``."""
        if self._changes < _HABIT:
            return None
        return Refusal(
            f"each call changes {_listed(self._changed)}",
            "return what is new instead; or pin a plan, if it does not matter",
        )

    def before(self, task: Task, columns: Columns) -> None:
        """Look at one call that is about to run."""
        decided = self._unchanged == _INNOCENT or self._changes == _HABIT
        if not decided and len(columns[0]) == 1:
            self._before = self._look(task.function, columns)

    def after(self, task: Task, columns: Columns) -> None:
        """Look again, after the call of the latest `before`."""
        if self._before is None:
            return
        before, self._before = self._before, None
        after = self._look(task.function, columns)
        if after == before:
            self._unchanged = _INNOCENT if self._changes else self._unchanged + 1
            self._changes = 0
        else:
            self._changes += 1
            self._changed = _differing(before, after)

    def _look(self, function: Callable[..., object], columns: Columns) -> list[_Seen]:
        """Look at variables first: calls may fill these bit by bit, which takes a closer look than
        what they do with their arguments.
        """
        look = Look()
        # The classes of the arguments, too: what their methods may change.
        reached: list[Callable[..., object]] = [
            function,
            *{type(value) for column in columns for value in column},
        ]
        named = [
            (name or f"{kind(value)} that the function holds", value)
            for name, value in chain.from_iterable(map(variables_of, reached))
        ]
        named.append(("its arguments", columns))
        named.append(("os.environ", dict(os.environ._data)))  # type: ignore[attr-defined]
        seen = [(name, look.at(name, value)) for name, value in named]
        self.partly = tuple(look.partly)
        return seen


def _differing(before: list[_Seen], after: list[_Seen]) -> list[str]:
    """Return the names of what changed, came or went; each once."""
    came = [name for name, seen in after if (name, seen) not in before]
    went = [name for name, seen in before if (name, seen) not in after]
    return [*dict.fromkeys(came + went)]


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
