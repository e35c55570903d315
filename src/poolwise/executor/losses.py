"""What is said of workers that have ended, and of the calls that were lost with them."""

from __future__ import annotations

from poolwise.mechanisms import WorkerOptions
from poolwise.task import EndReason, Exit, Task

#: Reasons to end a worker that would be there again: no other try, unless the user lists them.
_LIMITS = ("overtime", "overgrown")

_REASONS: dict[EndReason, str] = {
    "overtime": "its call took too long",
    "overgrown": "it had grown too large",
    "cancelled": "its call was cancelled",
    "unguarded": "the process died that kept its limits",
}


def how_it_ended(exit: Exit) -> str:
    """Say how a worker ended."""
    if exit.reason is not None:
        return f"was ended: {_REASONS[exit.reason]}"
    return str(exit)


def met_a_limit(exit: Exit) -> bool:
    """Whether the worker was ended for what its call would do again."""
    return exit.reason in _LIMITS


def error_of(
    number: int, task: Task, exit: Exit, workers: WorkerOptions, tries: int
) -> BaseException:
    """Return what the call with this place in the output fails with, whose worker ended so."""
    from poolwise.errors import MemoryLimitExceeded, TaskTimeout, WorkerCrashed

    call = f"call {number} of {task.name}"
    if exit.reason == "overtime":
        return TaskTimeout(call, workers.call_timeout or 0.0, number)
    if exit.reason == "overgrown":
        return MemoryLimitExceeded(call, workers.memory_limit or 0, number)
    return WorkerCrashed(call, exit, number, tries)
