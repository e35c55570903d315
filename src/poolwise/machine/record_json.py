"""Records of figures as JSON and back, by the types of their fields.

Nothing is checked here but what the types say: whoever reads a damaged document gets an error.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # makes records that a map does without, and it reads what is remembered
    from poolwise.timing.sample import Figure

T = TypeVar("T")

#: Significant digits: more than any clock here has.
_DIGITS = 6

#: Nothing that is counted or measured is larger, and with larger ones arithmetic fails.
_LARGEST = 2**63


def to_plain(value: object) -> Any:
    """Return a record, a figure or a mapping of them as what JSON knows.

    A sample has its quartiles beside its readings, for whoever wants only these.
    """
    from poolwise.timing.sample import Gap, Sample

    if isinstance(value, Sample):
        value = replace(value, values=tuple(map(_rounded, value.values)))
        return {
            "unit": value.unit,
            "median": _rounded(value.median),
            "low": _rounded(value.low),
            "high": _rounded(value.high),
            "count": value.count,
            "throttled": value.throttled,
            "values": list(value.values),
        }
    if isinstance(value, Gap):
        return {"gap": value.why}
    if isinstance(value, Mapping):
        return {str(key): to_plain(each) for key, each in value.items()}
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [to_plain(each) for each in value]
    return value


def from_plain(kind: type[T], document: object) -> T:
    """Return the record of a type that `to_plain` made this of.

    Fields that are missing and have a default get it, so that older documents can be read.

    Raises:
        ValueError: it is not of that type.
    """
    result: T = _read(kind, document, kind.__name__)
    return result


def _read(kind: Any, plain: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        kinds = typing.get_args(kind)
        if types.NoneType not in kinds:  # the only other union
            return _figure(plain, where)
        if plain is None:
            return None
        (kind,) = (each for each in kinds if each is not types.NoneType)
        return _read(kind, plain, where)
    if origin is tuple:
        item = typing.get_args(kind)[0]
        return tuple(_read(item, each, where) for each in _checked(list, plain, where))
    if origin is Mapping:
        key, item = typing.get_args(kind)
        entries = _checked(dict, plain, where).items()
        return {
            _key(key, name, where): _read(item, each, f"{where}.{name}") for name, each in entries
        }
    if isinstance(kind, type) and is_dataclass(kind):
        document = _checked(dict, plain, where)
        hints = typing.get_type_hints(kind)
        values = {
            each.name: _read(hints[each.name], document[each.name], f"{where}.{each.name}")
            for each in fields(kind)
            if each.name in document
        }
        try:
            make: Any = kind
            return make(**values)
        except TypeError as error:
            raise ValueError(f"{where}: {error}") from None
    if kind is float:
        return _number(plain, where)
    if kind is int:
        return _whole(plain, where)
    return _checked(kind, plain, where)


def _figure(plain: Any, where: str) -> Figure:
    from poolwise.timing.sample import Gap, Sample

    document = _checked(dict, plain, where)
    if "gap" in document:
        return Gap(_checked(str, document["gap"], where))
    values = _checked(list, document.get("values"), where)
    unit = _checked(str, document.get("unit"), where)
    throttled = _checked(bool, document.get("throttled"), where)
    return Sample(unit, tuple(_number(each, where) for each in values), throttled)


def _key(kind: type, name: str, where: str) -> Any:
    if kind is not int:
        return name
    try:
        return int(name)
    except ValueError:
        raise ValueError(f"{where}: {name!r} is no number") from None


def _number(plain: Any, where: str) -> float:
    number = math.nan
    if isinstance(plain, int | float) and not isinstance(plain, bool):
        with suppress(OverflowError):  # JSON has whole numbers of any size
            number = float(plain)
    if not math.isfinite(number):
        raise ValueError(f"{where}: {plain!r:.80} is no number")
    return number


def _whole(plain: Any, where: str) -> int:
    number = _checked(int, plain, where)
    if abs(number) > _LARGEST:
        raise ValueError(f"{where}: {plain!r:.80} is too large a number")
    return number


def _checked(kind: type[T], plain: Any, where: str) -> T:
    if not isinstance(plain, kind) or (kind is int and isinstance(plain, bool)):
        raise ValueError(f"{where}: {plain!r:.80} is not {kind.__name__}")
    return plain


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
