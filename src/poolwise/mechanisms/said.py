"""Saying here what calls have said in workers: lines, log records, warnings."""

from __future__ import annotations

import sys

from _poolwise_worker import transfer, wire

#: Where warnings have been shown: once for each place, as in a loop, however many workers warn.
_shown: dict[object, object] = {}

KINDS = frozenset({wire.SAID, wire.LOGGED, wire.WARNED})


def hear(frame: wire.Frame) -> None:
    """Act on one frame, in the thread of the owner. What streams, handlers and filters of the
    user's raise is dropped: it is no outcome of a call.
    """
    try:
        if frame.kind == wire.SAID:
            _write(frame)
        elif frame.kind == wire.LOGGED:
            _log(frame)
        else:
            _warn(frame)
    except Exception:
        pass


def _write(frame: wire.Frame) -> None:
    stream = sys.stdout if frame.key == 1 else sys.stderr
    if stream is not None:
        stream.write(bytes(frame.payload).decode("utf-8", "surrogatepass"))
        stream.flush()


def _log(frame: wire.Frame) -> None:
    import logging

    record = logging.makeLogRecord(transfer.loads(frame.payload))
    logger = logging.getLogger(record.name if record.name != "root" else None)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def _warn(frame: wire.Frame) -> None:
    import warnings

    message, category, filename, line = transfer.loads(frame.payload)
    warnings.warn_explicit(message, category, filename, line, registry=_shown)  # type: ignore[arg-type]
