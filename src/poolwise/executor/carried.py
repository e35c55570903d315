"""Functions as they are sent to processes: with the modules that they use as they are now."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter
from types import FunctionType
from typing import Any, TypeAlias

from _poolwise_worker.apply import apply
from _poolwise_worker.state import ModuleState, Places
from poolwise.mechanisms.carried import Applying, Brought, Carried
from poolwise.mechanisms.module_state import Watched, module_state
from poolwise.task import Task
from poolwise.units import Bytes

#: What goes along with every batch must be small: so much pickles, travels and is read in about
#: 0.1 ms. Larger values go once to each worker.
_ALONG: Bytes = 64 << 10

#: While calls run, modules are looked at again after so many times as long as looking takes, so
#: that it costs a per cent of the time: before almost every batch, if what they hold is small.
_LOOK_AFTER = 100

#: The task of most calls that go to processes: functions travel as arguments.
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
    """What one function can reach, as it was when it was last looked at."""

    __slots__ = (
        "_along", "_heavy", "_light", "_look_at", "_places", "_signs", "_told", "_watched", "task",
    )  # fmt: skip

    def __init__(self, told: Told) -> None:
        self.task = APPLY  # that its calls are of
        self._told = told
        self._along: Brought | None = None
        self._places: Places = {}
        self._signs: Told = {}
        self._light: Places = {}
        self._heavy: Places = {}
        self._watched: Watched | None = None  # the function that was looked at last
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
        changed = False
        if places is not self._places and places != self._places:
            light, heavy = _split(places)
            changed = heavy != self._heavy
            self._places, self._signs = places, _signs_of(places)
            self._light, self._heavy = light, heavy
        # Told anew even if it is the same: meanwhile another function may have told otherwise.
        self._along = Brought((version, self._light)) if self._light else None
        if self._heavy and not changed:
            told, signs = self._told, _signs_of(self._heavy)
            changed = any(told.get(place) != sign for place, sign in signs.items())
        self._told.update(self._signs)
        if changed:
            name = Task(function).name
            heavy = self._heavy
            self.task = Task(Applying((version, heavy), name)) if heavy else APPLY
        self._look_at = now + _LOOK_AFTER * (perf_counter() - now)

    def _state_of(self, function: Callable[..., Any]) -> ModuleState:
        """Take the state. Only a function that its module keeps anyway is kept here."""
        if self._watched is None or self._watched.function is not function:
            self._watched = Watched(function) if _is_kept_by_its_module(function) else None
        return module_state(function) if self._watched is None else self._watched.state()

    def carried(self, function: Callable[..., Any]) -> object:
        """Return what to send for `function`: itself, if nothing has to go along."""
        return Carried(self._along, function) if self._along is not None else function


def _is_kept_by_its_module(function: Callable[..., Any]) -> bool:
    if type(function) is not FunctionType:
        return False
    module = sys.modules.get(function.__module__)
    return module is not None and vars(module).get(function.__qualname__) is function


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
