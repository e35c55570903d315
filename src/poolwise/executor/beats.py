"""A heartbeat beside calls: does the owner, awake now and then, find the GIL held?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from poolwise.ipc import Inbox
from poolwise.probe.contention import MOSTLY
from poolwise.timing.clock import Clock
from poolwise.timing.turns import QuickTurns
from poolwise.units import Seconds

#: Between two beats. Each one in which the GIL is held takes a turn more. Shorter than calls keep
#: their outcomes for each other, so that what is posted hardly waits.
BEAT: Seconds = 5e-4

#: Fewer beats say nothing; so many say enough, unless they are divided. Where so many of them, all
#: but one, are late, it needs no more: of those beside calls that let go hardly any is.
_LEAST, _ENOUGH, DIVIDED = 3, 6, 16
_LATE_ENOUGH = 3

#: So many late ones, and as many on time, are no accident.
_SEVERAL = 2

#: For how long a thread has queued for a CPU is read again after so long.
_FRESH: Seconds = 2e-4

#: Whatever has been heard after so long has to do.
_LONG_ENOUGH: Seconds = 30e-3

#: Who waits for the GIL gets it after a turn; a timer is late by 0.1 ms. So late is what is late by
#: so much of a turn, and turns must not be shorter than that takes.
_LATE = 0.7
_SHORTEST_TURN: Seconds = 3e-4


class Heartbeat:
    """Counts how often the owner, when it wakes by itself, has to wait for its turn.

    Who wakes while the GIL is free goes on at once. Who wakes while Python code runs, or C code
    that does not let go, has to ask for it, and gets it after a turn. So one call that runs alone
    tells what would become of two, before there are two: all beats are late beside Python code, and
    hardly any beside C code that releases the GIL (``benchmarks/bench_heartbeat.py``). That the
    owner had no CPU is known (on Linux), and does not count.

    Used by the owner only.
    """

    def __init__(self, clock: Clock, divided: int = DIVIDED) -> None:
        self._clock = clock
        self._divided = divided  # beats that have to do where some of several were late
        self._began = clock.now()
        self._first = True
        self._beats = self._late = 0
        self._turn: Seconds = 0.0

    @contextmanager
    def beating(self, inbox: Inbox) -> Iterator[Callable[[Seconds], None]]:
        """Make what acts on what has come; or, if there is nothing, waits for the next beat, or for
        less if there is less time.

        A beat sleeps, whatever is posted: a call that holds the GIL often ends in the turn that the
        owner waits for, and its post would hide that.
        """
        clock, files = self._clock, ExitStack()
        with QuickTurns():
            queued = files.enter_context(clock.watch_queue())
        try:
            read_at, before = clock.now() - _FRESH, 0.0

            def wait(most: Seconds) -> None:
                nonlocal read_at, before
                with QuickTurns():
                    if most < BEAT:
                        inbox.wait(most)
                        return
                    if inbox.wait(0):
                        return
                    if clock.now() - read_at > _FRESH:
                        before = queued()
                    began = clock.now()
                    inbox.sleep(BEAT)
                    late = clock.now() - began - BEAT
                    after = queued()
                    read_at = clock.now()
                    self._count(late - (after - before))
                    before = after

            yield wait
        finally:
            with QuickTurns():
                files.close()

    def _count(self, late: Seconds) -> None:
        self._turn = sys.getswitchinterval()
        is_late = late > _LATE * self._turn
        first, self._first = self._first, False
        if is_late or not first:  # the first one may come before the call begins
            self._beats += 1
            self._late += is_late

    @property
    def enough(self) -> bool:
        """Whether more beats would tell no more."""
        if self._clock.now() - self._began > _LONG_ENOUGH:
            return True
        held, on_time = self.held, self._beats - self._late
        if self._beats >= self._divided and min(self._late, on_time) >= _SEVERAL:
            return True
        if self._beats < _ENOUGH:
            return self._late >= _LATE_ENOUGH and on_time <= 1 and held is not None
        # Beside calls that leave it alone hardly any is late.
        return held is None or not 0.0 < held < MOSTLY or self._beats >= self._divided

    @property
    def held(self) -> float | None:
        """The share of the time in which the GIL was held; ``None`` if that is not known."""
        if self._beats < _LEAST or self._turn < _SHORTEST_TURN:
            return None
        return self._late / self._beats
