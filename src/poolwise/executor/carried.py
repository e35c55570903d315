"""Functions as they are sent to processes: with the modules that they use as they are now."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter
from types import BuiltinFunctionType, FunctionType
from typing import Any, NamedTuple, TypeAlias

from _poolwise_worker import script
from _poolwise_worker.apply import apply
from _poolwise_worker.state import ModuleState, Places
from poolwise.mechanisms.carried import Applying, ApplyingOne, Brought, Carried
from poolwise.mechanisms.module_state import Watched, module_state
from poolwise.mechanisms.reads import Reads
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


#: By module and path, what tells one state of a place from another.
Signs: TypeAlias = dict[tuple[str, str], object]


class Told:
    """What workers of an executor were told last of each place, for whichever function: what one
    has brought, another may have overwritten, and then it is brought again.
    """

    def __init__(self) -> None:
        self.changes = 0  # grows whenever a place gets another state
        self._signs: Signs = {}

    def holds(self, signs: Signs) -> bool:
        """Whether these places were told like this last."""
        return signs.items() <= self._signs.items()

    def tell(self, signs: Signs) -> None:
        """Note what workers are about to be told."""
        if not self.holds(signs):
            self._signs.update(signs)
            self.changes += 1


def _signs_of(places: Places) -> Signs:
    return {
        (module, path): data if isinstance(data, bytes) else data.sign
        for module, entries in places.items()
        for path, (_, data) in entries.items()
    }


class Known(NamedTuple):
    """A function that workers keep for the calls of a task; any thread may ask whether `reads`
    hold, and it is as it was.
    """

    function: Callable[..., Any]
    task: Task
    reads: Reads


class Reach:
    """What one function can reach, as it was when it was last looked at."""

    __slots__ = (
        "_along", "_changes", "_heavy", "_known", "_light", "_look_at", "_places", "_signs",
        "_task", "_told", "_watched",
    )  # fmt: skip

    def __init__(self, told: Told) -> None:
        self._task = APPLY  # of calls that bring the function
        self._told = told
        self._changes = -1  # there were of `told` when it was looked at last
        #: A function that workers may keep, and the task of calls that bring none.
        self._known: tuple[Callable[..., Any], Task] | None = None
        self._along: Brought | None = None
        self._places: Places = {}
        self._signs: Signs = {}
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
        same = places is self._places or places == self._places
        if not (same and self._changes == self._told.changes):
            self._bring(function, version, places, same=same)
        elif not self._knows(function) and self._can_be_known(function):
            one = ApplyingOne((version, self._light), function, Task(function).name)
            self._known = function, Task(one)
        self._look_at = now + _LOOK_AFTER * (perf_counter() - now)

    def _bring(
        self, function: Callable[..., Any], version: int, places: Places, *, same: bool
    ) -> None:
        """Have the next calls bring what they reach: it has changed, or another function may have
        told otherwise.
        """
        changed = False
        if not same:
            light, heavy = _split(places)
            changed = heavy != self._heavy
            self._places, self._signs = places, _signs_of(places)
            self._light, self._heavy = light, heavy
        self._along = Brought((version, self._light)) if self._light else None
        if self._heavy and not changed:
            changed = not self._told.holds(_signs_of(self._heavy))
        self._told.tell(self._signs)
        self._changes = self._told.changes
        if changed:
            name, heavy = Task(function).name, self._heavy
            self._task = Task(Applying((version, heavy), name)) if heavy else APPLY
        self._known = None

    def _can_be_known(self, function: Callable[..., Any]) -> bool:
        """Whether workers may keep the function, which is as it was when it was looked at before.

        Not if it goes by value: then it brings variables, some of which may change unseen.
        """
        return (
            not self._heavy
            and not script.is_named(getattr(function, "__module__", None))
            and _is_kept_by_its_module(function)
        )

    def _state_of(self, function: Callable[..., Any]) -> ModuleState:
        """Take the state. Only a function that its module keeps anyway is kept here."""
        if self._watched is None or self._watched.function is not function:
            self._watched = Watched(function) if _is_kept_by_its_module(function) else None
        return module_state(function) if self._watched is None else self._watched.state()

    def known(self) -> Known | None:
        """Return the function, if to see that nothing has changed takes no more than to compare."""
        reads = None if self._watched is None else self._watched.settled
        if self._known is None or reads is None or self._changes != self._told.changes:
            return None
        return Known(*self._known, reads)

    def _knows(self, function: Callable[..., Any]) -> bool:
        return self._known is not None and self._known[0] is function

    def sent(self, functions: list[Callable[..., Any]]) -> tuple[Task, list[object]]:
        """Return the task of calls of these functions, and what to send for each of them."""
        known, first = self._known, functions[0]
        if known is not None and all(each is known[0] for each in functions):
            return known[1], [None] * len(functions)
        if self._along is None:
            return self._task, list(functions)
        carried: list[object] = []
        ready = Carried(self._along, first)
        for each in functions:  # made ready once for all calls in a row
            if each is not first:
                first, ready = each, Carried(self._along, each)
            carried.append(ready)
        return self._task, carried


def _is_kept_by_its_module(function: Callable[..., Any]) -> bool:
    if not isinstance(function, FunctionType | BuiltinFunctionType):
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
