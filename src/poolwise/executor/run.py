"""A map as the user holds it: an iterator of results."""

from __future__ import annotations

import itertools
from types import TracebackType
from typing import Self, TypeVar

from poolwise.executor.drive import Drive, EndedDrive
from poolwise.executor.record import RunRecord
from poolwise.plan import Plan

T = TypeVar("T")


class BaseRun(itertools.chain[T]):
    """Results in parts, chained by C code, so that a result costs some 20 ns and not 100.

    Made by `of`. Holds its `Drive` and is its owner's handle; when the run is let go, the drive
    ends its workers.
    """

    _drive: Drive | EndedDrive

    @classmethod
    def of(cls, drive: Drive | EndedDrive) -> Self:
        """Return a run of what `drive` drives."""
        run = cls.from_iterable(drive)
        run._drive = drive  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    @property
    def plan(self) -> Plan:
        """The plan in force; it may change while the run goes on."""
        return self.record().plan

    def results(self) -> list[T]:
        """Return all results that are left, as a list.

        Raises:
            Exception: whatever a call raised, unless the run was made with
                ``on_error="return"``. The run can be read on after it.
        """
        return list(self)

    def record(self) -> RunRecord:
        """Return what has been planned and what has happened so far."""
        drive = self._drive
        record = drive.record() if isinstance(drive, Drive) else drive.record
        assert record is not None
        return record

    def close(self) -> None:
        """Stop: draw no more inputs, end the workers. What was computed can still be read."""
        if isinstance(self._drive, Drive):
            self._drive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        record = self.record()
        state = "finished" if record.finished else f"{record.done + record.failed:,} inputs done"
        if isinstance(self._drive, Drive) and not self._drive.started:
            return f"<poolwise.Run of {record.task.name}: not started; iterate over it>"
        return f"<poolwise.Run of {record.task.name}: {record.plan}, {state}>"
