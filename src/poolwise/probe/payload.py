"""What it costs to send arguments to another process and results back."""

from __future__ import annotations

import pickle
from contextlib import suppress
from dataclasses import dataclass

from _poolwise_worker import transfer
from poolwise.ipc.looking import looking
from poolwise.task import Columns
from poolwise.timing.clock import Clock
from poolwise.units import Bytes, Seconds

#: Copying in and out of a socket, for each byte.
#: ``benchmarks/bench_overhead.py`` prints the throughput of a socket pair here: 1–2 GB/s.
_COPY_SECONDS_PER_BYTE = 1e-9


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
    calls = len(values)
    if not calls:
        return Payload()
    before = clock.now()
    try:
        bytes_in = _size(columns)
        middle = clock.now()
        bytes_out = _size(values)
    except Exception:
        return Payload(carried=False)
    there, back = middle - before, clock.now() - middle
    copying = (bytes_in + bytes_out) * _COPY_SECONDS_PER_BYTE
    # Reading a pickle costs about what writing it does.
    each = (there + back + copying) / calls
    return Payload(each, each, bytes_in // calls, bytes_out // calls)


def _size(value: object) -> Bytes:
    with looking():
        return _size_of_pickle(value)


def _size_of_pickle(value: object) -> Bytes:
    buffers: list[pickle.PickleBuffer] = []
    with suppress(Exception):
        data = pickle.dumps(value, 5, buffer_callback=buffers.append)
        if b"__main__" not in data:
            return len(data) + sum(buffer.raw().nbytes for buffer in buffers)
    # Sent by value, because a reference would not resolve over there; or not at all.
    return len(transfer.dumps(value))
