"""Constants as they are written in source."""

from __future__ import annotations

import ast
from typing import TypeGuard

from poolwise.explain.importing import CannotWrite

#: The longest constant that is written out, in characters.
_LONGEST_CONSTANT = 300


def literal(value: object) -> str:
    """Return a constant as it is written in source: what is read there is equal, of equal types.

    Raises:
        CannotWrite: it is not a constant, or too long to be read.

    """
    try:
        text = repr(value)
        same = len(text) <= _LONGEST_CONSTANT and alike(ast.literal_eval(text), value)
    except Exception:  # whatever an object does when it is written or compared
        text, same = "", False
    if not same:
        raise CannotWrite(f"it uses an object of type {type(value).__qualname__}")
    return text


def alike(one: object, other: object) -> bool:
    """Whether two constants are the same, and all in them: ``1`` is neither ``1.0`` nor ``True``.

    Sets may be in another order; dicts may not, as it shows when one goes through them.
    """
    if type(one) is not type(other):
        return False
    if _is_row(one) and _is_row(other):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return alike(list(one.items()), list(other.items()))
    if isinstance(one, set | frozenset):
        return one == other and _types_in(one) == _types_in(other)
    return repr(one) == repr(other)  # which tells 0.0 from -0.0, and has nan be nan


def _is_row(value: object) -> TypeGuard[list[object] | tuple[object, ...]]:
    return isinstance(value, list | tuple)


def _types_in(values: object) -> list[str]:
    assert isinstance(values, set | frozenset)
    return sorted(f"{type(each)} {each!r}" for each in values)
