"""Functions as they are sent to processes: with the modules that they use as they are now."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter
from types import BuiltinFunctionType, FunctionType
from typing import Any, TypeAlias

from _poolwise_worker.apply import apply
from _poolwise_worker.state import ModuleState, Places
from poolwise.mechanisms.carried import Applied, Applying, Brought, Carried
from poolwise.mechanisms.module_state import Watched, module_state
from poolwise.task import Task
from poolwise.units import Bytes

#: What goes along with every batch must be small: so much pickles, travels and is read in about
#: 0.1 ms. Larger values go once to each worker.
_ALONG: Bytes = 64 << 10

#: While calls run, modules are looked at again after so many times as long as looking takes, so
#: that it costs a per cent of the time: before almost every batch, if what they hold is small.
_LOOK_AFTER = 100

#: The task of calls whose functions travel as arguments.
APPLY = Task(apply)


#: By module and path, what workers of an executor were told last of each place, for whichever
#: function: what one has brought, another may have overwritten, and then it is brought again.
Told: TypeAlias = dict[tuple[str, str], object]


def _signs_of(places: Places) -> Told:
    return {
        (module, path): data if isinstance(data, bytes) else data.sign
        for module, entries in places.items()
        for path, (_, data) in entries.items()
    }


class Reach:
    """What one function can reach, as it was when it was last looked at.

    What changes from look to look goes along with every batch; a worker may not know it. What is
    as it was goes to each worker once, and the function with it if workers find it by its name:
    then its calls are those of a task of their own, `applied`, and bring nothing but arguments.
    """

    __slots__ = (
        "_along",
        "_heavy",
        "_light",
        "_look_at",
        "_places",
        "_signs",
        "_told",
        "_watched",
        "applied",
        "function",
        "task",
    )  # fmt: skip

    def __init__(self, told: Told) -> None:
        self.task = APPLY  # of calls that bring their functions
        self.applied: Task | None = None  # of calls of `function`, for as long as nothing changes
        self.function: Callable[..., Any] | None = None  # the last one that is found by its name
        self._told = told
        self._along: Brought | None = None
        self._places: Places = {}
        self._signs: Told = {}
        self._light: Places = {}
        self._heavy: Places = {}
        self._watched: Watched | None = None  # that function
        self._look_at = 0.0

    def look(self, function: Callable[..., Any], *, idle: bool) -> None:
        """Look again, if it is time to, or if processes were `idle`: then whoever submits has all
        results, and may have changed variables since.
        """
        now = perf_counter()
        if now < self._look_at and not idle:
            return
        try:
            version, places = self._state_of(function)
        except Exception:  # whatever a thing that looks like a function does
            version, places = 0, {}
        same, bring = places is self._places or places == self._places, False
        if not same:
            light, heavy = _split(places)
            bring = heavy != self._heavy
            self._places, self._signs = places, _signs_of(places)
            self._light, self._heavy = light, heavy
        # Meanwhile another function may have told otherwise of the same places.
        steady = same and self._is_what_was_told(self._signs)
        if not steady:
            bring = bring or not self._is_what_was_told(_signs_of(self._heavy))
            self._along = Brought((version, self._light)) if self._light else None
            self._told.update(self._signs)
        if bring:
            name, heavy = Task(function).name, self._heavy
            self.task = Task(Applying((version, heavy), name)) if heavy else APPLY
        self._apply(function, steady=steady)
        self._look_at = now + _LOOK_AFTER * (perf_counter() - now)

    def _state_of(self, function: Callable[..., Any]) -> ModuleState:
        """Take the state. Only a function that its module keeps anyway is kept here."""
        if function is not self.function:
            found = _is_found_by_name(function)
            self.function = function if found else None
            self._watched = Watched(function) if found else None
            self.applied = None
        return module_state(function) if self._watched is None else self._watched.state()

    def _is_what_was_told(self, signs: Told) -> bool:
        return signs.items() <= self._told.items()

    def _apply(self, function: Callable[..., Any], *, steady: bool) -> None:
        if not steady:
            self.applied = None
        elif self.applied is None and self.function is not None:
            try:
                self.applied = Task(Applied(function, Task(function).name))
            except Exception:  # its name has come to mean something else
                self.function = None

    def carried(self, function: Callable[..., Any]) -> object:
        """Return what to send for `function`: itself, if nothing has to go along."""
        return Carried(self._along, function) if self._along is not None else function


def _is_found_by_name(function: Callable[..., Any]) -> bool:
    """Whether it is a function that workers can import: not one of ``__main__``."""
    if type(function) is not FunctionType and type(function) is not BuiltinFunctionType:
        return False
    module = sys.modules.get(function.__module__)
    if module is None or function.__module__ == "__main__":
        return False
    return vars(module).get(function.__name__) is function


def _split(places: Places) -> tuple[Places, Places]:
    """Divide places into those that go along and those that are too heavy: the largest first."""
    size = 0
    for entries in places.values():
        for _, data in entries.values():
            size += len(data)
    if size <= _ALONG:
        return places, {}
    every = [
        (len(e[1]), m, path, e) for m, entries in places.items() for path, e in entries.items()
    ]
    light: Places = {}
    heavy: Places = {}
    for length, module, path, entry in sorted(every, key=lambda each: -each[0]):
        (heavy if size > _ALONG else light).setdefault(module, {})[path] = entry
        size -= length if size > _ALONG else 0
    return light, heavy
