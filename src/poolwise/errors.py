"""Every error of poolwise, in one tree.

::

    PoolwiseError
    ├── WorkerCrashed      (also concurrent.futures.process.BrokenProcessPool)
    ├── WorkersKilled      (also concurrent.futures.process.BrokenProcessPool)
    ├── InitializerFailed  (also BrokenThreadPool and BrokenProcessPool)
    ├── TransferError      (also pickle.PicklingError)
    ├── OwnerDied
    ├── ChannelClosed      (also EOFError)
    ├── PlanRefused        (also ValueError)
    └── StaleProfile

A call's own exception is none of these: it is raised unchanged, with the worker's traceback as
its cause.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from concurrent.futures.thread import BrokenThreadPool

# Those that workers raise too are made where they can import them.
from _poolwise_worker.errors import ChannelClosed, OwnerDied, PoolwiseError, TransferError
from poolwise.task import Exit, Refusal

__all__ = [
    "ChannelClosed",
    "InitializerFailed",
    "OwnerDied",
    "PlanRefused",
    "PoolwiseError",
    "StaleProfile",
    "TransferError",
    "WorkerCrashed",
    "WorkersKilled",
]


class WorkerCrashed(PoolwiseError, BrokenProcessPool):
    """A worker died while it ran this call. Whose fault: the call's, or the machine's.

    Only calls that had started fail; all others run elsewhere, and the pool lives on. `index` is
    the place of the call's input, counted from 0.
    """

    def __init__(self, call: str, exit: Exit, index: int | None = None) -> None:
        super().__init__(call, exit, index)
        self.call = call
        self.exit = exit
        self.index = index

    def __str__(self) -> str:
        return f"the worker that ran {self.call} {_how(self.exit)}"


def _how(exit: Exit) -> str:
    if exit.signal is not None:
        try:
            name = signal.Signals(exit.signal).name
        except ValueError:
            name = f"signal {exit.signal}"
        hint = "; Linux kills with SIGKILL when memory runs out" if name == "SIGKILL" else ""
        return f"was killed by {name} (pid {exit.pid}){hint}"
    if exit.code is not None:
        return f"ended with exit code {exit.code} (pid {exit.pid})"
    return f"ended in an unknown way (pid {exit.pid})"


class WorkersKilled(PoolwiseError, BrokenProcessPool):
    """`Executor.kill_workers` or `terminate_workers` ended the worker under this call.

    Whose fault: nobody's; it was asked for.
    """


class InitializerFailed(PoolwiseError, BrokenThreadPool, BrokenProcessPool):
    """The `initializer` raised in a worker: no call runs any more, and none can be submitted.

    Whose fault: the initializer's. What it raised is the cause, where it was in this process.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the initializer failed in a worker ({self.why}), so no call can run"


class PlanRefused(PoolwiseError, ValueError):
    """The plan that was asked for cannot run this task: why, and what would do."""

    def __init__(self, plan: str, refusal: Refusal) -> None:
        super().__init__(plan, refusal)
        self.plan = plan
        self.refusal = refusal

    def __str__(self) -> str:
        return f"{self.plan} is refused: {self.refusal}"


class StaleProfile(PoolwiseError):
    """A machine profile was measured where something was otherwise than here: measure again.

    Whose fault: nobody's. `differences` maps what differs to what it was there and what it is here.
    """

    def __init__(self, differences: Mapping[str, tuple[object, object]]) -> None:
        super().__init__(differences)
        self.differences = differences

    def __str__(self) -> str:
        found = "; ".join(
            f"{name} {was}, here {now}" for name, (was, now) in self.differences.items()
        )
        return f"the profile is of another machine ({found}); poolwise.measure() makes a new one"
