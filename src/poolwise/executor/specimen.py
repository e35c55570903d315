"""One call, looked at before and after: could such calls run in another process?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import thread_time
from typing import Any

from _poolwise_worker import transfer
from _poolwise_worker.script import WORD
from poolwise.mechanisms.module_state import variables_of
from poolwise.probe import Picture, TooLarge, picture
from poolwise.probe.payload import copying
from poolwise.units import Bytes, Seconds

#: Objects whose pickles are larger are not looked at, and their calls stay where they are.
#: Writing so much takes some 0.1 s, once for a function; a table of gigabytes would stop the
#: program for minutes.
_LARGEST: Bytes = 16 << 20


@dataclass(frozen=True, slots=True)
class Specimen:
    """What one call says of its kind.

    `carried`: the function, its arguments, its result and the variables that it reads can go to
    another process. `unchanged`: the call left all that as it was; changes made in another process
    would be lost. `transfer` is what sending it there and back would cost.
    """

    carried: bool
    unchanged: bool
    transfer: Seconds


class Examination:
    """Looks at a call: made before it, `end` after it. Never raises."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self._before = _pictures(function, args, kwargs)

    def end(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        value: object,
    ) -> Specimen:
        """Look again at what was given, and at the result."""
        after, result = _pictures(function, args, kwargs), _picture(value)
        if self._before is None or after is None or result is None:
            return Specimen(carried=False, unchanged=True, transfer=0.0)
        # Now that all has been touched, and without the function and its variables, which each
        # worker gets once; in CPU time, for this thread may have to wait for the GIL.
        began = thread_time()
        there, back = _picture((args, kwargs)), _picture(value)
        pickling = thread_time() - began
        if there is None or back is None:
            return Specimen(carried=False, unchanged=True, transfer=0.0)
        # Reading a pickle costs about what writing it does.
        cost = 2 * pickling + sum(copying(there.size)) + sum(copying(back.size))
        return Specimen(carried=True, unchanged=after == self._before, transfer=cost)


def can_be_pickled(thing: object) -> bool:
    """Whether `thing` can be sent to another process, whatever its size."""
    try:
        with transfer.looking():
            transfer.dumps(thing)
    except Exception:
        return False
    return True


def _pictures(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Picture, Picture] | None:
    """Return pictures of a call and of the variables that it reads."""
    try:
        variables = [value for _, value in variables_of(function)]
    except Exception:  # whatever a thing that looks like a function does
        return None
    call, read = _picture((function, args, kwargs)), _picture(variables)
    return None if call is None or read is None else (call, read)


def _picture(thing: object) -> Picture | None:
    """Return a picture of `thing`, ``None`` if there can be none."""
    found = None
    try:
        found = picture(thing, _LARGEST)
    except TooLarge:
        return None
    except Exception:  # whatever it was, cloudpickle may do better
        pass
    if found is not None and WORD not in found.data:
        return found
    try:
        from _poolwise_worker.dynamic import pickler

        return picture(thing, _LARGEST, pickler=pickler())
    except Exception:
        return None
