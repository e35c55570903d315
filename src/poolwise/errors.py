"""Every error of poolwise, in one tree.

::

    PoolwiseError
    ├── WorkerCrashed      (also concurrent.futures.process.BrokenProcessPool)
    ├── WorkersKilled      (also concurrent.futures.process.BrokenProcessPool)
    ├── TaskTimeout        (also TimeoutError)
    ├── MemoryLimitExceeded (also MemoryError)
    ├── InitializerFailed  (also BrokenThreadPool and BrokenProcessPool)
    ├── PoolFailed         (also BrokenThreadPool and BrokenProcessPool)
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
from poolwise.units import Bytes, Seconds, size

__all__ = [
    "ChannelClosed",
    "InitializerFailed",
    "MemoryLimitExceeded",
    "OwnerDied",
    "PlanRefused",
    "PoolFailed",
    "PoolwiseError",
    "StaleProfile",
    "TaskTimeout",
    "TransferError",
    "WorkerCrashed",
    "WorkersKilled",
]


class WorkerCrashed(PoolwiseError, BrokenProcessPool):
    """A worker died while it ran this call. Whose fault: the call's, or the machine's.

    Only calls that had started fail; all others run elsewhere, and the pool lives on. `index` is
    the place of the call's input, counted from 0; `tries` is how often it has been started;
    `retriable` whether there are `retries` to ask for, which a `Worker` has not.
    """

    def __init__(
        self,
        call: str,
        exit: Exit,
        index: int | None = None,
        tries: int = 1,
        retriable: bool = True,
    ) -> None:
        super().__init__(call, exit, index, tries, retriable)
        self.call = call
        self.exit = exit
        self.index = index
        self.tries = tries
        self.retriable = retriable

    def __str__(self) -> str:
        if self.tries > 1:
            again = f"; it was started {self.tries} times, with a worker of its own since the first"
        elif not self.retriable:
            again = ""
        else:
            again = "; retries=1 has such a call run again, where that does no harm"
        return f"the worker that ran {self.call} {_how(self.exit)}{again}"


#: What a program is told by the system when it has done what it must not.
_FAULTS = ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGSYS")


def _how(exit: Exit) -> str:
    if exit.reason == "unguarded":
        return f"was ended (pid {exit.pid}), because the process died that kept its limits"
    if exit.signal is not None:
        try:
            name = signal.Signals(exit.signal).name
        except ValueError:
            name = f"signal {exit.signal}"
        hint = ""
        if name == "SIGKILL":
            hint = "; Linux kills with SIGKILL when memory runs out"
        elif name in _FAULTS:
            hint = "; most likely a fault in a library written in C"
        return f"was killed by {name} (pid {exit.pid}){hint}"
    if exit.code is not None:
        hint = "; something has called os._exit" if exit.code != 1 else ""
        return f"ended with exit code {exit.code} (pid {exit.pid}){hint}"
    return f"ended in an unknown way (pid {exit.pid})"


class TaskTimeout(PoolwiseError, TimeoutError):
    """A call ran for longer than `task_timeout` allows; its worker was killed and replaced.

    Whose fault: the call's, or the limit's. `index` is the place of its input, counted from 0.
    """

    def __init__(self, call: str, seconds: Seconds, index: int | None = None) -> None:
        # One text: an `OSError`, which a `TimeoutError` is, takes two arguments for an errno.
        took = f"took longer than task_timeout={seconds:g} s allows"
        super().__init__(f"{call} {took}; the worker that ran it was ended")
        self.call = call
        self.seconds = seconds
        self.index = index

    def __reduce__(self) -> tuple[type, tuple[str, Seconds, int | None]]:
        return type(self), (self.call, self.seconds, self.index)


class MemoryLimitExceeded(PoolwiseError, MemoryError):
    """A worker grew by more than `memory_limit` allows while it ran this call, and was replaced.

    Whose fault: the call's, or that of calls before it in the same worker that kept memory.
    `index` is the place of its input, counted from 0.
    """

    def __init__(self, call: str, limit: Bytes, index: int | None = None) -> None:
        super().__init__(call, limit, index)
        self.call = call
        self.limit = limit
        self.index = index

    def __str__(self) -> str:
        grew = f"the worker that ran {self.call} grew by more than memory_limit={size(self.limit)}"
        return f"{grew}, and was ended; max_tasks_per_child replaces workers before they are large"


class WorkersKilled(PoolwiseError, BrokenProcessPool):
    """`Executor.kill_workers` or `terminate_workers` ended the worker under this call, or the grace
    of `shutdown` was over.

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


class PoolFailed(PoolwiseError, BrokenThreadPool, BrokenProcessPool):
    """Calls have nowhere to run: no worker can be started, or what drives an executor has failed.

    Whose fault: the system's, which gives no process or thread, or poolwise's own; the cause tells.
    The executor is not broken for good: what is submitted next tries again.
    """


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
