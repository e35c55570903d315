"""Dimension 2: what it costs to have a worker, and to switch between two.

`lives` creates and ends workers, `memory` reads what they occupy, `switches` passes a token
between two of them (`ring` is what these do), `sending` sends them work. Runs in a program of its
own, which is small, so that the figures do not depend on the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from poolwise.machine.dimensions import Resources
from poolwise.machine.resources.lives import METHODS, Life, Lives, live
from poolwise.machine.resources.memory import Memory, memory_added
from poolwise.machine.resources.sending import call_overhead, dispatch
from poolwise.machine.resources.switches import involuntary, rings
from poolwise.timing.repeat import Effort, gather
from poolwise.timing.sample import Figure, Gap

__all__ = ["measure_resources"]

_BOTH = ("thread", "process")
_KINDS = (*_BOTH, *METHODS, "interpreter")


def measure_resources(effort: Effort) -> Resources:
    """Measure what workers cost; call in the main thread of a program of its own."""
    lives = live(effort)
    added = memory_added(effort)
    workers = {kind: lives[kind] for kind in _KINDS}
    pools = {kind: lives[kind] for kind in ("pool 1", "pool 2")}
    switch, voluntary = rings(effort)
    return Resources(
        create=_figures(lives, "s", lambda life: life.create),
        destroy=_figures(workers, "s", lambda life: life.destroy),
        create_and_join=_figures(
            {**workers, **pools}, "s", lambda life: life.create + life.destroy
        ),
        page_faults=_figures(workers, "1", lambda life: life.faults),
        page_tables=_memory(lives, added, lambda memory: memory.page_tables),
        rss=_memory(lives, added, lambda memory: memory.rss),
        uss=_memory(lives, added, lambda memory: memory.uss),
        pss=_memory(lives, added, lambda memory: memory.pss),
        switch=switch,
        voluntary_switches=voluntary,
        involuntary_switches={kind: involuntary(kind, effort) for kind in _BOTH},
        short_tasks=_figures(
            {kind: lives[kind] for kind in _BOTH}, "1/s", lambda life: 1.0 / life.whole
        ),
        dispatch={kind: dispatch(kind, effort) for kind in _BOTH},
        call_overhead=call_overhead(effort),
    )


def _figures(
    lives: Mapping[str, Lives], unit: str, read: Callable[[Life], float | None]
) -> dict[str, Figure]:
    return {kind: each.figure(unit, read) for kind, each in lives.items()}


def _memory(
    lives: Mapping[str, Lives],
    added: Mapping[str, list[Memory] | Gap],
    read: Callable[[Memory], int],
) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for kind in _KINDS:
        parts = added.get(kind)
        if isinstance(parts, list):
            figures[kind] = gather(map(read, parts), "B")
        else:
            figures[kind] = parts or lives[kind].figure(
                "B", lambda life: None if life.memory is None else read(life.memory)
            )
    return figures
