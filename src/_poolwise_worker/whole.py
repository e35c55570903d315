"""Texts that come out whole, where several processes write to one pipe.

A pipe takes 4 KB at once without letting others in between, and more only while it has room. So
who writes to a pipe holds a lock on it, which the kernel takes back when a process dies. Files and
terminals need none: there each write is whole. What the caller prints itself takes no part in this.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
from _thread import allocate_lock
from collections import deque
from time import sleep

#: Somebody who holds the lock while the pipe has room writes within milliseconds, unless he has
#: been stopped. Nobody waits for him longer than this, in seconds.
PATIENCE = 1.0

#: The lock is asked for again after so many seconds, at first and at most: no wait for such a lock
#: can be ended.
_PAUSE_LEAST, _PAUSE_MOST = 2e-5, 5e-3


class Outlet:
    """What the threads of this process write, in order.

    `_lock` is held by who writes. A signal handler that prints may have interrupted its own thread
    while that holds it: who finds the lock taken leaves his text to who has it, and that one looks
    again after it has let go.
    """

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._texts: deque[tuple[int, bytes]] = deque()

    def write(self, descriptor: int, text: bytes) -> None:
        """Write.

        Raises:
            OSError: the descriptor takes nothing, or nothing more.
        """
        self._texts.append((descriptor, text))
        while self._texts and self._lock.acquire(False):
            try:
                while self._texts:
                    _write(*self._texts.popleft())
            finally:
                self._lock.release()


def _write(descriptor: int, text: bytes) -> None:
    locked = stat.S_ISFIFO(os.fstat(descriptor).st_mode) and _take_lock(descriptor)
    try:
        while text:
            text = text[os.write(descriptor, text) :]
    finally:
        if locked:
            fcntl.lockf(descriptor, fcntl.LOCK_UN)


def _take_lock(descriptor: int) -> bool:
    """Wait for the lock of a pipe; false if it is to be written to without.

    While the pipe is full, its reader is waited for: who writes without the lock would wait, too.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    pause, idle = _PAUSE_LEAST, 0.0
    while idle <= PATIENCE:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            sleep(pause)
            idle += pause if poll.poll(0) else 0.0
            pause = min(2.0 * pause, _PAUSE_MOST)
        except OSError:  # a system without locks on pipes
            return False
        else:
            return True
    return False
