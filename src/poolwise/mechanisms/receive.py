"""Turning what a worker sent back into outcomes."""

from __future__ import annotations

import threading
from typing import Any

from _poolwise_worker import raised, transfer, wire
from _poolwise_worker.apply import apply
from _poolwise_worker.exchange import Exchange
from poolwise.mechanisms.carried import Carried
from poolwise.task import Batch, Outcomes, Task, name_of


class RemoteTraceback(Exception):
    """The cause of an exception that came from a worker: the traceback there, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def comes_from_outside(error: BaseException) -> bool:
    """Whether what came while something of the user's was pickled or read may be no fault of it,
    but what a signal handler has raised, such as Ctrl-C: that must not pass for an outcome.
    """
    if isinstance(error, Exception | SystemExit):
        return False
    return threading.current_thread() is threading.main_thread()


def outcomes_of(frame: wire.Frame, batch: Batch, exchange: Exchange) -> Outcomes:
    """Return the outcomes in a DONE or MIXED frame.

    Values that do not unpickle here become errors of these calls, also where reading one wants to
    end the program. Nothing is raised but what `comes_from_outside`.
    """
    task = batch.task
    try:
        content: Any = frame.read(exchange.loads)
    except BaseException as error:
        if comes_from_outside(error):
            raise
        why = f"a result of {task.name} cannot be read: {transfer.describe(error)}"
        errors = {position: _transfer_error(why, error) for position in range(frame.count)}
        return Outcomes([None] * frame.count, errors, frame.service, frame.cpu)
    if frame.kind == wire.DONE:
        return Outcomes(content, {}, frame.service, frame.cpu)
    values, failed = content
    errors = {
        position: error_of(_name_of(batch, frame.first + position), *each)
        for position, each in failed.items()
    }
    return Outcomes(values, errors, frame.service, frame.cpu)


def _name_of(batch: Batch, position: int) -> str:
    """Return the name of the user's function in one call."""
    if batch.task.function is not apply:
        return batch.task.name
    function = batch.columns[0][position]
    return name_of(function.function if isinstance(function, Carried) else function)


def unreadable(task: Task, count: int, why: str) -> Outcomes:
    """Return the outcomes of calls whose arguments arrived but could not be taken apart."""
    text = f"arguments of {task.name} cannot be read in a worker: {why}"
    errors = {position: _transfer_error(text, None) for position in range(count)}
    return Outcomes([None] * count, errors)


def initializer_failed(frame: wire.Frame) -> BaseException:
    """Return what to say of an initializer that raised in a worker."""
    from poolwise.errors import InitializerFailed

    _, text = transfer.loads(frame.payload)
    error = InitializerFailed(text.strip().rpartition("\n")[2])
    error.__cause__ = RemoteTraceback(text)
    return error


def _named_in(traceback: str) -> str:
    """Return the line that names the exception: the last, or of a group that before its members."""
    lines = [line.strip() for line in traceback.strip().split("\n")]
    members = [place for place, line in enumerate(lines) if line.startswith("+-+-")]
    return lines[members[0] - 1].strip("| ") if members else lines[-1]


def error_of(name: str, pickled: bytes | None, text: str) -> BaseException:
    """Return what a call of the function `name` raised in another process, or why it cannot be had.

    Args:
        name: Of the function, for texts.
        pickled: What `_poolwise_worker.raised.pack` made of the exception.
        text: The traceback there, which becomes the cause of what began it all.
    """
    cause = RemoteTraceback(text)
    if pickled is None:
        why = f"{name} raised an exception that cannot be pickled: {_named_in(text)}"
        return _transfer_error(why, cause)
    try:
        error = raised.unpack(pickled)
    except BaseException as another:
        if comes_from_outside(another):
            raise
        why = f"{name} raised an exception that cannot be read: "
        return _transfer_error(why + transfer.describe(another), cause)
    if isinstance(error, transfer.Untransferable):
        return _transfer_error(f"a call of {name} failed: {error}", None)
    _first_cause(error).__cause__ = cause
    return error


#: What to do where something cannot be sent, whatever it is.
NOTHING_IS_SENT = 'with mechanism="thread", or in a plain loop, nothing is sent'


def _first_cause(error: BaseException) -> BaseException:
    """Return what began it all, which has no cause: its place is free for the traceback there."""
    seen = {id(error)}
    while error.__cause__ is not None and id(error.__cause__) not in seen:
        error = error.__cause__
        seen.add(id(error))
    return error


def _transfer_error(text: str, cause: BaseException | None) -> BaseException:
    from poolwise.errors import TransferError

    error = TransferError(f"{text}; {NOTHING_IS_SENT}")
    error.__cause__ = cause
    return error
