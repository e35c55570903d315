"""`share`: an object that is copied once, into memory that every process reads in place."""

from __future__ import annotations

import os
import sys
from _pickle import PickleBuffer, Pickler, dumps, loads
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl
from io import BytesIO
from mmap import PROT_READ

from _poolwise_worker import culprit, descriptors
from _poolwise_worker.channels import definitions
from _poolwise_worker.channels.locks import Lock
from _poolwise_worker.channels.memory import create, mapped, shared_view
from _poolwise_worker.errors import TransferError
from _poolwise_worker.script import WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Generic, TypeVar

    T = TypeVar("T")

    class _Of(Generic[T]):
        __slots__ = ()

else:  # `typing` would be a large module for every worker to import
    T = None

    class _Of:
        __slots__ = ()

        def __class_getitem__(cls, _):
            return cls


#: Buffers begin at multiples of a cache line, as arrays expect.
_ALIGNMENT = 64


class Shared(_Of[T]):
    """A handle that `share` returns: it may be passed to workers, and is small.

    Its memory is given back when no process has the handle, or anything that looks into it.
    """

    __slots__ = ("__weakref__", "_descriptor", "_lock", "_value")

    def __init__(self, descriptor: int, lock: Lock | None) -> None:
        self._descriptor = descriptor
        self._lock = lock
        self._value: Any = _NOT_READ

    def __reduce__(self) -> tuple[Any, ...]:
        descriptors.require_carrier(self)
        return _arrived, (descriptors.carry(self._descriptor), self._lock)

    def __repr__(self) -> str:
        size = os.fstat(self._descriptor).st_size
        how = "writable" if self.writable else "read-only"
        return f"<poolwise.Shared {size:,} bytes, {how} at {id(self):#x}>"

    def __del__(self, close=os.close) -> None:  # type: ignore[no-untyped-def]  # at exit os is gone
        close(self._descriptor)

    @property
    def value(self) -> T:
        """The object as this process sees it: its buffers in place, the rest its own copy.

        The same object each time. Bytes are seen as a `memoryview`.

        Raises:
            TransferError: if it cannot be read here.
        """
        if self._value is _NOT_READ:
            self._value = _read(self._descriptor, writable=self.writable)
        value: T = self._value
        return value

    @property
    def writable(self) -> bool:
        """Whether all see what anybody writes into its arrays."""
        return self._lock is not None

    @property
    def lock(self) -> Lock:
        """The lock to hold while reading or writing, of a writable object.

        Raises:
            AttributeError: if it is read-only, and so needs none.
        """
        if self._lock is None:
            raise AttributeError("a read-only object needs no lock; share(obj, writable=True)")
        return self._lock


_NOT_READ = object()


def share(obj: T, *, writable: bool = False) -> Shared[T]:
    """Copy `obj` once into memory that all processes read without copying it again.

    What is read in place is every buffer of it that the pickle protocol hands out: NumPy arrays,
    Arrow tables, data frames, bytes and bytearrays given as such. The rest is unpickled by each.

    Args:
        obj: What can be pickled.
        writable: Whether arrays can be written to in place, seen by all; hold `Shared.lock`
            meanwhile. Those that are not contiguous, of times, or of a subclass each process has a
            copy of, which is read-only. Otherwise nobody can change any: the system prevents it.

    Raises:
        NotImplementedError: if this system is not Linux.
        TransferError: if `obj` cannot be pickled; with the path to what cannot.
        ValueError: if it is to be writable and has nothing to write to.
    """
    head, buffers = _taken_apart(obj, writable=writable)
    if writable and not any(not buffer.readonly for buffer in buffers):
        raise ValueError(
            f"writable=True with a {type(obj).__qualname__} that has no writable buffer; "
            f"what all can write to is an array"
        )
    return Shared(_stored(head, buffers, writable=writable), Lock() if writable else None)


class _Freezing(Pickler):
    """Has arrays of numbers that are pickled by value come out read-only: what is written to such a
    one no other process would see. Of times, strided, and of subclasses.
    """

    def __init__(self, file: BytesIO, keep_inside: Callable[[PickleBuffer], bool]) -> None:
        super().__init__(file, 5, buffer_callback=keep_inside)
        self._kind = getattr(sys.modules.get("numpy"), "ndarray", ())

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, self._kind) or obj.dtype.hasobject:
            return NotImplemented
        beside: list[PickleBuffer] = []
        data = dumps(obj, 5, buffer_callback=beside.append)
        return NotImplemented if beside or not obj.size else (_frozen, (data,))


def _frozen(data: bytes) -> Any:
    array = loads(data)
    array.flags.writeable = False
    return array


def _taken_apart(obj: object, *, writable: bool) -> tuple[Any, list[memoryview]]:
    """Return a pickle, or ``None`` for bytes as such, and the buffers that belong to it."""
    if isinstance(obj, bytes | bytearray | memoryview):
        view = memoryview(obj)
        if not view.c_contiguous or not view.nbytes:
            view = memoryview(view.tobytes())
        return None, [view.cast("B")]
    buffers: list[memoryview] = []

    def keep_inside(buffer: PickleBuffer) -> bool:
        try:
            buffers.append(buffer.raw())
        except BufferError:  # not contiguous
            return True
        return False

    try:
        try:
            if writable:
                file = BytesIO()
                _Freezing(file, keep_inside).dump(obj)
                data = file.getvalue()
            else:
                data = dumps(obj, 5, buffer_callback=keep_inside)
            if WORD not in data:
                return data, buffers
        except Exception:  # whatever it was, cloudpickle may do better
            pass
        buffers.clear()
        return definitions.dumps(obj, keep_inside), buffers
    except Exception as error:
        raise TransferError(culprit.explain(obj, "the object", error)) from error


def _stored(head: bytes | None, buffers: list[memoryview], *, writable: bool) -> int:
    """Return the descriptor of memory with a table, and what it speaks of."""
    places = []
    end = 0
    for buffer in buffers:
        places.append((end, buffer.nbytes))
        end += buffer.nbytes + _ALIGNMENT - 1 & -_ALIGNMENT
    table = dumps((head, places), 5)
    first = 8 + len(table) + _ALIGNMENT - 1 & -_ALIGNMENT
    descriptor = create(max(1, first + end))
    try:
        # Not through a mapping: a process that another thread forks meanwhile would have it too,
        # and what somebody can write to cannot be sealed.
        _write(descriptor, memoryview(len(table).to_bytes(8, "little") + table), 0)
        for (offset, _), buffer in zip(places, buffers, strict=True):
            _write(descriptor, buffer, first + offset)
        seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL
        fcntl(descriptor, F_ADD_SEALS, seals if writable else seals | F_SEAL_WRITE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write(descriptor: int, data: memoryview, offset: int) -> None:
    done = 0
    while done < data.nbytes:
        done += os.pwrite(descriptor, data[done:], offset + done)


def _read(descriptor: int, *, writable: bool) -> Any:
    with mapped(descriptor, prot=PROT_READ) as room:
        length = int.from_bytes(room[:8], "little")
        head, places = loads(room[8 : 8 + length])
    first = 8 + length + _ALIGNMENT - 1 & -_ALIGNMENT
    views = [
        shared_view(descriptor, first + offset, size, writable=writable)
        if size
        else memoryview(b"")
        for offset, size in places
    ]
    if head is None:
        return views[0]
    try:
        return loads(head, buffers=views)
    except Exception as error:
        raise TransferError(f"the shared object cannot be read here: {error}") from error


def _arrived(token: descriptors.Token, lock: Lock | None) -> Shared[Any]:
    return Shared(descriptors.claim(token), lock)
