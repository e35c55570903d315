"""Whether calls could change anything that they share with the program, read off before any runs.

`EffectWatch` compares before and after a call and needs calls that have ended. While the first one
is still running only this can be asked: is there anything within reach that *could* be changed?
Most functions that take numbers and strings reach nothing of the kind; of the others nothing is
known yet, and their first call runs alone.
"""

from __future__ import annotations

import dis
import re
import sys
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from functools import cache, partial
from types import BuiltinMethodType, CodeType, FunctionType, ModuleType

from poolwise.mechanisms.module_state import variables_of
from poolwise.mechanisms.reached import names_reached_by
from poolwise.task import Task

_FIXED = (type(None), bool, int, float, complex, str, bytes, range, re.Pattern)

#: What rebinds a name outside of the call, or sets an attribute of what may be outside of it.
_REBINDS = {
    dis.opmap[name] for name in ("STORE_GLOBAL", "DELETE_GLOBAL", "STORE_ATTR", "DELETE_ATTR")
}
_REBINDS_CELLS = {dis.opmap[name] for name in ("STORE_DEREF", "DELETE_DEREF")}

#: What changes the environment of the program, which is no variable of the user's; but who takes
#: something out of it most likely takes out what it has put there for a while.
_SETS_ITEM, _TAKES_ITEM = dis.opmap["STORE_SUBSCR"], dis.opmap["DELETE_SUBSCR"]
_SETS, _TAKES = {"update", "setdefault", "clear"}, {"pop"}

#: With these a function can change what its code does not name.
_TRICKS = {"globals", "vars", "setattr", "delattr", "exec", "eval", "__dict__", "modules"}


def nothing_can_change(task: Task, columns: Iterable[Iterable[object]]) -> bool:
    """Whether all that these calls share with the program is such that they cannot change it.

    Reads the code of all functions of the user's within reach. What libraries and C code keep
    for themselves is not looked at, as everywhere.
    """
    function = task.function
    if not all(_is_fixed(value) for column in columns for value in column):
        return False
    if not all(_is_fixed(value) for _, value in variables_of(function)):
        return False
    reached = [function, *(value for _, _, value in names_reached_by(function))]
    return not any(map(_may_rebind, reached))


def _is_fixed(value: object) -> bool:
    if isinstance(value, tuple | frozenset):
        return all(map(_is_fixed, value))
    if is_dataclass(value) and getattr(type(value), "__dataclass_params__").frozen:  # noqa: B009
        return all(_is_fixed(getattr(value, each.name)) for each in fields(value))
    if isinstance(value, _FIXED):
        return True
    # Importing `pathlib` takes longer than all of this; without it there are no paths.
    pathlib = sys.modules.get("pathlib")
    return pathlib is not None and isinstance(value, pathlib.PurePath)


def _may_rebind(value: object) -> bool:
    if isinstance(value, FunctionType):
        return _rebinds(value.__code__)
    if isinstance(value, BuiltinMethodType):  # such as `results.append`
        return not isinstance(value.__self__, ModuleType | type | None)
    if isinstance(value, partial):
        return False  # what it holds is reached too
    return callable(value) and not isinstance(value, type)


@cache
def _rebinds(code: CodeType, own: frozenset[str] = frozenset()) -> bool:
    """Whether this code, or one within it, rebinds what is not its `own`."""
    if _TRICKS & {*code.co_names}:
        return True
    shared = {*code.co_freevars} - own
    operations = code.co_code[::2]  # every other byte is an argument
    if "environ" in code.co_names:
        sets = _SETS_ITEM in operations or not _SETS.isdisjoint(code.co_names)
        if sets and _TAKES_ITEM not in operations and _TAKES.isdisjoint(code.co_names):
            return True
    if not _REBINDS.isdisjoint(operations):
        return True
    if shared and not _REBINDS_CELLS.isdisjoint(operations):  # taking code apart takes 0.3 ms
        for instruction in dis.get_instructions(code):
            if instruction.opcode in _REBINDS_CELLS and instruction.argval in shared:
                return True
    own |= {*code.co_cellvars}
    return any(_rebinds(part, own) for part in code.co_consts if isinstance(part, CodeType))
