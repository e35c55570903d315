"""Exceptions on their way between processes: whole, with what caused them and what they group.

Pickling an exception calls its class again with its `args`. Where the constructor takes something
else, that fails, or silently makes another exception; and causes, contexts and their order are
left out. So a table of all that hang together travels, each made again without its constructor.
"""

from __future__ import annotations

from types import MemberDescriptorType

from _poolwise_worker import transfer
from _poolwise_worker.transfer import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: One exception: itself (empty if it is part of a group before it), the rows of its cause, its
#: context and its parts (-1: none), and whether the context is to be shown.
Row = tuple[bytes, int, int, list[int], bool]

#: Rows of a table, at most: a chain that is longer has been built by mistake.
_MOST = 1000

_IN_PYTHON = 1 << 9  # Py_TPFLAGS_HEAPTYPE: of a class that was defined by a class statement


def pack(error: BaseException) -> bytes | None:
    """Return an exception in bytes, ``None`` if it cannot be carried. Causes that cannot are left
    out.
    """
    rows: list[Row] = []
    errors = [error]
    numbers = {id(error): 0}
    parts_of_groups: set[int] = set()

    def number(other: BaseException | None) -> int:
        if other is None or (id(other) not in numbers and len(errors) >= _MOST):
            return -1
        if id(other) not in numbers:
            numbers[id(other)] = len(errors)
            errors.append(other)
        return numbers[id(other)]

    for each in errors:  # which grows
        inside = numbers[id(each)] in parts_of_groups
        data = b"" if inside else _pickle(each)
        if data is None:
            if each is error:
                return None
            rows.append((b"", -1, -1, [], False))
            continue
        parts = [number(part) for part in getattr(each, "exceptions", ())] if _groups(each) else []
        parts_of_groups.update(parts)
        cause, context = number(each.__cause__), number(each.__context__)
        rows.append((data, cause, context, parts, each.__suppress_context__))
    if rows[0][1:] == (-1, -1, [], False):  # as most are
        return rows[0][0]
    return transfer.dumps(rows)


def unpack(data: bytes) -> BaseException:
    """Read what `pack` returned.

    Raises whatever reading raises.
    """
    rows: list[Row] | BaseException = loads(data)
    if isinstance(rows, BaseException):
        return rows
    errors: list[BaseException | None] = [None] * len(rows)
    for number, (pickled, _, _, parts, _) in enumerate(rows):
        error = errors[number]
        if error is None and pickled:
            error = errors[number] = loads(pickled)
        for part, own in zip(parts, getattr(error, "exceptions", ()), strict=False):
            errors[part] = own
    for error, (_, cause, context, _, suppressed) in zip(errors, rows, strict=True):
        if error is not None:
            error.__cause__ = errors[cause] if cause >= 0 else None
            error.__context__ = errors[context] if context >= 0 else None
            error.__suppress_context__ = suppressed
    assert errors[0] is not None
    return errors[0]


def _groups(error: BaseException) -> bool:
    return isinstance(error, BaseExceptionGroup)


def _pickle(error: BaseException) -> bytes | None:
    """Return the exception alone, if it can be read again; else, if there can be one, one like it
    without what cannot.
    """
    try:
        whole = _Rebuilt(error, error.args, _attributes(error)) if _can_be_rebuilt(error) else error
        data = transfer.to_caller.dumps(whole)
        loads(data)
    except BaseException:
        return _pickle_stand_in(error)
    return data


def _pickle_stand_in(error: BaseException) -> bytes | None:
    """Of the same class, so that it is caught where the other would be."""
    if _groups(error) or _in_c(type(error)).__basicsize__ != BaseException.__basicsize__:
        return None
    left: list[str] = []
    args = tuple(
        each if _travels(each) else _told(left, f"args[{place}]", each)
        for place, each in enumerate(error.args)
    )
    attributes = _attributes(error)
    state = {name: each for name, each in attributes.items() if _travels(each)}
    left += (f".{name}" for name in attributes if name not in state)
    notes = [each for each in state.get("__notes__", ()) if isinstance(each, str)]
    state["__notes__"] = [*notes, f"(could not be sent from its worker: {', '.join(left)})"]
    try:
        data = transfer.to_caller.dumps(_Rebuilt(error, args, state))
        loads(data)
    except BaseException:
        return None
    return data


def _travels(value: object) -> bool:
    try:
        with transfer.looking():
            loads(transfer.to_caller.dumps(value))
    except BaseException:
        return False
    return True


def _told(left: list[str], name: str, value: object) -> str:
    """Note that a value stays here, and return how it shows."""
    left.append(name)
    try:
        return repr(value)
    except BaseException:  # the user's own
        return f"<{type(value).__qualname__}>"


class _Rebuilt:
    """In the place of an exception; reading it makes the exception without its constructor."""

    def __init__(self, error: BaseException, args: tuple[Any, ...], state: dict[str, Any]) -> None:
        self._class, self._args, self._state = type(error), args, state

    def __reduce__(self) -> tuple[object, tuple[type, tuple[Any, ...], dict[str, Any]]]:
        return _rebuild, (self._class, self._args, self._state)


def _rebuild(cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = _in_c(cls).__new__(cls, *args)
    error.args = args
    for name in _slots(cls) & state.keys():
        object.__setattr__(error, name, state.pop(name))
    vars(error).update(state)
    return error


def _attributes(error: BaseException) -> dict[str, Any]:
    slots = {name: getattr(error, name) for name in _slots(type(error)) if hasattr(error, name)}
    return {**vars(error), **slots}


def _slots(cls: type) -> set[str]:
    return {
        name
        for each in cls.__mro__
        if each.__flags__ & _IN_PYTHON
        for name, value in list(vars(each).items())
        if isinstance(value, MemberDescriptorType)
    }


def _in_c(cls: type) -> type:
    return next(each for each in cls.__mro__ if not each.__flags__ & _IN_PYTHON)


def _can_be_rebuilt(error: BaseException) -> bool:
    """Whether the class has a constructor of its own, and nothing but `args` and attributes."""
    cls = type(error)
    return (
        cls.__init__ is not _in_c(cls).__init__  # type: ignore[misc]
        and cls.__reduce__ is BaseException.__reduce__
        and cls.__reduce_ex__ is object.__reduce_ex__
        and _in_c(cls).__basicsize__ == BaseException.__basicsize__
    )
