"""Turning tasks and batches into frames for a worker; `receive` is the way back."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from _poolwise_worker import script, transfer, wire
from _poolwise_worker.apply import apply
from _poolwise_worker.descriptors import dump
from _poolwise_worker.exchange import Exchange
from _poolwise_worker.transfer import Pickling
from poolwise.mechanisms import snapshots
from poolwise.mechanisms.carried import Applying, Brought, Carried
from poolwise.mechanisms.definitions import Meanings
from poolwise.mechanisms.module_state import module_state, state_for_fork
from poolwise.mechanisms.plain import dumps_plain
from poolwise.mechanisms.protocol import Initializer
from poolwise.mechanisms.receive import NOTHING_IS_SENT, comes_from_outside
from poolwise.task import Batch, Task


class Packed(NamedTuple):
    """A frame, and the descriptors that are sent with it; who takes it owns them."""

    frame: bytes
    descriptors: list[int]


class _Learned:
    """A frame that is sent to each worker; owns its descriptors."""

    __slots__ = ("_descriptors", "frame")

    def __init__(self, frame: bytes, descriptors: list[int]) -> None:
        self.frame = frame
        self._descriptors = descriptors

    def packed(self) -> Packed:
        return Packed(self.frame, [os.dup(each) for each in self._descriptors])

    def __del__(self, close=os.close) -> None:  # type: ignore[no-untyped-def]  # at exit os is gone
        for descriptor in self._descriptors:
            close(descriptor)


class Encoder:
    """How objects are pickled for the workers of one server, and the tasks that already are.

    A task that is gone is forgotten: no batch of it will come, and what it brought may be large.
    """

    def __init__(self, *, for_forks: bool) -> None:
        self._for_forks = for_forks
        self.way = transfer.BETWEEN_FORKS if for_forks else transfer.TO_WORKER
        #: What the names of modules meant when a worker first needed to know: all of these workers
        #: get the same pickles. One that starts after a change is then taken for one that does not
        #: know it, and not used again.
        self.noted: dict[str, Meanings] = {}
        self._tasks: WeakKeyDictionary[Task, _Learned] = WeakKeyDictionary()
        self._inherited: set[int] = set()

    def task(self, task: Task) -> Packed:
        """Return the frame that makes a task known to a worker.

        Raises:
            TransferError: the function itself cannot be pickled.
        """
        if task.id in self._inherited:
            return Packed(wire.pack(wire.TASK, task.id), [])
        self.learn(task)
        return self._tasks[task].packed()

    def learn(self, task: Task) -> None:
        """Pickle a task, once.

        Raises:
            TransferError: the function itself cannot be pickled.
        """
        if task in self._tasks or task.id in self._inherited:
            return

        try:
            payload, descriptors = self._function(self.way, task.function)
        except Exception as error:
            from poolwise.errors import TransferError

            raise TransferError(
                f"{task.name} cannot be pickled: {transfer.describe(error)}; {NOTHING_IS_SENT}"
            ) from error
        frame = wire.pack(wire.TASK, task.id, payload, descriptors=len(descriptors))
        self._tasks[task] = _Learned(frame, descriptors)

    def prime(self, initializer: Initializer | None) -> Packed:
        """Return the frame that asks a worker for a sign of life, after it has run the initializer.

        That brings the modules that it uses along: what it changes in them is then known to be the
        worker's own, and calls that come later do not bring it back.

        Raises:
            TransferError: it cannot be pickled.
        """
        if initializer is None:
            return Packed(wire.pack(wire.PRIME, 0), [])
        try:
            way = transfer.TO_OLDER_FORK if self._for_forks else self.way
            payload, descriptors = self._function(way, *initializer)
        except Exception as error:
            from poolwise.errors import TransferError

            raise TransferError(
                f"the initializer cannot be pickled: {transfer.describe(error)}"
            ) from error
        return Packed(wire.pack(wire.PRIME, 0, payload, descriptors=len(descriptors)), descriptors)

    def _function(
        self, way: Pickling, function: Callable[..., Any], *others: object
    ) -> tuple[bytes, list[int]]:
        """Pickle a function that brings the modules that it uses along, alone or with others."""
        state = state_for_fork if self._for_forks else module_state

        def dumps() -> bytes:
            version, places = state(function) or (0, {})
            carried = Carried(Brought((version, places)), function)
            left = way.without(frozenset(places.get(script.NAME, ())))
            return snapshots.dumps((carried, *others) if others else carried, left)

        return dump(dumps)

    def inherit(self, tasks: set[int]) -> None:
        """Send only the numbers of these tasks: the server has them since it was forked."""
        self._inherited |= tasks

    def needs_cloudpickle(self) -> bool:
        """Whether workers will import it to read their tasks."""
        return any(b"cloudpickle" in learned.frame for learned in self._tasks.values())

    def batch(self, batch: Batch, exchange: Exchange) -> Packed:
        """Return the frame of a batch; call by call, if as a whole it does not pickle."""
        try:
            payload, descriptors = transfer.dump(exchange.dumps, batch.columns, self._way_of(batch))
        except BaseException as error:
            if comes_from_outside(error):
                raise
            return self.singly(batch, exchange)
        return _batch(wire.RUN, batch, payload, descriptors)

    def singly(self, batch: Batch, exchange: Exchange) -> Packed:
        """Pickle each call by itself, so that one bad argument fails only its own."""
        way = self._way_of(batch)

        def dumps() -> bytes:
            applied = _applies(batch.task)
            calls = zip(*batch.columns, strict=True)
            return exchange.dumps([_call(way, each, applied=applied) for each in calls])

        return _batch(wire.SINGLY, batch, *transfer.dump(dumps))

    def _way_of(self, batch: Batch) -> Pickling:
        """Functions among the arguments may be younger than the fork that is to find them."""
        older = self._for_forks and _applies(batch.task)
        way = transfer.TO_OLDER_FORK if older else self.way
        function = batch.task.function
        return way.without(function.left) if isinstance(function, Applying) else way


def _applies(task: Task) -> bool:
    """Whether functions are among the arguments."""
    return task.function is apply or isinstance(task.function, Applying)


def _call(way: Pickling, arguments: tuple[Any, ...], *, applied: bool) -> bytes:
    try:
        return way.dumps(arguments)
    except BaseException as error:
        if comes_from_outside(error):
            raise
        why = _why(way, arguments, error, applied=applied)
        return transfer.dumps(transfer.Unsendable(why))


def _why(way: Pickling, arguments: tuple[Any, ...], error: BaseException, *, applied: bool) -> str:
    why = None
    try:
        with transfer.looking():
            why = _which(way, arguments, applied=applied)
    except BaseException as another:
        if comes_from_outside(another):
            raise
    return why or f"its arguments cannot be pickled: {transfer.describe(error)}"


def _which(way: Pickling, arguments: tuple[Any, ...], *, applied: bool) -> str | None:
    """Say which part of which argument does not pickle; with `applied`, those of the user's call
    are among them.
    """
    from _poolwise_worker.culprit import explain

    named: dict[str, object] = {}
    if applied:
        function, positional, keywords = arguments
        named["the function"] = function
        named.update((f"keyword argument {name}", each) for name, each in keywords.items())
    else:
        positional = arguments
    named.update((f"argument {place}", each) for place, each in enumerate(positional, 1))
    for name, value in named.items():
        try:
            way.dumps(value)
        except Exception as error:
            return explain(value, name, error)
    return None


def plain_batch(batch: Batch) -> bytes | None:
    """Return the frame of a batch whose columns are short and plain; else ``None``. Runs no code of
    the user's.
    """
    payload = dumps_plain(batch.columns)
    if payload is None:
        return None
    return wire.pack(wire.RUN, batch.id, payload, first=batch.task.id, count=batch.calls)


def _batch(kind: int, batch: Batch, payload: bytes, descriptors: list[int]) -> Packed:
    carried = len(descriptors)
    frame = wire.pack(
        kind, batch.id, payload, first=batch.task.id, count=batch.calls, descriptors=carried
    )
    return Packed(frame, descriptors)
