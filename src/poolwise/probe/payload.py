"""What it costs to send arguments to another process and results back."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass

from _poolwise_worker import buffers, transfer
from _poolwise_worker.script import WORD
from poolwise.task import Columns
from poolwise.timing.clock import Clock
from poolwise.units import Bytes, Seconds

#: Copying in and out of a socket, for each byte.
#: ``benchmarks/bench_overhead.py`` prints the throughput of a socket pair here: 1–2 GB/s.
_SOCKET: Seconds = 1e-9

#: From this size on things are written into shared memory, and mapped by who reads them: about
#: 5 GB/s and 20 GB/s, by a script that sent arrays of 8 MB one way. What both come to together is
#: printed by ``benchmarks/bench_data.py``.
_LARGE: Bytes = buffers.THRESHOLD
_WRITE: Seconds = 2e-10
_READ: Seconds = 5e-11

#: A look is repeated so often, until that has taken so long.
_LOOKS = 3
_LOOK_AGAIN: Seconds = 3e-4

#: So many calls are looked at together as take so long: what one costs by itself is mostly what one
#: pickle costs.
_LOOK_FOR: Seconds = 3e-4


@dataclass(frozen=True, slots=True)
class Payload:
    """Per call: seconds spent serialising in the caller and in the worker, and bytes each way."""

    caller: Seconds = 0.0
    worker: Seconds = 0.0
    bytes_in: Bytes = 0
    bytes_out: Bytes = 0
    carried: bool = True


def measure_payload(columns: Columns, values: list[object], clock: Clock) -> Payload:
    """Pickle some calls' arguments and results, without copying large buffers.

    Protocol 5 hands large buffers out, so their size is learnt without a copy; what sending
    them would cost is computed from it. `Payload.carried` is false if something does not pickle.
    """
    if not values:
        return Payload()
    calls = 1
    try:
        (bytes_in, there), (bytes_out, back) = _look_at(columns, values, calls, clock)
        more = int(min(len(values), _LOOK_FOR / max(there, back, 1e-9)))
        if more > calls:
            calls = more
            (bytes_in, there), (bytes_out, back) = _look_at(columns, values, calls, clock)
    except Exception:
        return Payload(carried=False)
    # Reading a pickle costs about what writing it does.
    both = (there + back) / calls
    to_write, to_read = copying(bytes_in / calls), copying(bytes_out / calls)
    return Payload(
        caller=both + to_write[0] + to_read[1],
        worker=both + to_write[1] + to_read[0],
        bytes_in=bytes_in // calls,
        bytes_out=bytes_out // calls,
    )


def copying(size: float) -> tuple[Seconds, Seconds]:
    """Return what so many bytes cost who sends them, and who receives them."""
    if size < _LARGE:
        return size * _SOCKET, size * _SOCKET
    return size * _WRITE, size * _READ


def _look_at(
    columns: Columns, values: list[object], calls: int, clock: Clock
) -> tuple[tuple[Bytes, Seconds], tuple[Bytes, Seconds]]:
    """Look at the arguments and at the results of the first so many calls."""
    return _look(tuple(column[:calls] for column in columns), clock), _look(values[:calls], clock)


def _look(value: object, clock: Clock) -> tuple[Bytes, Seconds]:
    """Return the size of a pickle, and how long it takes to make.

    What belongs to the main module is sent by reference between forks. Others are sent a class by
    value with each batch: that it can be is found out here, but it is not what a call costs. (It
    took 0.5 ms, and calls of 5 ms that return such objects seemed to gain nothing in processes.)
    """
    of_main = False

    def by_reference() -> Bytes:
        nonlocal of_main
        beside: list[pickle.PickleBuffer] = []
        data = pickle.dumps(value, 5, buffer_callback=beside.append)
        of_main = WORD in data
        return len(data) + sum(buffer.raw().nbytes for buffer in beside)

    with transfer.looking():
        try:
            found = _timed(by_reference, clock)
        except Exception:  # a reference would not resolve, or it does not pickle at all
            return _timed(lambda: len(transfer.dumps(value)), clock)
        if of_main:
            transfer.dumps(value)
        return found


def _timed(pickled: Callable[[], Bytes], clock: Clock) -> tuple[Bytes, Seconds]:
    """Return a size, and how long it takes to find when not found for the first time.

    The first pickle of a process took ten times as long: its code is not in memory yet.
    """
    took: list[Seconds] = []
    while True:
        began = clock.now()
        size = pickled()
        took.append(clock.now() - began)
        if len(took) == _LOOKS or sum(took) > _LOOK_AGAIN:
            return size, min(took)
