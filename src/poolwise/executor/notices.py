"""What goes to the logger ``poolwise``: changes of plan, deaths of workers.

Silent unless the user has set up logging: who has not even imported it cannot have.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from poolwise.plan import Plan
from poolwise.task import Exit

if TYPE_CHECKING:
    from logging import Logger


#: The logger, once it is known: to look it up takes a lock that any thread may hold.
_known: list[Logger] = []


def _logger() -> Logger | None:
    if _known:
        return _known[0]
    logging = sys.modules.get("logging")
    if logging is None or not hasattr(logging, "NullHandler"):  # or it is just being imported
        return None
    logger: Logger = logging.getLogger("poolwise")
    if not logger.handlers:  # else what nobody handles would be printed
        logger.addHandler(logging.NullHandler())
    _known.append(logger)
    return logger


def plan_changed(plan: Plan, before: Plan | None, task: str) -> None:
    """Tell which plan is in force now; `task` is the name of a function, or ``""``.

    Fields: `plan`, `plan_before` (specs; ``None`` at first), `task`.
    """
    logger = _logger()
    if logger is not None:
        was = f" after {before}" if before is not None else ""
        of = f"{task}: " if task else ""
        before_spec = None if before is None else before.spec
        fields = {"plan": plan.spec, "plan_before": before_spec, "task": task}
        logger.info("%s%s%s", of, plan, was, extra=fields)


def worker_died(exit: Exit, plan: Plan, how: str, deaths: int) -> None:
    """Tell that a worker has died or was killed, and is replaced.

    Fields: `worker_pid`, `exit_code`, `exit_signal`, `reason` (why it was killed, else ``None``),
    `plan`, `deaths` (so many so far, in this run or executor).
    """
    logger = _logger()
    if logger is not None:
        fields = {
            "worker_pid": exit.pid,
            "exit_code": exit.code,
            "exit_signal": exit.signal,
            "reason": exit.reason,
            "plan": plan.spec,
            "deaths": deaths,
        }
        text = "worker %d %s; another takes its place (death %d)"
        logger.warning(text, exit.pid, how, deaths, extra=fields)


def fewer_workers(plan: Plan, error: BaseException, left: int) -> None:
    """Tell that a worker of a plan could not be started. Fields: `plan`, `error`, `workers` (so
    many go on).
    """
    logger = _logger()
    if logger is not None:
        fields = {"plan": plan.spec, "error": error, "workers": left}
        text = "%s: a worker could not be started, the others go on: %s"
        logger.warning(text, plan, error, extra=fields)


def no_workers(plan: Plan, error: BaseException) -> None:
    """Tell that a plan has no worker and can get none. Fields: `plan`, `error`."""
    logger = _logger()
    if logger is not None:
        fields = {"plan": plan.spec, "error": error}
        logger.warning("no worker for %s: %s", plan, error, extra=fields)
