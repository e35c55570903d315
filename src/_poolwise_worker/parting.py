"""What a process forked from the caller gives up before it serves.

It has a copy of everything the caller has. What it must not share: connections (a peer waits until
every copy is closed, and what is written on one comes from both), locks on files, the caller's exit
handlers, finalizers and signal handlers (they would delete its temporary files, or raise), and its
input.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from _signal import (  # type: ignore[import-not-found]  # as in `server`
    SIG_DFL,
    SIGALRM,
    SIGPROF,
    SIGVTALRM,
    getsignal,
    signal,
    valid_signals,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

#: What this process holds of the caller's only so that it does not end here.
_held: list[object] = []


def part_from_caller(keep: set[int]) -> None:
    """Give all that up. Descriptors in `keep`, files and the output stay."""
    import gc

    gc.collect(0)  # what has just been made, this process's own
    gc.freeze()  # a collection must not end objects of the caller, nor touch, and so copy, them
    output = {number for number, file in ((1, sys.__stdout__), (2, sys.__stderr__)) if file}
    _let_go_of_connections(keep | output | _tracker())
    _forget_signal_handlers()
    _forget_exit_handlers()
    _forget_children()
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = _shared(sys.stdout, sys.__stdout__)
    sys.stderr = _shared(sys.stderr, sys.__stderr__)


def _let_go_of_connections(keep: set[int]) -> None:
    """Put nothing in the place of the input, and of every socket, pipe and terminal.

    Not closed: the objects that own them would close the number once more, when it is another's.
    """
    dead = os.open(os.devnull, getattr(os, "O_PATH", os.O_RDWR))  # not to be read nor written
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor in keep or descriptor == dead:
            continue
        try:
            if _is_connection(descriptor):
                _become(descriptor, dead)
            elif _is_locked(descriptor):
                _open_anew(descriptor, dead)
        except OSError:
            continue  # the one that listed the folder
    os.close(dead)
    nothing = os.open(os.devnull, os.O_RDWR)
    # Where the caller has no output, programs that calls start find some nevertheless.
    for descriptor in {0, 1, 2} - keep:
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _is_connection(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISCHR(mode):
        return os.isatty(descriptor)
    return stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)


def _become(descriptor: int, other: int) -> None:
    try:
        os.dup2(other, descriptor, inheritable=os.get_inheritable(descriptor))
    except OSError:  # beyond a limit that was set after it was opened
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    """Whether there is a lock that lasts until every copy of the descriptor is closed."""
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:
        info = file.read()
    return b"FLOCK" in info or b"OFDLCK" in info


def _open_anew(descriptor: int, dead: int) -> None:
    """Open the same file once more, in the place of one whose lock the caller has."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        again = os.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:
        _become(descriptor, dead)
        return
    try:
        os.lseek(again, os.lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_SET)
        _become(descriptor, again)
    finally:
        os.close(again)


def _tracker() -> set[int]:
    """Return the pipe to the process that cleans up named shared memory, for calls that use it."""
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    descriptor = getattr(getattr(tracker, "_resource_tracker", None), "_fd", None)
    return set() if descriptor is None else {descriptor}


def _forget_signal_handlers() -> None:
    """Treat signals as a program does that was just executed.

    Not those of timers: a call may set one, and it reaches nobody else.
    """
    for number in valid_signals() - {SIGALRM, SIGVTALRM, SIGPROF}:
        if callable(getsignal(number)):
            signal(number, SIG_DFL)


def _forget_exit_handlers() -> None:
    """Keep handlers of the caller from running in workers; those that calls add will."""
    import atexit

    atexit._clear()
    weakref = sys.modules["weakref"]
    _held.extend(finalizer.detach() for finalizer in list(weakref.finalize._registry))
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
    forkserver = sys.modules.get("multiprocessing.forkserver")
    if forkserver is not None:  # it is the caller's child, and so not this one's to look after
        server = forkserver._forkserver
        server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None


def _shared(stream: Any, original: IO[str] | None) -> Any:
    """Return `stream`, or the one Python began with if nothing written there reaches the caller."""
    try:
        stream.fileno()
    except Exception:  # none, closed, or a buffer in memory, of which this is a copy
        _held.append(stream)
        return original
    return stream
