"""What can be said of a task without running it."""

from __future__ import annotations

import contextvars
import dis
import functools
import inspect
import signal
import sys
import threading
from types import FunctionType, ModuleType

from _poolwise_worker import script, transfer
from _poolwise_worker.seeded import Seeded
from poolwise.mechanisms.module_state import mock_in
from poolwise.mechanisms.reached import attributes_of, is_the_users, names_reached_by
from poolwise.probe.picture import TooLarge, picture
from poolwise.task import Refusal, Task, TaskTraits
from poolwise.units import Bytes


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
    return TaskTraits(concurrent=_seeds(function) or _tied_to_a_thread(task))


def pickling_refusal(task: Task) -> Refusal | None:
    """Say why the function cannot be carried to another process, or ``None``.

    Apart from `read_traits`, because a function can hold gigabytes: ask only where processes are
    considered. What only the executed server cannot carry, such as a lock among the variables of
    the main script, is found out when workers are asked for.
    """
    mock = mock_in(task.function)
    if mock is not None:
        return Refusal(
            f"{mock} is a mock, which notes its calls in this process only",
            "use threads or a plain loop",
        )
    try:
        with transfer.looking():
            transfer.BETWEEN_FORKS.dumps(task.function)
    except Exception as error:
        from _poolwise_worker.culprit import explain

        with transfer.looking():
            why = explain(task.function, task.name, error)
        return Refusal(why, "use threads or a plain loop")
    return None


def carrying_refusal(task: Task) -> Refusal | None:
    """Say why calls might do something else in another process, or ``None``. More than
    `pickling_refusal`: a variable that does not pickle stays behind, and a worker has its own, as
    it is after an import. Whoever pins a plan can know that this will do.
    """
    refusal = pickling_refusal(task)
    if refusal is not None:
        return refusal
    for module, path, value in names_reached_by(task.function):
        if not is_the_users(module) and module != script.NAME:
            continue
        if not isinstance(value, _ALIKE) and not _can_be_pickled(value):
            return Refusal(
                f"{module}.{path} cannot be pickled, and a worker would have its own",
                "use threads, give locks and queues of poolwise, or pin a process plan if each "
                "worker's own will do",
            )
    return None


#: What does not pickle and is the same after every import, for all that calls can tell. Not locks,
#: which would keep nobody out in another process, nor files, which would have a buffer there.
_ALIKE = (threading.local, contextvars.ContextVar, ModuleType, type)

#: Variables that are larger are taken to be data.
_LOOKED_AT: Bytes = 1 << 20


def _can_be_pickled(value: object) -> bool:
    if inspect.isroutine(value):
        return True
    if isinstance(value, memoryview):  # it can, by value; but it would be `bytes` there
        return False
    try:
        picture(value, _LOOKED_AT, _LOOKED_AT)
    except TooLarge:
        return True
    except Exception:  # cloudpickle may do better
        try:
            with transfer.looking():
                transfer.dumps(value)
        except Exception:
            return False
    return True


def _seeds(function: object) -> Refusal | None:
    if not isinstance(function, Seeded):
        return None
    return Refusal(
        "seed= seeds the generators of the process for each call, and threads share them",
        "use processes with one thread each (such as process:4), or a plain loop",
    )


def _tied_to_a_thread(task: Task) -> Refusal | None:
    """Say why calls cannot run in threads beside the one in which they would run in a loop."""
    sqlite = sys.modules.get("sqlite3")
    tied = () if sqlite is None else (sqlite.Connection, sqlite.Cursor)
    for _, _, value in names_reached_by(task.function):
        if tied and (isinstance(value, tied) or _holds(value, tied)):
            return Refusal(
                f"{task.name} uses an SQLite connection, which only the thread that made it may",
                "use a plain loop, or connect inside the call",
            )
        if value is signal.signal or (isinstance(value, FunctionType) and _sets_handlers(value)):
            return Refusal(
                f"{task.name} sets signal handlers, which only a main thread may",
                "use processes with one thread each (such as process:4), or a plain loop",
            )
    return None


def _holds(value: object, kinds: tuple[type, ...]) -> bool:
    """Whether an attribute of a thing is one of these."""
    attributes = attributes_of(value)
    return attributes is not None and any(isinstance(each, kinds) for each in attributes.values())


def _sets_handlers(function: FunctionType) -> bool:
    """Whether the code says ``signal.signal`` or ``signal.set_wakeup_fd``."""
    named = map(function.__globals__.get, function.__code__.co_names)
    if not any(value is signal for value in named):
        return False
    before = None
    for instruction in dis.get_instructions(function):
        if instruction.argval in ("signal", "set_wakeup_fd") and before is signal:
            return True
        loads = instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
        before = function.__globals__.get(instruction.argval) if loads else None
    return False
