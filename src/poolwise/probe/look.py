"""A look at what calls can reach: in full where that is small, in part where it is large.

What a look returns is equal as long as what it saw is. A bounded number of bytes and objects is
looked at, so that a look takes some milliseconds at most, whatever there is.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from itertools import islice
from types import FunctionType, ModuleType
from typing import Any

from _poolwise_worker import transfer
from poolwise.probe.contents import Budget, Data, contents
from poolwise.probe.picture import TooLarge
from poolwise.units import Bytes

#: The pickle of one variable may have so many bytes, beside large buffers: about a millisecond.
_LARGEST: Bytes = 1 << 20

#: A pickler hands over longer writes only for single objects: `bytes`, `bytearray` and `str`.
_ALONE: Bytes = 256 << 10

#: Of containers with more members, where there is too much of everything, only so many are looked
#: at: from the beginning, from the end, and of sequences in equal distances.
_MANY = 1000
_SAMPLE = 100

#: An array of more objects is not made into a list, of which a sample would be taken: a million
#: take 10 ms.
_MANY_IN_ARRAY = 100_000

#: So many objects are looked at one by one: some 0.2 µs each.
_OBJECTS = 5000


class Look:
    """One look at several things, which share a budget; `partly` has the names of those that were
    too large to be seen in full.
    """

    def __init__(self) -> None:
        self.partly: list[str] = []
        self._budget = Budget()
        #: What was read already: an array is reached through an object, and by itself. The views
        #: keep it alive, so that ids stay its own.
        self._read: dict[tuple[int, int], tuple[memoryview, tuple[int, ...]]] = {}

    def at(self, name: str, value: object) -> object:
        """Return something that is equal as long as `value` is, as far as it could be seen.

        ``None`` is what cannot be pickled: no other process can have it. If that is something to
        take from, such as a generator, it is never equal: calls that reach it take from it in turn.
        """
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            return value
        if (place := _place_in(value)) is not None:
            return place
        if isinstance(value, ContextVar):  # what it is in this thread, where these calls run
            value = value.get(None)
        self._budget.partly = False
        seen = self._seen(value)
        if seen is None and isinstance(value, Iterator) and not _is_written(value):
            return object()
        if self._budget.partly and name not in self.partly:
            self.partly.append(name)
        return seen

    def _seen(self, value: object) -> object:
        film = _Film(self._budget)
        try:
            return self._pickled(film, value, pickle.Pickler)
        except TooLarge:
            self._budget.partly = True
            first = bytes(film.data)
        except Exception:  # perhaps for a function that has no name, which cloudpickle can carry
            first = b""
        film = _Film(self._budget)
        try:
            return first, self._pickled(film, value, _Sampler)
        except TooLarge:
            return first, bytes(film.data)
        except Exception:
            return None

    def _pickled(self, film: _Film, value: object, kind: type[pickle.Pickler]) -> object:
        buffers: list[pickle.PickleBuffer] = []
        pickler = kind(film, 5, buffer_callback=buffers.append)
        pickler.dispatch_table = self._reducers()
        if isinstance(pickler, _Sampler):
            pickler.budget = self._budget
        with transfer.looking():
            pickler.dump(value)
        return bytes(film.data), tuple(film.large), tuple(map(self._contents, buffers))

    def _contents(self, buffer: pickle.PickleBuffer) -> tuple[int, ...]:
        view = buffer.raw()
        key = id(view.obj), view.nbytes
        if key not in self._read:
            self._read[key] = view, contents(view, self._budget)
        return self._read[key][1]

    def _reducers(self) -> dict[type, Any]:
        reducers = {**copyreg.dispatch_table, memoryview: self._memory}
        numpy = sys.modules.get("numpy")
        if hasattr(numpy, "ndarray"):
            reducers[numpy.ndarray] = self._array  # type: ignore[union-attr]
        return reducers

    def _memory(self, view: memoryview) -> Any:
        """Read a memory that only this process has, as far as it lies in one piece."""
        whole = view.contiguous and view.nbytes > 0
        return tuple, (contents(view.cast("B"), self._budget) if whole else (view.tolist(),),)

    def _array(self, array: Any) -> Any:
        """Take an array apart. Of one that has no buffer to show, a sample is copied instead of
        all: of one with many objects, and of a large one that is not contiguous.
        """
        large = array.size > _MANY_IN_ARRAY if array.dtype.hasobject else array.nbytes > _LARGEST
        if not large or not (array.dtype.hasobject or _is_strided(array)):
            return array.__reduce_ex__(5)
        self._budget.partly = True
        step = max(1, array.size // _SAMPLE)
        sample = [part.tolist() for part in (array.flat[:_MANY], array.flat[::step])]
        return tuple, ((array.shape, array.dtype.str, sample),)


def _is_strided(array: Any) -> bool:
    return not (array.flags.c_contiguous or array.flags.f_contiguous)


def _place_in(file: object) -> tuple[str, int] | None:
    """Return how far a file has been read, ``None`` if it is none, or that cannot be told. Where
    one is written does not matter: calls may write in any order.
    """
    if not isinstance(file, io.IOBase):
        return None
    with suppress(Exception):  # a pipe, a closed file, a text that is iterated
        return None if file.writable() else ("read up to", file.tell())
    return None


def _is_written(file: object) -> bool:
    with suppress(Exception):
        return isinstance(file, io.IOBase) and (file.closed or file.writable())
    return False


class _Film(io.RawIOBase):
    """A file that refuses to grow too large, and so ends the pickling. What is large by itself is
    not kept, but what it holds.
    """

    def __init__(self, budget: Budget) -> None:
        self.data = bytearray()
        self.large: list[tuple[int, ...]] = []
        self._budget = budget

    def write(self, data: Data, /) -> int:  # type: ignore[override]
        if len(data) >= _ALONE:
            self.large.append(contents(data, self._budget))
        elif len(self.data) + len(data) > _LARGEST:
            raise TooLarge
        else:
            self.data += data
        return len(data)


class _Sampler(pickle.Pickler):
    """Has samples in the places of large containers, and names in those of code."""

    budget: Budget
    _left = _OBJECTS

    def persistent_id(self, thing: Any) -> object:
        self._left -= 1
        if self._left < 0:
            self.budget.partly = True
            raise TooLarge
        if isinstance(thing, FunctionType | type):
            return thing.__module__, thing.__qualname__
        if isinstance(thing, ModuleType):
            return thing.__name__
        if (place := _place_in(thing)) is not None:
            return place
        if type(thing) in (dict, list, tuple, set, frozenset) and len(thing) > _MANY:
            self.budget.partly = True
            return type(thing).__name__, len(thing), _sample(thing)
        return None


def _sample(thing: Any) -> list[object]:
    if isinstance(thing, list | tuple):
        step = max(1, len(thing) // _SAMPLE)
        return [*thing[:_SAMPLE], *thing[::step], *thing[-_SAMPLE:]]
    if isinstance(thing, dict):
        return [*islice(thing.items(), _SAMPLE), *islice(reversed(thing.items()), _SAMPLE)]
    return [*islice(thing, _SAMPLE)]
