"""Workers from their creation to their end, and what each takes.

One life of a kind gives all its figures: create a worker, ask it for its memory, end it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from poolwise.machine.door import Door
from poolwise.machine.places import Interpreter
from poolwise.machine.resources.memory import Memory, memory_of
from poolwise.mechanisms import idle_workers, servers
from poolwise.timing.cgroups import times_throttled
from poolwise.timing.clock import Clock, SystemClock
from poolwise.timing.repeat import NORMAL, Effort, gap
from poolwise.timing.sample import Figure, Gap, Sample
from poolwise.units import Seconds

#: The start methods of processes.
METHODS = ("fork", "forkserver", "spawn")


@dataclass(frozen=True, slots=True)
class Life:
    """One worker from its creation to its end."""

    create: Seconds
    destroy: Seconds
    whole: Seconds  # with one call in between
    faults: int | None
    memory: Memory | None


@dataclass(frozen=True, slots=True)
class Lives:
    """Several of a kind, or the reason why there are none."""

    all: tuple[Life, ...] = ()
    throttled: bool = False
    gap: Gap | None = None

    def figure(self, unit: str, read: Callable[[Life], float | None]) -> Figure:
        """Return one thing about all of them."""
        values = tuple(float(each) for each in map(read, self.all) if each is not None)
        if self.gap is not None or not values:
            return self.gap or Gap("the system does not say")
        return Sample(unit, values, self.throttled)


def live(effort: Effort) -> dict[str, Lives]:
    """Create and end workers of each kind; call in a program with one thread.

    Also ``"server"``, the first worker of a server that is a new interpreter; ``"idle"``, a worker
    that waits because the pool before it has left it; and ``"pool 1"`` and ``"pool 2"``, whole
    pools of ours, from nothing.
    """
    with_servers: dict[str, Callable[[], Life]] = {
        "thread": _thread_life,
        **{method: partial(_process_life, method) for method in METHODS},
        "interpreter": _interpreter_life,
        "idle": _idle_life,
    }
    from_nothing: dict[str, Callable[[], Life]] = {
        "server": _server_life,
        "pool 1": partial(_pool_life, 1),
        "pool 2": partial(_pool_life, 2),
    }
    few = replace(effort, least=2 if effort.least < NORMAL.least else 4)
    lives = in_turns(with_servers, effort) | in_turns(from_nothing, few)
    # What a pool takes by itself in a program with one thread, such as this.
    return lives | {"process": lives["fork"]}


def in_turns(
    lives: Mapping[str, Callable[[], Life]], effort: Effort, *, clock: Clock | None = None
) -> dict[str, Lives]:
    """Have some of each kind live, then some more of each; the first turn does not count.

    A thread's creation took 60 µs, or 80 µs for a third of a second: by then hundreds would have
    been created, all in the same state of the machine.
    """
    clock = clock or SystemClock()
    before = times_throttled()
    found: dict[str, list[Life]] = {name: [] for name in lives}
    gaps: dict[str, Gap] = {}
    for turn in range(1 + effort.least):
        for name, life in lives.items():
            if name not in gaps:
                try:
                    lived = _some(life, effort, clock)
                except Exception as error:
                    gaps[name] = gap(error)
                else:
                    found[name] += lived if turn else []
    throttled = times_throttled() > before
    return {name: Lives(tuple(found[name]), throttled, gaps.get(name)) for name in lives}


def _some(life: Callable[[], Life], effort: Effort, clock: Clock) -> list[Life]:
    """Have one live after the other in the time of a turn: one at least."""
    until = clock.now() + effort.seconds / effort.least
    lived = [life()]
    while clock.now() < until and len(lived) < effort.most / effort.least:
        lived.append(life())
    return lived


#: What workers are for: a built-in function, so that none imports anything for it. Where the
#: system has ``/proc``, it tells who it is.
_IN_PROC = os.path.exists("/proc/self/stat")
_CALL: Callable[[str], object] = os.readlink if _IN_PROC else os.fspath


def _faults(pid: int | str) -> int | None:
    """Return how many pages a process has touched first, without reading from a disk."""
    if not _IN_PROC:
        return None
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[7])


def _thread_life() -> Life:
    return _life(partial(Door, "thread", _CALL), own_faults=False)


def _process_life(method: str) -> Life:
    return _life(partial(Door, "process", _CALL, start_method=method), own_faults=True)


def _life(open_door: Callable[[], Door], *, own_faults: bool) -> Life:
    faults_before = _faults("self")
    with open_door() as door:
        began = time.perf_counter()
        door.start()
        created = time.perf_counter()
        pid = door.call("/proc/self")
        called = time.perf_counter()
        own = _IN_PROC and own_faults
        memory = memory_of(pid) if own else None
        faults = _faults(pid) if own else 0
        asked = time.perf_counter()
        door.close()
        ended = time.perf_counter()
    return Life(
        create=created - began,
        destroy=ended - asked,
        whole=(called - began) + (ended - asked),
        faults=_beyond(faults_before, faults or 0),
        memory=memory,
    )


def _beyond(before: int | None, more: int = 0) -> int | None:
    now = _faults("self")
    return None if now is None or before is None else now - before + more


def _interpreter_life() -> Life:
    faults_before = _faults("self")
    began = time.perf_counter()
    with Interpreter() as interpreter:
        interpreter.run("pass")
        created = time.perf_counter()
    ended = time.perf_counter()
    faults = _beyond(faults_before)
    return Life(created - began, ended - created, ended - began, faults, None)


def _server_life() -> Life:
    """The first worker of a server that is a new interpreter."""
    _end_servers()
    return _process_life("forkserver")


def _pool_life(workers: int) -> Life:
    """A whole pool of ours, from nothing."""
    _end_servers()
    began = time.perf_counter()
    with Door("process", _CALL, workers=workers):
        created = time.perf_counter()
    ended = time.perf_counter()
    return Life(created - began, ended - created, ended - began, 0, None)


def _idle_life() -> Life:
    """A worker that waits idle, because the pool before it has left it."""
    try:
        with Door("process", _CALL, workers=1, idle_timeout=30.0):
            pass
        return _life(partial(Door, "process", _CALL, idle_timeout=30.0), own_faults=True)
    finally:
        idle_workers.clear()


def _end_servers() -> None:
    idle_workers.clear()
    servers.stop()
