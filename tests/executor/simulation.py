"""A machine made of arithmetic: mechanisms, inbox and clock without time or threads.

Calls are records of what a real one would do: wait, compute with the GIL, compute without. A
`World` moves from event to event. Calls in the same address space take turns with its GIL, all that
compute share the CPUs evenly, and waiting may need one of a limited number of slots on the other
side. So what `auto` chooses can be tested exactly, and compared with every pinned plan.
"""

from __future__ import annotations

import math
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from poolwise.machine import Facts, MachineProfile
from poolwise.machine.costs import PoolCosts
from poolwise.mechanisms import ANY_SIZE, Readiness, Sink, WorkerOptions
from poolwise.task import Batch, BatchId, Outcomes, Refusal, TaskTraits

MACHINE = MachineProfile(Facts("CPython 3.13", True, 2.0, "affinity", None), costs=PoolCosts())


#: What a fork of this process takes, in seconds.
_FORK = 3e-3

#: A plain loop looks at the clock after so many calls, and ends a batch that lasts for longer.
_LOOKS, _LATE = 32, 20e-3


#: Calls that rub are on a CPU for so much of the time.
_POLLS = 0.7


@dataclass(frozen=True)
class Work:
    """What one call does, in seconds; `outside` waits need a slot on the other side."""

    wait: float = 0.0
    gil: float = 0.0
    free: float = 0.0


@dataclass(eq=False)
class Running:
    """A call under way: what is left of each phase, and the CPU time that it has used."""

    work: Work
    space: object
    began: float
    ended: Callable[[float], None]
    left: list[float] = field(default_factory=list)
    in_slot: bool = False
    used: float = 0.0

    def __post_init__(self) -> None:
        self.left = [self.work.wait, self.work.gil, self.work.free]

    @property
    def phase(self) -> int:
        return next((phase for phase in range(3) if self.left[phase] > 1e-12), 3)


class World:
    """Time, CPUs, GILs and the other side. With `friction` calls that compute without the GIL take
    so many times as long beside others of the same address space, and now and then sleep meanwhile.
    """

    def __init__(self, cpus: float = 2.0, slots: int | None = None, friction: float = 1.0) -> None:
        self.time = 0.0
        self.cpus = cpus
        self.slots = slots
        self.friction = friction
        self.calls: list[Running] = []
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self.inline_cpu = 0.0
        self.process_cpu = 0.0  # of all calls in the caller's address space
        self.used_cpu = 0.0  # of all calls but those of a plain loop
        self.threads = 0  # in the caller's address space, beside its own
        self.forked = False  # a server that is a copy of the caller
        self.idle = 0  # workers of an earlier run
        self.ended = False  # these, as nobody has noticed yet
        self._numbers = 0
        self._gil: dict[object, Running] = {}  # who holds the GIL of an address space

    def start(self, work: Work, space: object, ended: Callable[[float], None]) -> Running:
        call = Running(work, space, self.time, ended)
        self.calls.append(call)
        return call

    def at(self, time: float, action: Callable[[], None]) -> None:
        self._numbers += 1
        self.timers.append((time, self._numbers, action))
        self.timers.sort()

    def _rates(self) -> dict[Running, float]:
        computing = 0
        used = sum(call.in_slot for call in self.calls)
        for call in self.calls:
            phase = call.phase
            if phase == 0 and not call.in_slot and (self.slots is None or used < self.slots):
                call.in_slot = True
                used += 1
            if phase == 1:
                self._gil.setdefault(call.space, call)
            elif phase == 2:
                computing += 1
        demand = len(self._gil) + computing
        share = min(1.0, self.cpus / demand) if demand else 1.0
        rates = {}
        for call in self.calls:
            phase = call.phase
            if phase == 0:
                rates[call] = 1.0 if call.in_slot else 0.0
            elif phase == 1:
                rates[call] = share if self._gil[call.space] is call else 0.0
            else:
                rates[call] = share
        return rates

    def _rubbing(self) -> set[Running]:
        """Return the calls that compute without the GIL beside others in their address space."""
        if self.friction == 1.0:
            return set()
        computing = [call for call in self.calls if call.phase == 2]
        spaces = Counter(call.space for call in computing)
        return {call for call in computing if spaces[call.space] > 1}

    def step(self, until: float = math.inf) -> bool:
        """Go to the next event, at most to `until`; false if nothing will ever happen."""
        rates, rubbing = self._rates(), self._rubbing()
        delay = min(
            (
                call.left[call.phase] / rate * (self.friction if call in rubbing else 1.0)
                for call, rate in rates.items()
                if rate > 0.0
            ),
            default=math.inf,
        )
        timer = self.timers[0][0] if self.timers else math.inf
        target = min(self.time + delay, timer, until)
        if math.isinf(target):
            return False
        passed = target - self.time
        self.time = target
        finished = []
        for call, rate in rates.items():
            phase = call.phase
            call.left[phase] -= passed * (rate / self.friction if call in rubbing else rate)
            used = passed * rate * (_POLLS if call in rubbing else 1.0)
            if phase > 0:
                call.used += used
                self.used_cpu += used
            if phase > 0 and call.space is self:
                self.process_cpu += used
            if call.phase > 0:
                call.in_slot = False
            if phase == 1 and call.phase > 1 and self._gil.get(call.space) is call:
                del self._gil[call.space]
            if call.phase == 3:
                finished.append(call)
        for call in finished:
            self.calls.remove(call)
        for call in finished:
            call.ended(self.time)
        while self.timers and self.timers[0][0] <= self.time:
            self.timers.pop(0)[2]()
        return True

    def wait_for_the_gil(self) -> None:
        """Whoever wakes in the caller while a call there holds the GIL gets it after a turn."""
        turn = self.time + sys.getswitchinterval()
        while self.time < turn:
            self._rates()  # who is next has it at once
            if self not in self._gil or not self.step(turn):
                return


class SimulatedClock:
    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.time

    def thread_cpu(self) -> float:
        return self._world.inline_cpu

    def process_cpu(self) -> float:
        return self._world.process_cpu

    @contextmanager
    def watch_queue(self) -> Iterator[Callable[[], float]]:
        yield self.queued

    def page_faults(self) -> int:
        return 0

    def others_running(self) -> int:
        return 0

    def process_queued(self) -> float:
        return 0.0

    def foreign_cpu(self) -> float:
        return 0.0

    def children_cpu(self) -> float:
        return 0.0

    def idle_cpu(self) -> float:
        world = self._world
        return world.cpus * world.time - world.used_cpu - world.inline_cpu

    def queued(self) -> float:
        return 0.0


class SimulatedInbox:
    """Waiting moves the world on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._posted: deque[Callable[[], None]] = deque()

    def post(self, action: Callable[[], None]) -> None:
        self._posted.append(action)

    def wait(self, timeout: float | None = None) -> bool:
        # Adding a rest of an ulp would not move time at all.
        until = math.inf if timeout is None else self._world.time + max(timeout, 1e-9)
        if timeout == 0:
            until = self._world.time
        while not self._posted and self._world.time < until:
            if not self._world.step(until):
                raise AssertionError("waits for ever: nothing will ever happen")
        if not self._posted and timeout:
            self._world.wait_for_the_gil()
            return False
        acted = bool(self._posted)
        while self._posted:
            self._posted.popleft()()
        return acted

    def sleep(self, seconds: float) -> None:
        until = self._world.time + seconds
        while self._world.time < until and self._world.step(until):
            pass
        self._world.wait_for_the_gil()

    def close(self) -> None:
        self._posted.clear()


#: So long, in seconds, an outcome waits for others at most.
_FLUSH_AFTER = 1e-3


@dataclass(frozen=True)
class Kept:
    """Outcomes that have not been sent back."""

    values: tuple[object, ...] = ()
    service: float = 0.0
    cpu: float = 0.0

    def with_one(self, value: object, service: float, cpu: float) -> Kept:
        return Kept((*self.values, value), self.service + service, self.cpu + cpu)


class SimulatedPool:
    """Workers of any mechanism; what ends within a millisecond comes back together."""

    largest_batch = ANY_SIZE
    queued: Mapping[int, float] | None = {}
    sending = 0.0
    idle = 0

    def __init__(
        self, world: World, inbox: SimulatedInbox, name: str, options: WorkerOptions, sink: Sink
    ) -> None:
        self.world, self.inbox, self.name, self.sink = world, inbox, name, sink
        self.first_free = name == "thread"
        self.threads = options.threads_per_worker
        self.workers = 0
        self.free: list[object] = []  # one entry for each idle slot: its address space
        self.queue: deque[tuple[Batch, int]] = deque()
        self.closed = False

    def grow(self, workers: int) -> None:
        costs = MACHINE.costs
        begin = self.world.time
        for _ in range(workers):
            number = self.workers
            self.workers += 1
            if self.name == "inline":
                self.sink.ready(number)
                continue
            if self.name == "thread":
                space: object = self.world
                self.world.threads += 1
                begin += costs.thread_start
            elif self.world.idle and not self.world.ended:
                space = object()
                self.world.idle -= 1
                begin += costs.process_reuse
            else:
                space = object()
                served = number > 0 or self.world.forked
                begin += costs.process_start + (0.0 if served else costs.server_start)
            self.world.at(begin, lambda n=number, s=space: self._ready(n, s))  # type: ignore[misc]

    def _ready(self, number: int, space: object) -> None:
        if not self.closed:
            self.free += [space] * self.threads
            self.inbox.post(lambda: self.sink.ready(number))
            self._run_next()

    def send(self, batch: Batch, /) -> None:
        assert not self.closed
        if self.name == "inline":
            self._run_inline(batch)
        else:
            self.queue.append((batch, 0))
            self._run_next()

    def _run_inline(self, batch: Batch) -> None:
        begin, cpu, values = self.world.time, 0.0, []
        stride = look = 1
        for place, work in enumerate(batch.columns[0], 1):
            assert isinstance(work, Work)
            done: list[float] = []
            self.world.start(work, self.world, done.append)
            while not done:
                self.world.step()
            cpu += work.gil + work.free
            values.append(batch.task.function(work))
            if place == look:
                if self.world.time - begin > _LATE:
                    break
                stride = min(2 * stride, -(-batch.calls // _LOOKS))
                look += stride
        self.world.inline_cpu += cpu
        self.sink.done(batch.id, 0, Outcomes(values, {}, self.world.time - begin, cpu))
        if len(values) < batch.calls:
            self.sink.returned(batch.id, len(values), batch.calls - len(values))

    def _run_next(self) -> None:
        while self.free and self.queue:
            batch, first = self.queue.popleft()
            # The worker with the least to do takes the next batch.
            space = max(self.free, key=self.free.count)
            self.free.remove(space)
            self._run_call(batch, first, space)

    def _run_call(self, batch: Batch, position: int, space: object, kept: Kept = Kept()) -> None:
        work = batch.columns[0][position]
        assert isinstance(work, Work)
        begin = self.world.time

        def ended(now: float) -> None:
            if self.closed:
                return
            value = batch.task.function(work)
            done = kept.with_one(value, now - begin, running.used)
            last = position + 1 == batch.calls
            if last or done.service >= _FLUSH_AFTER:
                first = position + 1 - len(done.values)
                outcomes = Outcomes(list(done.values), {}, done.service, done.cpu)
                self.inbox.post(lambda: self.closed or self.sink.done(batch.id, first, outcomes))
                done = Kept()
            if last:
                self.free.append(space)
                self._run_next()
            else:
                self._run_call(batch, position + 1, space, done)

        running = self.world.start(work, space, ended)

    def kill(self, batch: BatchId, /) -> None:
        """Nothing is killed in this world."""

    def take_back(self, batch: BatchId, /) -> None:
        for queued, first in list(self.queue):
            if queued.id == batch:
                self.queue.remove((queued, first))
                self.sink.returned(batch, first, queued.calls - first)

    def nothing_more(self) -> None:
        """Nobody ends before the pool does."""

    def close(self, *, grace: float | None) -> None:
        if self.name == "thread" and not self.closed:
            self.world.threads -= self.workers
        self.closed = True


class SimulatedMechanism:
    def __init__(self, world: World, name: str, refusals: dict[str, Refusal]) -> None:
        self.world, self.name = world, name
        self._refusals = refusals

    def refusal(self, traits: TaskTraits, /) -> Refusal | None:
        return self._refusals.get(self.name)

    def prepare(self, options: WorkerOptions, /) -> None:
        if self.name == "process" and not self.world.forked and not self.world.threads:
            self.world.step(self.world.time + _FORK)
            self.world.forked = True

    def readiness(self, options: WorkerOptions, /) -> Readiness:
        if self.name != "process":
            return Readiness()
        return Readiness(self.world.forked, self.world.idle, 1 + self.world.threads)

    def open(self, options: WorkerOptions, sink: Sink, inbox: SimulatedInbox, /) -> SimulatedPool:
        return SimulatedPool(self.world, inbox, self.name, options, sink)
