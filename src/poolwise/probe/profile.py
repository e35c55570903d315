"""The task profile: where the time of one call goes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from poolwise.probe.payload import Payload
from poolwise.units import PerSecond, Seconds

#: In so much of a call's duration about as many end as begin.
_LONG = 0.75


@dataclass(frozen=True, slots=True)
class Sample:
    """Calls that ran under one degree of concurrency, and what they used.

    `wall` is how long all of them took together; `service` and `cpu` are summed over the calls:
    wall time around user code, and CPU time of the threads that ran it. `helpers` is CPU time
    that other threads and child processes used meanwhile.
    """

    calls: int
    concurrency: int
    wall: Seconds
    service: Seconds
    cpu: Seconds
    helpers: Seconds = 0.0

    @property
    def rate(self) -> PerSecond:
        """Calls finished a second."""
        return self.calls / self.wall if self.wall else 0.0

    @property
    def steady_rate(self) -> PerSecond:
        """Calls a second that so many calls at once would finish for ever (Little's law).

        Unlike `rate` it needs no long window: calls that began together also end together, and
        then a count over a short time says little.
        """
        return self.concurrency * self.calls / self.service if self.service else 0.0

    @property
    def cpus(self) -> float:
        """CPUs that the calls used, without what computes for them: those that ended in this time,
        unless it is too short for that; or those that so many at once would use for ever. More may
        have been at work than was said.
        """
        if not self.service:
            return 0.0
        long = self.wall * self.calls >= _LONG * self.service
        return max(self.concurrency * self.cpu / self.service, self.cpu / self.wall if long else 0)


@dataclass(frozen=True, slots=True)
class TaskProfile:
    """Where the time of one call goes, in seconds, as a mean over the calls seen.

    The CPU time that holds the GIL lies between `gil_low` and `gil_high`: before two calls have
    run at once, nothing is known but 0 and `cpu`. (Of calls that start programs more is meant: all
    the time in which they keep others from going on.) `outside` is a throughput that calls reached
    and could not exceed although neither the GIL nor the CPUs were full: the limit of whatever
    they wait for. `paging` is the part of `cpu` that goes to pages which calls free and want again;
    worker processes keep them.
    """

    calls: int
    wall: Seconds
    cpu: Seconds
    helpers: Seconds
    gil_low: Seconds
    gil_high: Seconds
    payload: Payload = field(default_factory=Payload)
    outside: PerSecond | None = None
    paging: Seconds = 0.0

    @classmethod
    def of(cls, sample: Sample, payload: Payload, *, gil: bool = True) -> TaskProfile:
        """Make a profile of calls that ran one at a time."""
        calls = max(1, sample.calls)
        cpu = min(sample.cpu, sample.service) / calls
        helpers = max(0.0, sample.helpers) / calls
        # Clocks have a resolution: a CPU time within 2 % of the wall time is all of it.
        wall = max(sample.service / calls, 1e-9)
        return cls(
            calls=sample.calls,
            wall=wall,
            cpu=cpu,
            helpers=helpers if helpers > 0.02 * wall else 0.0,
            gil_low=0.0,
            gil_high=cpu if gil else 0.0,
            payload=payload,
        )

    @property
    def waiting(self) -> Seconds:
        """Wall time of a call in which none of its threads had a CPU."""
        return max(0.0, self.wall - self.cpu - self.helpers)

    @property
    def beside(self) -> Seconds:
        """CPU time of helpers while a call itself computes, at least."""
        return max(0.0, self.cpu + self.helpers - self.wall)

    @property
    def waits(self) -> bool:
        """Whether a call waits for longer than it computes."""
        return self.waiting > 0.5 * self.wall

    @property
    def gil_known(self) -> bool:
        """Whether the GIL time is known well enough to tell threads from processes."""
        return self.gil_high - self.gil_low <= 0.25 * self.cpu

    def with_gil(self, low: Seconds, high: Seconds) -> TaskProfile:
        """Return the profile with better bounds for the time that holds the GIL."""
        return replace(self, gil_low=min(low, self.cpu), gil_high=min(high, self.cpu))

    def slowed(self, cpu: float, waiting: float) -> TaskProfile:
        """Return the profile where computing takes `cpu` times and waiting `waiting` times as long.

        Other load slows all that computes, under every plan; a busy other side all that waits.
        """
        return replace(
            self,
            # Helpers may run beside the call or instead of it: all but the waiting is computing.
            wall=self.waiting * waiting + (self.wall - self.waiting) * cpu,
            cpu=self.cpu * cpu,
            helpers=self.helpers * cpu,
            gil_low=self.gil_low * cpu,
            gil_high=self.gil_high * cpu,
            paging=self.paging * cpu,
        )

    def with_cpu(self, cpu: Seconds) -> TaskProfile:
        """Return the profile for calls that compute for longer or shorter than those seen first.

        Waiting stays as it is: under concurrency, wall time contains queueing for the GIL and for
        CPUs, which is not the task's, and only CPU time can be compared.
        """
        if self.cpu <= 0.0 or cpu <= 0.0:
            return self
        return self.slowed(cpu / self.cpu, 1.0)

    def seen(self, mechanism: str, cpu: Seconds) -> TaskProfile:
        """Return the profile for calls that were seen to use `cpu` seconds there: worker processes
        have kept the memory that others page in again and again.
        """
        if mechanism == "process" and 0.0 < self.paging < self.cpu:
            cpu /= 1.0 - self.paging / self.cpu
        return self.with_cpu(cpu)
