"""Looking again and again before a thread goes to sleep, where what it waits for comes at once."""

from __future__ import annotations

import os
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select

#: To wake a thread that sleeps on another CPU takes 20 to 50 µs, so each call there and back costs
#: that twice. What came sooner than this, in seconds, is looked for so long the next time.
SOON = 200e-6

#: Where there is no other CPU, looking keeps from it who is to send something.
_OTHER_CPUS = (os.cpu_count() or 1) > 1


class Spinner:
    """Looks into a poll for a while before its one thread sleeps, if that was not worth it last
    time: what it waited for came `SOON`.

    So a wait in vain costs at most `SOON` of a CPU, and only the first in a row of long ones does.
    Between two looks the CPU is anybody's who is to run on it, and the GIL, too.
    """

    def __init__(self) -> None:
        self._pays = False

    def look(self, poll: select.poll) -> list[tuple[int, int]]:
        """Return events as soon as there are some, or none after a while."""
        until = perf_counter() + SOON if self._pays else 0.0
        while not (events := poll.poll(0)) and perf_counter() < until:
            _yield()
        return events

    def note(self, seconds: float) -> None:
        """Note how long a wait took in all."""
        self._pays = seconds < SOON and _OTHER_CPUS


#: Lets others run on this CPU; where that is not to be had, so many looks do.
_yield = getattr(os, "sched_yield", lambda: None)
