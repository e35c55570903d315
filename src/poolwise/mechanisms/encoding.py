"""Turning tasks and batches into frames for a worker; `receive` is the way back."""

from __future__ import annotations

from collections.abc import Callable

from _poolwise_worker import transfer, wire
from _poolwise_worker.apply import apply
from poolwise.mechanisms.module_state import module_state, state_for_fork
from poolwise.mechanisms.protocol import Initializer
from poolwise.task import Batch, Task


class Encoder:
    """How objects are pickled for the workers of one server, and the tasks that already are."""

    def __init__(self, *, for_forks: bool) -> None:
        self._for_forks = for_forks
        self._dumps: Callable[[object], bytes] = (
            transfer.dumps_between_forks if for_forks else transfer.dumps
        )
        self._tasks: dict[int, bytes] = {}

    def task(self, task: Task) -> bytes:
        """Return the frame that makes a task known to a worker.

        Raises:
            TransferError: the function itself cannot be pickled.
        """
        frame = self._tasks.get(task.id)
        if frame is None:
            state = state_for_fork if self._for_forks else module_state
            try:
                pickled = self._dumps((task.function, state(task.function) or {}))
            except Exception as error:
                from poolwise.errors import TransferError

                raise TransferError(
                    f"{task.name} cannot be pickled: {transfer.describe(error)}"
                ) from error
            frame = self._tasks[task.id] = wire.pack(wire.TASK, task.id, pickled)
        return frame

    def initializer(self, initializer: Initializer) -> bytes:
        """Return what makes a worker run the initializer.

        The variables that it may set come with it as they are before: what comes later with the
        functions of an executor would otherwise count as a change, and undo its work.

        Raises:
            TransferError: it cannot be pickled.
        """
        dumps = transfer.dumps_current if self._for_forks else transfer.dumps
        try:
            return dumps((*initializer, module_state(initializer[0])))
        except Exception as error:
            from poolwise.errors import TransferError

            raise TransferError(
                f"the initializer cannot be pickled: {transfer.describe(error)}"
            ) from error

    def inherit(self, tasks: set[int]) -> None:
        """Send only the numbers of these tasks: the server has them since it was forked."""
        for task in tasks:
            self._tasks[task] = wire.pack(wire.TASK, task)

    def needs_cloudpickle(self) -> bool:
        """Whether workers will import it to read their tasks."""
        return any(b"cloudpickle" in frame for frame in self._tasks.values())

    def batch(self, batch: Batch) -> bytes:
        """Return the frame of a batch; call by call, if as a whole it does not pickle."""
        try:
            payload = self._dumps_for(batch)(batch.columns)
        except Exception:
            return self.singly(batch)
        return wire.pack(wire.RUN, batch.id, payload, first=batch.task.id, count=len(batch))

    def singly(self, batch: Batch) -> bytes:
        """Pickle each call by itself, so that one bad argument fails only its own."""
        calls = []
        dumps = self._dumps_for(batch)
        for arguments in zip(*batch.columns, strict=True):
            try:
                calls.append(dumps(arguments))
            except Exception as error:
                why = f"its arguments cannot be pickled: {transfer.describe(error)}"
                calls.append(transfer.dumps(transfer.Unsendable(why)))
        payload = transfer.dumps(calls)
        return wire.pack(wire.SINGLY, batch.id, payload, first=batch.task.id, count=len(batch))

    def _dumps_for(self, batch: Batch) -> Callable[[object], bytes]:
        """Functions among the arguments may be younger than the fork that is to find them."""
        if self._for_forks and batch.task.function is apply:
            return transfer.dumps_current
        return self._dumps
