"""Dimension 4: what runs at the same time, by mechanism.

`work` is what workers do, `speedup` how much sooner several are done, `heartbeat` how late others
are beside them; `interpreters` are workers that are no mechanism of poolwise's yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from poolwise.machine.concurrency import heartbeat, speedup
from poolwise.machine.concurrency.interpreters import Interpreters
from poolwise.machine.concurrency.speedup import KINDS, Readings, Workers
from poolwise.machine.concurrency.work import let_go, perform
from poolwise.machine.deadline import deadline
from poolwise.machine.dimensions import Concurrency
from poolwise.machine.door import Door
from poolwise.machine.facts import read_facts
from poolwise.timing.repeat import Effort, gap
from poolwise.timing.sample import Figure, Gap

__all__ = ["measure_concurrency"]

#: What workers are opened with is here within this, or never.
_OPENING = 20.0


@dataclass(frozen=True, slots=True)
class _Mechanism:
    """What was read of one mechanism."""

    work: dict[str, Readings]
    cpus_at_once: Figure
    heartbeats: dict[str, Figure]


def measure_concurrency(effort: Effort) -> Concurrency:
    """Measure dimension 4, in the main thread of a program in which nothing else runs.

    It ends all workers before it returns or raises. What cannot be had here is a gap.
    """
    numbers = speedup.counts(read_facts().whole_cpus, effort)
    openings: dict[str, Callable[[], Workers]] = {
        "thread": partial(Door, "thread", perform, workers=max(numbers)),
        "process": partial(Door, "process", perform, workers=max(numbers)),
        "interpreter": partial(Interpreters, max(numbers)),
    }
    read = {name: _mechanism(name, opening, numbers, effort) for name, opening in openings.items()}
    thread, process = read["thread"], read["process"]
    computing = {name: each.work["holds the GIL"] for name, each in read.items()}
    memory = process.work["memory bandwidth"]
    return Concurrency(
        speedup={
            kind: {name: each.work[kind].figures() for name, each in read.items()} for kind in KINDS
        },
        bytecode_at_once={name: each.figure(each.busy) for name, each in computing.items()},
        cpus_at_once={name: each.cpus_at_once for name, each in read.items()},
        heartbeat=thread.heartbeats,
        heartbeat_process=process.heartbeats,
        switch_interval=heartbeat.switch_interval(thread.heartbeats),
        neighbour={
            "computing": computing["process"].figure(computing["process"].slowed),
            "memory": memory.figure(memory.slowed),
        },
    )


#: Beside workers of these it is asked how late a tick is.
_TICKED = ("thread", "process")


def _mechanism(
    name: str, opening: Callable[[], Workers], numbers: list[int], effort: Effort
) -> _Mechanism:
    try:
        with deadline(_OPENING):
            workers = opening()
        try:
            read = _Mechanism(
                speedup.read(workers, KINDS, numbers, effort),
                heartbeat.cpus_at_once(workers, effort),
                heartbeat.heartbeats(workers, effort) if name in _TICKED else {},
            )
        except BaseException:
            workers.close(grace=0.0)
            raise
        with deadline():
            workers.close()
        let_go()
        return read
    except Exception as error:
        return _nothing(numbers, gap(error))


def _nothing(numbers: list[int], why: Gap) -> _Mechanism:
    readings = Readings({number: [] for number in numbers if number > 1}, failed=why)
    return _Mechanism(
        dict.fromkeys(KINDS, readings), why, dict.fromkeys(("waiting", "computing"), why)
    )
