"""Watching the first call while it runs: does it wait, does it need the GIL?"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from poolwise.executor.beats import BEAT, Heartbeat
from poolwise.executor.demand import DemandMeter, ForeignMeter, cpu_of_others
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.lane import Lane
from poolwise.executor.reserve import Reserve
from poolwise.probe.contention import HARDLY
from poolwise.timing.children import cpu_of_programs, programs
from poolwise.timing.turns import QuickTurns
from poolwise.units import Seconds

#: Where workers can be had at once, a call that has computed so long is a long one: only long
#: enough for it to import and connect before it comes to wait.
_COMPUTED_BESIDE: Seconds = 10e-3

#: One that has computed so long may be one of these: then workers are started.
_MAY_BE_LONG: Seconds = 4e-3

#: A call that uses less of a CPU than this waits; than that, it does nothing else. One that uses
#: more than so much only computes: it imports nothing, which waits for files now and then.
_WAITS, _LIGHT, _ONLY = 0.5, 0.05, 0.9

#: So little of the computing is what a thread of a library is started for.
_FOR_NOBODY = 0.1

#: One that has come to wait while it was looked at is looked at for so much longer: if it uses
#: hardly any CPU, many may begin.
_ONCE_MORE: Seconds = 1e-3

#: Programs that a call has started are watched for so long: do they compute?
_PROGRAMS: Seconds = 1e-3

#: What a call has shown while it was watched. Those that have ended compute.
Shown: TypeAlias = Literal["waits", "lets go", "computes"]


class Patience(NamedTuple):
    """For how long a call has to wait, or to compute, until it is taken for a long one."""

    waited: Seconds
    computed: Seconds


class Before(NamedTuple):
    """What is not the first call's: threads that ran before it, and programs, by id; and what those
    had used by then that were waited for.
    """

    threads: int
    programs: frozenset[int]
    cpu: Seconds


class FirstCall:
    """The first call, alone in its lane, and the meters beside it. Used by the owner only."""

    def __init__(
        self, dispatch: Dispatch, lane: Lane, reserve: Reserve, before: Before, cpus: int
    ) -> None:
        clock = dispatch.clock
        self.lane = lane
        self.is_light = False  # it waits, and does next to nothing else
        self.programs = False  # it has started some, and waits for them
        self._dispatch = dispatch
        self._reserve = reserve
        self._before = before
        self._cpus = cpus
        self._others = cpu_of_others(clock)
        self._foreign = ForeignMeter(clock)
        self._meter = DemandMeter(clock)
        self._beat = Heartbeat(clock)

    def begin(self) -> None:
        """Let it begin. A short one has ended when this returns, before the first beat."""
        with QuickTurns(), self._meter:  # which begins with many system calls: before there is one
            self._dispatch.send_next(self.lane, 1)
            self._dispatch.inbox.wait(BEAT)

    @property
    def held(self) -> float | None:
        """For what share of the time the GIL was held, as far as it was heard."""
        return self._beat.held

    @property
    def queued(self) -> float:
        """For what share of the time threads had no CPU: that is no waiting of the task's."""
        demand = self._meter.demand
        return demand.wanted - demand.used

    @property
    def others(self) -> Seconds:
        """The CPU time of all threads but this one since this was made."""
        return cpu_of_others(self._dispatch.clock) - self._others

    def shows(self, patience: Patience) -> Shown:
        """Watch it until it comes to wait, or seems not to need the GIL, or has computed for long.
        It may import and connect before it waits. Workers are started meanwhile, if they can be at
        once.
        """
        clock, reserve, meter = self._dispatch.clock, self._reserve, self._meter
        waited, computed = patience
        if reserve.at_once:
            computed = min(computed, _COMPUTED_BESIDE)
        began = before = queued = 0.0
        while True:
            # Of this stretch, however long: beside a call that holds the GIL a look takes a turn.
            own = self._watch_for(began + waited)
            used, ended = meter.used, meter.elapsed
            share = (used - before - own) / max(ended - began, 1e-9)
            if share < _WAITS:  # did it have no CPU? To find that out takes ten turns
                already, queued = queued, meter.demand.wanted * ended - used
                share += (queued - already) / max(ended - began, 1e-9)
            if share < _WAITS:
                share += self._share_of_programs()
            if share < _WAITS:
                if began and share >= _LIGHT:  # in a part of the stretch it has computed
                    own = self._watch_for(ended + _ONCE_MORE)
                    share = (meter.used - used - own) / max(meter.elapsed - ended, 1e-9)
                self.is_light = share < _LIGHT and not self.programs
                return "waits"
            if share > _ONLY and ended >= _MAY_BE_LONG and self._lets_go():
                return "lets go"
            to_start = reserve.at_once and not reserve.started
            if to_start and self.lane.in_flight and ended >= _MAY_BE_LONG:
                since = clock.now()
                reserve.start()
                computed -= clock.now() - since  # which no look of these has seen
                if not self.lane.in_flight:
                    return "computes"
            elif ended >= computed or not self.lane.in_flight:
                return "computes"
            began, before = ended, used

    def _share_of_programs(self) -> float:
        """Return how much of a CPU the programs use that it has started: it only seems to wait for
        one that computes.
        """
        clock, others = self._dispatch.clock, self._before.programs
        if not programs() - others:
            return 0.0
        self.programs, before, began = True, cpu_of_programs(clock, others), clock.now()
        self._watch_for(self._meter.elapsed + _PROGRAMS)
        used = cpu_of_programs(clock, others) - before
        return max(0.0, used) / max(clock.now() - began, 1e-9)

    def _watch_for(self, until: Seconds) -> Seconds:
        """Watch it until the meter has run for so long; return the CPU time that watching takes,
        which is not the call's.
        """
        own = self._dispatch.clock.thread_cpu()
        self._watch(until)
        return self._dispatch.clock.thread_cpu() - own

    def _watch(self, until: Seconds) -> None:
        """Wait for it to end, until the meter has run for so long."""
        with self._beat.beating(self._dispatch.inbox) as wait:
            while self.lane.in_flight and (left := until - self._meter.elapsed) > 0.0:
                with self._meter:
                    wait(left)

    def _lets_go(self) -> bool:
        """Whether it computes without the GIL, as far as it was heard, and by itself.

        Not asked where workers can be had at once: what it comes to is not known yet.
        """
        if self._cpus < 2 or self._reserve.at_once or not self._beat.enough:
            return False
        held = self._beat.held
        return held is not None and held <= HARDLY and self.is_by_itself()

    def is_by_itself(self) -> bool:
        """Whether nobody computes for it: else no CPU is left for more such calls.

        On a busy machine threads want more CPUs than they would need on another one: it takes the
        owner long to get one again and again. There it counts what threads of libraries have used.
        """
        demand, one = self._meter.demand, 1.0 + self._before.threads + _WAITS
        if demand.wanted < one:
            return True
        return demand.used < one and self._foreign.used < _FOR_NOBODY * self._meter.used
