"""What can be said of a task without running it."""

from __future__ import annotations

import functools
import inspect

from _poolwise_worker import transfer
from poolwise.task import Refusal, Task, TaskTraits


def read_traits(task: Task) -> TaskTraits:
    """Return what speaks against running `task` in threads or in other processes."""
    function = task.function
    target = function.func if isinstance(function, functools.partial) else function
    if not inspect.isroutine(target) and not inspect.isclass(target):
        target = type(target).__call__
    if inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
        refusal = Refusal(
            f"{task.name} is a coroutine function: a call returns at once, and nothing runs",
            "give a plain function, for example one that calls asyncio.run",
        )
        return TaskTraits(concurrent=refusal, elsewhere=refusal)
    if inspect.isgeneratorfunction(target):
        return TaskTraits(
            concurrent=Refusal(f"{task.name} is a generator function: its work runs in the caller"),
            elsewhere=Refusal(
                f"{task.name} is a generator function, and generators cannot be pickled",
                "return a list instead",
            ),
        )
    return TaskTraits()


def pickling_refusal(task: Task) -> Refusal | None:
    """Say why the function cannot be pickled, or ``None``.

    Apart from `read_traits`, because a function can hold gigabytes: ask only where processes are
    considered. What only the executed server cannot carry, such as a lock among the variables of
    the main script, is found out when workers are asked for.
    """
    try:
        transfer.BETWEEN_FORKS.dumps(task.function)
    except Exception as error:
        why = f"{task.name} cannot be pickled ({transfer.describe(error)})"
        return Refusal(why, "use threads")
    return None
