"""A process that lives only as long as the other end of a pipe is open."""

from __future__ import annotations

import fcntl
import os
import select
from _signal import SIGKILL  # type: ignore[import-not-found]  # as in `server`


def die_with(life: int, process: int) -> None:
    """Ask the kernel to send `process` SIGKILL as soon as the other end of the pipe is closed.

    It arrives within milliseconds even inside C code that holds the GIL. Not PR_SET_PDEATHSIG,
    which fires when the *thread* that forked ends. What is asked for belongs to the open file, so
    a server asks for its workers, each of which has only to keep the file open. Where the kernel
    cannot do it, a worker's reporter thread notices the end of the control socket instead, as soon
    as it gets the GIL.
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(life, fcntl.F_SETOWN, process)
        fcntl.fcntl(life, fcntl.F_SETSIG, SIGKILL)
        flags = fcntl.fcntl(life, fcntl.F_GETFL)
        fcntl.fcntl(life, fcntl.F_SETFL, flags | os.O_ASYNC)
        poll = select.poll()  # not `select.select`, which ends at descriptor 1024
        poll.register(life, select.POLLIN)
        if poll.poll(0):
            os.kill(process, SIGKILL)  # closed before we asked
