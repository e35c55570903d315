"""What workers are to be like: asked for and checked as the standard executors do it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from poolwise.executor.guards import Guards
from poolwise.machine import Facts, this_machine
from poolwise.mechanisms import WorkerOptions
from poolwise.units import Bytes, Seconds, real, whole

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

#: Bounds for an arena, in bytes. What finds no room in it goes through the socket.
_SMALLEST_ARENA: Bytes = 1 << 20
_LARGEST_ARENA: Bytes = 1 << 30

_START_METHODS = ("forkserver", "spawn", "fork")


def worker_options(
    *,
    mp_context: BaseContext | str | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    max_tasks_per_child: int | None = None,
    thread_name_prefix: str = "",
    start_method: str | None = None,
    idle_timeout: Seconds = 30.0,
    guards: Guards = Guards(),  # noqa: B008 - frozen
) -> WorkerOptions:
    """Check what concerns workers, with the words of the standard executors where they have some.

    Of a `mp_context` only the name of its start method is used. A text in its place is a
    `thread_name_prefix`: `ThreadPoolExecutor` takes that second where `ProcessPoolExecutor` takes
    a context, and one class stands for both.

    Raises:
        TypeError: one of the wrong type.
        ValueError: one out of range, or two that contradict each other.
    """
    context: BaseContext | None = None
    if isinstance(mp_context, str) and mp_context in _START_METHODS:
        raise TypeError(
            f"mp_context takes a context, not {mp_context!r}: give start_method={mp_context!r}"
        )
    if not isinstance(mp_context, str):
        context = mp_context
    elif thread_name_prefix:
        raise TypeError(f"thread_name_prefix is given twice: {mp_context!r} comes second")
    else:
        thread_name_prefix = mp_context
    if not isinstance(thread_name_prefix, str):
        raise TypeError(f"thread_name_prefix takes a text, not {thread_name_prefix!r}")
    if initializer is not None and not callable(initializer):
        raise TypeError(f"initializer must be a callable, not {initializer!r}")
    if not isinstance(initargs, Iterable):
        raise TypeError(f"initargs takes a tuple of arguments, not {initargs!r}")
    start_method = _start_method(context, start_method)
    return WorkerOptions(
        initializer=None if initializer is None else (initializer, tuple(initargs)),
        thread_name_prefix=thread_name_prefix,
        start_method=start_method,
        calls_per_worker=_calls_per_worker(max_tasks_per_child, start_method),
        idle_timeout=_idle_timeout(idle_timeout),
        arena_limit=_arena_limit(this_machine().facts),
        call_timeout=guards.timeout,
        memory_limit=guards.memory,
        killable=guards.killable,
    )


def _start_method(mp_context: BaseContext | None, start_method: str | None) -> str | None:
    if start_method is not None and start_method not in _START_METHODS:
        accepted = ", ".join(_START_METHODS)
        raise ValueError(f"start_method takes one of {accepted}, not {start_method!r}")
    if mp_context is None:
        return start_method
    from multiprocessing.context import BaseContext  # 10 ms that a map has no use for

    if not isinstance(mp_context, BaseContext):
        raise TypeError(
            "mp_context takes a context, such as multiprocessing.get_context('spawn'), "
            f"not {mp_context!r}"
        )
    name = mp_context.get_start_method()
    if start_method not in (None, name):
        raise ValueError(f"mp_context says {name!r} and start_method {start_method!r}: give one")
    return name


def _arena_limit(facts: Facts) -> Bytes:
    """Return what one arena may take: all of them, two for each CPU, half of the free memory.

    It counts against the memory of this process's cgroup, which is killed when that is used up.
    """
    if facts.free_memory is None:
        return _LARGEST_ARENA
    return max(_SMALLEST_ARENA, min(_LARGEST_ARENA, facts.free_memory // (4 * facts.whole_cpus)))


def _idle_timeout(seconds: Seconds) -> Seconds:
    number = real(seconds)
    if number is None:
        raise TypeError(f"idle_timeout takes a number of seconds, not {seconds!r}")
    if not 0 <= number < math.inf:
        raise ValueError(f"idle_timeout takes seconds from 0 on, and not for ever: not {seconds!r}")
    return number


def _calls_per_worker(count: int | None, start_method: str | None) -> int | None:
    if count is None:
        return None
    number = whole(count)
    if number is None:
        raise TypeError(f"max_tasks_per_child must be an integer, not {count!r}")
    if number <= 0:
        raise ValueError(f"max_tasks_per_child must be >= 1, not {number}")
    if start_method == "fork":
        raise ValueError(
            "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method: "
            "workers that start later would be forked beside running threads; "
            "give 'forkserver' or 'spawn'"
        )
    return number
