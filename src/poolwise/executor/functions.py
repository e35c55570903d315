"""Functions that an executor has seen, and what is known of each.

Everything here belongs to the dispatcher thread and runs no code of the user's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Literal

from poolwise.executor.carried import Reach, Told
from poolwise.task import Outcomes
from poolwise.units import Seconds

#: CPU time that a function's calls must have used before anything is said of it: some slices of
#: the GIL (5 ms), so that taking turns shows.
ENOUGH: Seconds = 30e-3

#: Functions remembered; the least recently used are forgotten first.
_MOST = 256


@dataclass(frozen=True, slots=True)
class Reading:
    """How long the threads had work, what CPU time this process used, and what it queued for."""

    busy: Seconds
    used: Seconds
    queued: Seconds


class Seen:
    """What is known of one function, and where its calls go."""

    __slots__ = (
        "back", "barred", "beside", "busy", "calls", "cpu", "enough", "home", "mean",
        "on_trial", "reach", "service", "sign", "since", "suspected", "used",
    )  # fmt: skip

    def __init__(self, sign: object, reach: Reach) -> None:
        self.sign = sign  # by which it is recognised; kept, so that its id stays its own
        self.mean: Seconds | None = None  # service time of recent calls
        self.reach = reach
        self.home: Literal["thread", "trial", "process"] = "thread"
        self.barred = False  # from processes, for good
        self.suspected = False  # of taking turns with the GIL: a call of it is to be examined
        self.used = 1.0  # CPUs that this process used when it was suspected
        self.enough = ENOUGH
        self.on_trial = 0  # calls sent to processes on trial, and those that are back
        self.back = 0
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        self.since: Reading | None = None
        self.calls = 0
        self.beside = 0  # calls at whose end others were under way
        self.service: Seconds = 0.0
        self.cpu: Seconds = 0.0
        self.busy = 0.0  # the largest share of its time that a call on trial had a CPU

    def note(self, outcomes: Outcomes) -> None:
        """Follow the service time; calls that left no outcome have none."""
        if not outcomes.service:
            return
        mean = outcomes.service / len(outcomes.values)
        self.mean = mean if self.mean is None else self.mean + 0.5 * (mean - self.mean)

    def count(self, outcomes: Outcomes) -> None:
        """Add up what calls used."""
        self.calls += len(outcomes.values)
        self.service += outcomes.service
        self.cpu += outcomes.cpu


class Functions:
    """Finds what is known of a function.

    Functions are recognised by their code, so the lambda or partial that a loop makes anew for
    each call is one function, and nothing that they refer to is kept alive. What a decorator
    without `functools.wraps` makes is taken for one function too.
    """

    def __init__(self, met: Callable[[Seen, Callable[..., Any]], object]) -> None:
        self._met = met  # is told of each that was not seen before
        self._seen: OrderedDict[tuple[int, str], Seen] = OrderedDict()
        self._told = Told()

    def find(self, function: Callable[..., Any]) -> Seen:
        """Return what is known of `function`."""
        sign, name = _signs(function)
        key = id(sign), name
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = Seen(sign, Reach(self._told))
            self._met(seen, function)
            if len(self._seen) > _MOST:
                self._seen.popitem(last=False)
        else:
            self._seen.move_to_end(key)
        return seen


_Cached = type(cache(len))


def _signs(function: Any) -> tuple[object, str]:
    """Return an object and a name by which to recognise a function."""
    while True:
        kind = type(function)
        if kind is partial:
            function = function.func
        elif kind is MethodType:
            function = function.__func__
        elif kind is FunctionType or kind is _Cached:
            if "__wrapped__" not in function.__dict__:
                return function.__code__, ""
            function = function.__wrapped__
        elif kind is BuiltinFunctionType:
            owner = function.__self__  # a module, or an object whose method this is
            return owner if isinstance(owner, ModuleType) else type(owner), function.__name__
        else:
            return (function if isinstance(function, type) else kind), ""
