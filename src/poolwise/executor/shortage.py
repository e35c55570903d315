"""What it means that the system gives no worker, in words; and plans that it could never fill."""

from __future__ import annotations

import errno

from poolwise.machine import MachineProfile
from poolwise.plan import Plan
from poolwise.task import Refusal

_FILES = "close files, raise the limit, or ask for fewer workers"

_ADVICE = {
    errno.EAGAIN: "this user, or this container, has as many processes and threads as it may "
    "(`ulimit -u`): end some, raise the limit, or ask for fewer workers",
    errno.EMFILE: f"a process may open no more files (`ulimit -n`): {_FILES}",
    errno.ENFILE: f"the whole system may open no more files: {_FILES}",
    errno.ENOMEM: "there is not enough memory: use less, or ask for fewer workers",
}


def explained(error: BaseException) -> str:
    """Return the error with what is short, if that is known, and what to do.

    >>> explained(OSError(errno.EMFILE, "Too many open files"))
    '[Errno 24] Too many open files; a process may open no more files (`ulimit -n`): close files, \
raise the limit, or ask for fewer workers'
    """
    advice = _ADVICE.get(_number(error))
    return f"{error}; {advice}" if advice else str(error)


def _number(error: BaseException) -> int:
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return errno.EAGAIN
    return (error.errno or 0) if isinstance(error, OSError) else 0


#: With so many calls at once no limit is looked up: what cannot be started is found out then.
_UNQUESTIONED = 200


def refuse_what_no_system_starts(plan: Plan, machine: MachineProfile) -> None:
    """Refuse a plan of more workers than there can be here, before thousands are started.

    Raises:
        PlanRefused: it says what bounds them, and how many there may be.
    """
    if plan.concurrency <= _UNQUESTIONED:
        return
    from poolwise.machine.capacity import most_processes, most_threads

    if plan.mechanism == "process":
        processes = most_processes(machine.facts.total_memory)
        if processes is not None and plan.workers > processes[0]:
            raise _too_many(plan, "worker processes", machine, *processes)
    threads = most_threads()
    if threads is not None and plan.concurrency > threads[0]:
        raise _too_many(plan, "threads", machine, *threads)


def _too_many(plan: Plan, workers: str, machine: MachineProfile, most: int, why: str) -> Exception:
    from poolwise.errors import PlanRefused  # which takes 10 ms that a map has no use for

    reason = f"there can be at most {most:,} {workers} here: {why}"
    usual = machine.facts.whole_cpus
    remedy = f"ask for fewer; process:{usual} has one for each CPU"
    if plan.mechanism == "thread":
        remedy = "ask for fewer"
    return PlanRefused(str(plan), Refusal(reason, remedy))
