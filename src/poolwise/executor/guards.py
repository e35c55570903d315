"""What only processes can promise: calls that end in time, within their memory, or when cancelled;
and calls that reach nothing of this process.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from poolwise.plan import Plan
from poolwise.task import Refusal
from poolwise.units import Bytes, Seconds, parse_size, real, whole


@dataclass(frozen=True, slots=True)
class Guards:
    """The limits of a call, and whether `isolate` asks for processes."""

    timeout: Seconds | None = None
    memory: Bytes | None = None
    killable: bool = False
    isolate: bool = False

    @property
    def one_call(self) -> str:
        """The name of an option for which a worker must have one call; ``""`` if there is none."""
        if self.timeout is not None:
            return "task_timeout"
        if self.memory is not None:
            return "memory_limit"
        return "kill_on_cancel" if self.killable else ""

    @property
    def asks_for_processes(self) -> str:
        """The name of an option that only processes can do; ``""`` if there is none."""
        return self.one_call or ("isolate" if self.isolate else "")


def guards_of(
    task_timeout: Seconds | None,
    memory_limit: Bytes | str | None,
    kill_on_cancel: bool,
    isolate: bool,
) -> Guards:
    """Check what the user asks for.

    Raises:
        TypeError: one of the wrong type; the text names the option and what it takes.
        ValueError: one out of range.
        PlanRefused: this system does not tell what a process uses.
    """
    for name, value in (("kill_on_cancel", kill_on_cancel), ("isolate", isolate)):
        if not isinstance(value, bool):
            raise TypeError(f"{name} takes True or False, not {value!r}")
    return Guards(_timeout(task_timeout), _memory(memory_limit), kill_on_cancel, isolate)


def _timeout(seconds: Seconds | None) -> Seconds | None:
    if seconds is None:
        return None
    number = real(seconds)
    if number is None:
        raise TypeError(f"task_timeout takes a number of seconds, or None, not {seconds!r}")
    if not 0 < number < math.inf:
        raise ValueError(
            f"task_timeout takes seconds above 0, or None for no limit, not {seconds!r}"
        )
    return number


def _memory(limit: Bytes | str | None) -> Bytes | None:
    if limit is None:
        return None
    accepted = "takes bytes above 0, or a text such as '2GB'"
    try:
        size = parse_size(limit) if isinstance(limit, str) else _bytes(limit)
    except ValueError:
        size = 0
    if size is None:
        raise TypeError(f"memory_limit {accepted}, not {limit!r}")
    if size <= 0:
        raise ValueError(f"memory_limit {accepted}, not {limit!r}")
    if sys.platform != "linux":
        reason = "this system does not tell how much memory is a worker's own"
        raise _refused("memory_limit", Refusal(reason, "leave it out"))
    return size


def _bytes(limit: float) -> Bytes | None:
    """Return a whole number of bytes, also where it is written as a float, such as ``1e9``."""
    number = whole(limit)
    if number is None and (value := real(limit)) is not None and value.is_integer():
        return int(value)
    return number


def refuse_without_processes(guards: Guards, plan: Plan) -> None:
    """Refuse a plan that cannot do what is asked for.

    Raises:
        PlanRefused: it has threads where they would have to be killed, or kept apart.
    """
    wanted = guards.asks_for_processes
    if wanted and plan.mechanism != "process":
        reason = f"{wanted} needs worker processes: a thread can be neither killed nor kept apart"
        raise _refused(str(plan), Refusal(reason, 'use mechanism="process", or leave it out'))
    if guards.one_call and plan.threads_per_worker > 1:
        reason = f"{wanted} kills a worker, and the calls in its other threads would die with it"
        remedy = f"use threads_per_worker=1 (process:{plan.concurrency}), or leave it out"
        raise _refused(str(plan), Refusal(reason, remedy))


def _refused(plan: str, refusal: Refusal) -> Exception:
    from poolwise.errors import PlanRefused  # which takes 10 ms that a map has no use for

    return PlanRefused(plan, refusal)
