"""One call, looked at before and after: could such calls run in another process?"""

from __future__ import annotations

import io
import pickle
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from _poolwise_worker import transfer
from poolwise.mechanisms.module_state import variables_of
from poolwise.units import Seconds

#: Objects whose pickles are larger are not looked at, and their calls stay where they are.
#: Writing so much takes some 0.1 s, once for a function; a table of gigabytes would stop the
#: program for minutes.
_LARGEST = 16 << 20

#: Copying in and out of a socket, for each byte.
_COPY_SECONDS_PER_BYTE = 1e-9


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
        began = perf_counter()
        after, result = _pictures(function, args, kwargs), _picture(value)
        pickling = perf_counter() - began
        if self._before is None or after is None or result is None:
            return Specimen(carried=False, unchanged=True, transfer=0.0)
        call, _ = after
        # Reading a pickle costs about what writing it does.
        transfer = 2 * pickling + (call.size + result.size) * _COPY_SECONDS_PER_BYTE
        return Specimen(carried=True, unchanged=after == self._before, transfer=transfer)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A pickle, with a checksum in the place of each large buffer."""

    data: bytes
    checksums: tuple[int, ...]
    size: int


class _TooLarge(Exception):
    pass


class _Film(io.RawIOBase):
    """A file that refuses to grow too large, and so ends the pickling."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: Any, /) -> int:
        if len(self.data) + len(data) > _LARGEST:
            raise _TooLarge
        self.data += data
        return len(data)


def can_be_pickled(thing: object) -> bool:
    """Whether `thing` can be sent to another process, whatever its size."""
    try:
        transfer.dumps(thing)
    except Exception:
        return False
    return True


def _pictures(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[_Picture, _Picture] | None:
    """Return pictures of a call and of the variables that it reads."""
    try:
        variables = list(variables_of(function))
    except Exception:  # whatever a thing that looks like a function does
        return None
    call, read = _picture((function, args, kwargs)), _picture(variables)
    return None if call is None or read is None else (call, read)


def _picture(thing: object) -> _Picture | None:
    """Return a picture of `thing`, ``None`` if there can be none."""
    try:
        try:
            picture = _pickled(pickle.Pickler, thing)
        except _TooLarge:
            return None
        except Exception:  # whatever it was, cloudpickle may do better
            picture = None
        if picture is None or b"__main__" in picture.data:
            import cloudpickle

            picture = _pickled(cloudpickle.Pickler, thing)
    except Exception:
        return None
    return picture


def _pickled(pickler: Callable[..., pickle.Pickler], thing: object) -> _Picture:
    film = _Film()
    buffers: list[pickle.PickleBuffer] = []
    pickler(film, 5, buffer_callback=buffers.append).dump(thing)
    checksums = tuple(zlib.crc32(buffer.raw()) for buffer in buffers)
    size = len(film.data) + sum(buffer.raw().nbytes for buffer in buffers)
    return _Picture(bytes(film.data), checksums, size)
