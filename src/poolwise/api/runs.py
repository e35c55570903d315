"""What `map` returns, and the latest of each thread."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from poolwise.executor.drive import Drive, EndedDrive
from poolwise.executor.run import BaseRun
from poolwise.explain import Explanation, explain_run

T = TypeVar("T")


class Run(BaseRun[T]):
    """What `map` returns: an iterator over results, and the story of how they came about.

    Iterating runs the work; `close`, or leaving a ``with`` block, ends it. `plan` is the plan in
    force, `results` returns what is left as a list.
    """

    def explain(self) -> Explanation:
        """Return what was planned, what happened, and why; `print` it."""
        return explain_run(self.record())

    @property
    def code(self) -> str:
        """The same by hand, as `explain` tells it: a program with the standard library alone."""
        return self.explain().code


class _Last(threading.local):
    """The latest run of each thread.

    The run itself is held weakly, so that a loop that was left early ends its workers; the record
    of a run that is gone is kept.
    """

    run: Callable[[], Run[Any] | None] | None = None
    ended: EndedDrive | None = None


_last = _Last()


def new_run(drive: Drive) -> Run[Any]:
    """Return a run over what `drive` has to do, the latest of this thread."""
    run: Run[Any] = Run.of(drive)
    _last.run, _last.ended = weakref.ref(run), drive.ended
    return run


def last_run() -> Run[Any]:
    """Return the latest run that this thread started, for example inside ``list(map(...))``.

    Raises:
        LookupError: this thread has not started any.
    """
    run = _last.run() if _last.run is not None else None
    if run is not None:
        return run
    if _last.ended is None:
        raise LookupError("no run yet: poolwise.map has not been called in this thread")
    return Run.of(_last.ended)
