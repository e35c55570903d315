"""What a process forked from the caller gives up before it serves.

It has a copy of everything the caller has. What it must not share: connections (a peer waits until
every copy is closed, and what is written on one comes from both), the caller's exit handlers and
finalizers (they would delete its temporary files), and its input.
"""

from __future__ import annotations

import os
import stat
import sys


def part_from_caller(keep: set[int]) -> None:
    """Give all that up. Descriptors in `keep`, regular files and the output stay."""
    import gc

    gc.collect(0)  # what has just been made, this process's own
    gc.freeze()  # a collection must not end objects of the caller, nor touch, and so copy, them
    _let_go_of_connections(keep | {1, 2} | _tracker())
    _forget_exit_handlers()
    _forget_children()
    sys.stdin = open(0, closefd=False)  # noqa: SIM115


def _let_go_of_connections(keep: set[int]) -> None:
    """Put nothing in the place of every socket and pipe.

    Not closed: the objects that own them would close the number once more, when it is another's.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:
            continue  # the one that listed the folder
        if descriptor == 0:
            os.dup2(nothing, 0)
        elif descriptor not in keep and (stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)):
            try:
                os.dup2(nothing, descriptor, inheritable=os.get_inheritable(descriptor))
            except OSError:  # beyond a limit that was set after it was opened
                os.close(descriptor)
    os.close(nothing)


def _tracker() -> set[int]:
    """Return the pipe to the process that cleans up named shared memory, for calls that use it."""
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    descriptor = getattr(getattr(tracker, "_resource_tracker", None), "_fd", None)
    return set() if descriptor is None else {descriptor}


def _forget_exit_handlers() -> None:
    """Keep handlers of the caller from running in workers; those that calls add will."""
    import atexit

    atexit._clear()
    weakref = sys.modules["weakref"]
    for finalizer in list(weakref.finalize._registry):
        finalizer.atexit = False
    weakref.finalize._registered_with_atexit = False


def _forget_children() -> None:
    """Have `multiprocessing`, if it is used, forget the caller's children and register anew."""
    util = sys.modules.get("multiprocessing.util")
    if util is None:
        return
    import atexit

    util._finalizer_registry.clear()
    util._run_after_forkers()
    atexit.register(util._exit_function)
    process = sys.modules["multiprocessing.process"]
    process._children.clear()
