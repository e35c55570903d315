"""The main script: the names that it goes by, and where its variables are.

In a process that `multiprocessing` has not forked it is called ``__mp_main__``, and the module of
that name is a copy: `multiprocessing` runs the file again and then takes its variables over. The
functions keep those that they were defined in.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

#: What the script is called here, whatever it is called there.
NAME = "__main__"

_AGAIN = "__mp_main__"

#: In each pickle that mentions either name.
WORD = b"_main__"

#: Classes that came here from the script of the caller, by their names there. `by_value` adds them,
#: in whichever thread reads one, and keeps none; to add and to look up are atomic.
copies: MutableMapping[str, type] = {}


def is_named(name: object) -> bool:
    """Whether what is in a module of this name is in the main script."""
    return isinstance(name, str) and name in (NAME, _AGAIN)


def is_run_again() -> bool:
    """Whether `multiprocessing` has run the script for this process."""
    return getattr(sys.modules[NAME], "__name__", NAME) == _AGAIN


def usual(module: str) -> str:
    """Return the same name, but for the script always `NAME`."""
    return NAME if module == _AGAIN else module


def have_both_names() -> None:
    """Have what mentions either name find the script of this process, as `multiprocessing` does."""
    sys.modules.setdefault(_AGAIN, sys.modules[NAME])


def variables() -> dict[str, Any]:
    """Return the variables of the script, those that its functions read and set."""
    own = vars(sys.modules[NAME])
    if not is_run_again():
        return own
    from types import FunctionType

    for thing in list(own.values()):
        parts = list(vars(thing).values()) if isinstance(thing, type) else [thing]
        for part in parts:
            if isinstance(part, FunctionType) and part.__globals__.get("__name__") == _AGAIN:
                return part.__globals__
    return own


def variables_of(module: str) -> dict[str, Any]:
    """Return those of any module by its name; none, if it is not here."""
    if is_named(module):
        return variables()
    return getattr(sys.modules.get(module), "__dict__", {})


def find(qualname: str) -> Any:
    """Return what the script has at a name with dots, or raise an `AttributeError`."""
    first, *others = qualname.split(".")
    try:
        found = variables()[first]
    except KeyError:
        raise AttributeError(f"the main script has no attribute {first!r}") from None
    for name in others:
        found = getattr(found, name)
    return found


def of_caller(qualname: str) -> Any:
    """Return a class of the caller's script. It goes back by this name, and is read here first, to
    see whether it can be: then it is the copy that came.

    Raises:
        AttributeError: there is none.
    """
    copy = copies.get(qualname)
    return find(qualname) if copy is None else copy


class Variables:
    """The variables of the script as attributes: those of its module may be a copy."""

    def __getattr__(self, name: str) -> Any:
        return find(name)

    def __setattr__(self, name: str, value: object) -> None:
        variables()[name] = value
