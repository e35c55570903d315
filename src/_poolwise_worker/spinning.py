"""Looking again and again before a thread goes to sleep, where what it waits for comes at once."""

from __future__ import annotations

import _socket
import os
from _struct import Struct
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select

#: To wake a thread that sleeps on another CPU takes 20 to 50 µs, so each call there and back costs
#: that twice. What came sooner than this, in seconds, is looked for so long the next time.
SOON = 200e-6

#: Where there is one CPU only it is asked again after so many short waits: it takes 3 µs.
_ASKED_AFTER = 100

#: Process, user and group (``struct ucred``).
_CREDENTIALS = Struct("=3i")


class Spinner:
    """Looks into a poll for a while before its one thread sleeps, if that was not worth it last
    time: what it waited for came `SOON`.

    So a wait in vain costs at most `SOON` of a CPU, and only the first in a row of long ones does.
    Between two looks the CPU is anybody's who is to run on it, and the GIL, too.
    """

    def __init__(self) -> None:
        self._pays = False
        self._passed_over = 0  # short waits since it was found that there is one CPU

    def look(self, poll: select.poll) -> list[tuple[int, int]]:
        """Return events as soon as there are some, or none after a while."""
        if not self._pays:
            return []
        until = perf_counter() + SOON
        while not (events := poll.poll(0)) and perf_counter() < until:
            _yield()
        return events

    def note(self, seconds: float, process: int) -> None:
        """Note how long a wait for something of `process` took in all."""
        if seconds >= SOON:
            self._pays = False
        elif not self._pays:
            if self._passed_over % _ASKED_AFTER == 0:
                self._pays = len(_cpus_of(0) | _cpus_of(process)) > 1
            self._passed_over = 0 if self._pays else self._passed_over + 1


def maker_of(sock: _socket.socket) -> int:
    """Return the process that has made this pair of sockets; 0 where not known."""
    try:
        told = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS.size)
    except (AttributeError, OSError):  # not on this system
        return 0
    return int(_CREDENTIALS.unpack(told)[0])


def _cpus_of(process: int) -> set[int]:
    """Return the CPUs of a process, 0 for this thread. Who looks on the only one that both have
    keeps it from whom it waits for.
    """
    try:
        return os.sched_getaffinity(process)
    except AttributeError:  # not on this system
        return set(range(os.cpu_count() or 1))
    except OSError:  # it is gone, or another's
        return set()


#: Lets others run on this CPU; where that is not to be had, so many looks do.
_yield = getattr(os, "sched_yield", lambda: None)
