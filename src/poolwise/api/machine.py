"""The machine, and what poolwise keeps running on it."""

from __future__ import annotations

import sys
from collections.abc import Callable

from poolwise.machine import MachineProfile


def measure(
    quick: bool = False, progress: bool | Callable[[str, int, int], object] = False
) -> MachineProfile:
    """Measure this machine in six dimensions, in about 20 s, and keep the profile.

    Each dimension is measured in a program of its own; nothing of this process is touched. What
    cannot be measured here is a gap that says why. The profile is kept in the user's cache folder
    (``POOLWISE_CACHE``, or the platform's), and ``auto`` forecasts with what it says from now on.

    Args:
        quick: Take fewer readings of less: some seconds, and figures that differ more. Such a
            profile is not kept where there is a full one.
        progress: ``True`` writes a line to standard error before each dimension; a callable is
            called with its name, how many there were before it, and how many there are.

    Raises:
        TypeError: an argument has the wrong type.
    """
    from poolwise.machine.measuring import measure_machine
    from poolwise.timing.repeat import NORMAL, QUICK

    if not isinstance(quick, bool):
        raise TypeError(f"quick takes True or False, not {quick!r}")
    if not isinstance(progress, bool) and not callable(progress):
        raise TypeError(
            f"progress takes True, False or a function of (name, done, total), not {progress!r}"
        )
    report = _write_step if progress is True else progress or None
    return measure_machine(QUICK if quick else NORMAL, report)


def _write_step(name: str, done: int, total: int) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"poolwise: measuring {name} ({done + 1} of {total})\n")
        sys.stderr.flush()


def shutdown() -> None:
    """End all idle workers now, and the processes that start workers; the next map starts others.

    Workers that run calls, for maps and executors that are still open, go on.
    """
    if "poolwise.mechanisms.servers" in sys.modules:
        from poolwise.mechanisms import idle_workers, servers, snapshots

        idle_workers.clear()
        snapshots.clear()
        servers.dismiss_all()
