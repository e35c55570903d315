"""Dimension 2: what it costs to have a worker, and to switch between two.

One loop over each kind of worker gives all its figures: create one, ask it for its memory, end it.
Runs in a program of its own, which is small, so that the figures do not depend on the caller.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from poolwise.machine import ring
from poolwise.machine.dimensions import Resources
from poolwise.machine.door import Door
from poolwise.machine.memory import Memory, memory_of
from poolwise.machine.places import Interpreter
from poolwise.mechanisms import idle_workers, servers
from poolwise.timing.repeat import NORMAL, Effort, gap, gather, in_turns, repeat
from poolwise.timing.sample import Figure, Gap, Sample
from poolwise.units import Seconds

#: Threads and interpreters of which one is too small beside a page: so many are created at once.
_MANY_THREADS, _MANY_INTERPRETERS = 32, 4

#: Batches under way while dispatch is measured: one runs, one waits, as in a map.
_AHEAD = 2

_FORKED = ("fork", "forkserver")
_METHODS = (*_FORKED, "spawn")


@dataclass(frozen=True, slots=True)
class _Life:
    """One worker from its creation to its end."""

    create: Seconds
    destroy: Seconds
    whole: Seconds  # with one call in between
    faults: int | None
    memory: Memory | None


@dataclass(frozen=True, slots=True)
class _Lives:
    """Several of a kind, or the reason why there are none."""

    all: tuple[_Life, ...] = ()
    throttled: bool = False
    gap: Gap | None = None

    def figure(self, unit: str, read: Callable[[_Life], float | None]) -> Figure:
        """Return one thing about all of them."""
        values = tuple(float(each) for each in map(read, self.all) if each is not None)
        if self.gap is not None or not values:
            return self.gap or Gap("the system does not say")
        return Sample(unit, values, self.throttled)


def measure_resources(effort: Effort) -> Resources:
    """Measure what workers cost; call in the main thread of a program of its own."""
    lives: dict[str, _Lives] = {
        "thread": _live(_thread_life, effort),
        **{method: _live(partial(_process_life, method), effort) for method in _FORKED},
        # Each is a new program, so none is slow for being the first.
        "spawn": _live(partial(_process_life, "spawn"), effort, warm=0),
        "interpreter": _live(_interpreter_life, effort),
    }
    lives["server"] = _live(_server_life, _few(effort), warm=0)
    lives["idle"] = _live(_idle_life, effort)
    pools = {f"pool {count}": _live(partial(_pool_life, count), effort) for count in (1, 2)}
    # What a pool takes by itself in a program with one thread, such as this.
    lives["process"] = lives["fork"]
    added = {
        "thread": _added(_thread_memory, effort),
        "interpreter": _added(_interpreter_memory, effort),
    }
    kinds = ("thread", "process", *_METHODS, "interpreter")
    switch, voluntary = _rings(effort)
    return Resources(
        create=_figures({**lives, **pools}, "s", lambda life: life.create),
        destroy=_figures(_of(kinds, lives), "s", lambda life: life.destroy),
        create_and_join=_figures(
            {**_of(kinds, lives), **pools}, "s", lambda life: life.create + life.destroy
        ),
        page_faults=_figures(_of(kinds, lives), "1", lambda life: life.faults),
        page_tables=_memory(lives, added, lambda memory: memory.page_tables),
        rss=_memory(lives, added, lambda memory: memory.rss),
        uss=_memory(lives, added, lambda memory: memory.uss),
        pss=_memory(lives, added, lambda memory: memory.pss),
        switch=switch,
        voluntary_switches=voluntary,
        involuntary_switches={kind: _involuntary(kind, effort) for kind in ("thread", "process")},
        short_tasks=_figures(
            _of(("thread", "process"), lives), "1/s", lambda life: 1.0 / life.whole
        ),
        dispatch={kind: _dispatch(kind, effort) for kind in ("thread", "process")},
        call_overhead=_call_overhead(effort),
    )


def _few(effort: Effort) -> Effort:
    """Return the effort for what takes long: some readings are enough."""
    return replace(effort, least=2 if effort.least < NORMAL.least else 3, most=8)


def _of(kinds: tuple[str, ...], lives: Mapping[str, _Lives]) -> dict[str, _Lives]:
    return {kind: lives[kind] for kind in kinds}


# ---- lives ---------------------------------------------------------------------------------------


def _live(life: Callable[[], _Life], effort: Effort, *, warm: int = 1) -> _Lives:
    """Create and end one worker after the other."""
    lives: list[_Life] = []

    def once() -> Seconds:
        lives.append(life())
        return lives[-1].create

    figure = repeat(once, "s", effort, warm=warm)
    if isinstance(figure, Gap):
        return _Lives(gap=figure)
    return _Lives(tuple(lives[-figure.count :]), figure.throttled)


def _figures(
    lives: Mapping[str, _Lives], unit: str, read: Callable[[_Life], float | None]
) -> dict[str, Figure]:
    return {kind: each.figure(unit, read) for kind, each in lives.items()}


def _memory(
    lives: Mapping[str, _Lives],
    added: Mapping[str, list[Memory] | Gap],
    read: Callable[[Memory], int],
) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for kind in ("thread", "process", *_METHODS, "interpreter"):
        parts = added.get(kind)
        if isinstance(parts, list):
            figures[kind] = gather(map(read, parts), "B")
        else:
            figures[kind] = parts or lives[kind].figure(
                "B", lambda life: None if life.memory is None else read(life.memory)
            )
    return figures


#: What workers are for, here: a built-in function, so that none imports anything for it. Where the
#: system has ``/proc``, it tells who it is.
_IN_PROC = os.path.exists("/proc/self/stat")
_CALL: Callable[[str], object] = os.readlink if _IN_PROC else os.fspath


def _faults(pid: int | str) -> int | None:
    """Return how many pages a process has touched first, without reading from a disk."""
    if not _IN_PROC:
        return None
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[7])


def _thread_life() -> _Life:
    return _life(partial(Door, "thread", _CALL), own_faults=False)


def _process_life(method: str) -> _Life:
    return _life(partial(Door, "process", _CALL, start_method=method), own_faults=True)


def _life(open_door: Callable[[], Door], *, own_faults: bool) -> _Life:
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
    return _Life(
        create=created - began,
        destroy=ended - asked,
        whole=(called - began) + (ended - asked),
        faults=_beyond(faults_before, faults or 0),
        memory=memory,
    )


def _beyond(before: int | None, more: int = 0) -> int | None:
    now = _faults("self")
    return None if now is None or before is None else now - before + more


def _interpreter_life() -> _Life:
    faults_before = _faults("self")
    began = time.perf_counter()
    with Interpreter() as interpreter:
        interpreter.run("pass")
        created = time.perf_counter()
    ended = time.perf_counter()
    faults = _beyond(faults_before)
    return _Life(created - began, ended - created, ended - began, faults, None)


def _server_life() -> _Life:
    """The first worker of a server that is a new interpreter."""
    _end_servers()
    return _process_life("forkserver")


def _pool_life(workers: int) -> _Life:
    """A whole pool of ours, from nothing."""
    _end_servers()
    began = time.perf_counter()
    with Door("process", _CALL, workers=workers):
        created = time.perf_counter()
    ended = time.perf_counter()
    return _Life(created - began, ended - created, ended - began, 0, None)


def _idle_life() -> _Life:
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


# ---- memory of what lives inside of this process -------------------------------------------------


def _added(readings: Callable[[Effort], Iterator[Memory]], effort: Effort) -> list[Memory] | Gap:
    try:
        return list(readings(effort))
    except Exception as error:
        return gap(error)


def _thread_memory(effort: Effort) -> Iterator[Memory]:
    with Door("thread", _CALL) as door:
        door.start()  # what the first one needs, the others need not
        before = memory_of("self")
        for _ in range(effort.least):
            door.start(_MANY_THREADS)
            now = memory_of("self")
            yield _share(before, now, _MANY_THREADS)
            before = now


def _interpreter_memory(effort: Effort) -> Iterator[Memory]:
    Interpreter().close()
    before = memory_of("self")
    for _ in range(max(1, effort.least - 2)):
        with _interpreters(_MANY_INTERPRETERS):
            yield _share(before, memory_of("self"), _MANY_INTERPRETERS)


@contextmanager
def _interpreters(count: int) -> Iterator[None]:
    open_: list[Interpreter] = []
    try:
        for _ in range(count):
            open_.append(Interpreter())
            open_[-1].run("pass")
        yield
    finally:
        for each in open_:
            each.close()


def _share(before: Memory, now: Memory, parts: int) -> Memory:
    return Memory(
        rss=(now.rss - before.rss) // parts,
        uss=(now.uss - before.uss) // parts,
        pss=(now.pss - before.pss) // parts,
        page_tables=(now.page_tables - before.page_tables) // parts,
    )


# ---- switches ------------------------------------------------------------------------------------

_ROUNDS = 400


def _rings(effort: Effort) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """Return the cost of a switch, and how many there were in a round; both kinds in turns."""
    rounds: dict[str, list[float]] = {"thread": [], "process": []}
    readings: dict[str, Callable[[], Seconds]] = {}
    with ExitStack() as stack:
        for kind in rounds:
            try:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                door = stack.enter_context(Door(kind, ring.pass_on, workers=2))
                readings[kind] = partial(_round_trip, door, _pipes(folder), rounds[kind])
            except Exception as error:
                readings[kind] = partial(_fail, error)
        switch = in_turns(readings, "s", effort)
    voluntary = {
        kind: each if isinstance(each, Gap) else Sample("1", tuple(rounds[kind]))
        for kind, each in switch.items()
    }
    return switch, voluntary


def _fail(error: Exception) -> Seconds:
    raise error


def _pipes(folder: str) -> tuple[str, str]:
    paths = os.path.join(folder, "there"), os.path.join(folder, "back")
    for path in paths:
        os.mkfifo(path)
    return paths


def _round_trip(door: Door, pipes: tuple[str, str], rounds: list[float]) -> Seconds:
    """Return what a switch takes: half a round, less what the pipes take without one."""
    there, back = pipes
    places = [(there, back, False, _ROUNDS), (back, there, True, _ROUNDS)]
    turns: list[ring.Turns] = door.calls([(place,) for place in places])
    rounds.append(sum(each.voluntary for each in turns) / _ROUNDS)
    return (turns[1].took / 2 - ring.alone(_ROUNDS)) / _ROUNDS


def _involuntary(kind: str, effort: Effort) -> Figure:
    """Return how often a second two that compute are switched away from one CPU."""

    def reading() -> float:
        until = time.perf_counter() + 8 * effort.piece
        turns: list[ring.Turns] = door.calls([(until,), (until,)])
        return sum(each.involuntary for each in turns) / max(each.took for each in turns)

    try:
        with Door(kind, ring.compute_until, workers=2) as door:
            return repeat(reading, "1/s", _few(effort), warm=0)
    except Exception as error:
        return gap(error)


# ---- sending -------------------------------------------------------------------------------------


def _nothing(_: object) -> None:
    pass


def _dispatch(kind: str, effort: Effort) -> Figure:
    """Return what a batch of one call that does nothing takes while others are under way."""
    count = 100
    arguments = [(None,)] * count

    def reading() -> Seconds:
        began = time.perf_counter()
        door.calls(arguments, _AHEAD)
        return (time.perf_counter() - began) / count

    try:
        with Door(kind, _nothing, workers=1) as door:
            return repeat(reading, "s", effort)
    except Exception as error:
        return gap(error)


def _call_overhead(effort: Effort) -> Figure:
    """Return what the loop of a worker adds to each call of a batch."""
    column = [None] * 10_000

    def reading() -> Seconds:
        began = time.perf_counter()
        door.batch(column)
        between = time.perf_counter()
        for value in column:
            _nothing(value)
        return (2 * between - began - time.perf_counter()) / len(column)

    try:
        with Door("thread", _nothing, workers=1) as door:
            return repeat(reading, "s", effort)
    except Exception as error:
        return gap(error)
