"""How much memory a process has, as the kernel counts it (Linux), and what a worker adds to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from poolwise.machine.door import Door
from poolwise.machine.places import Interpreter
from poolwise.timing.repeat import Effort, Unmeasurable, gap
from poolwise.timing.sample import Gap
from poolwise.units import Bytes

#: Threads and interpreters of which one is too small beside a page: so many are created at once.
_MANY_THREADS, _MANY_INTERPRETERS = 32, 4


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident, private, with its share of what is shared; and the tables that map it."""

    rss: Bytes
    uss: Bytes
    pss: Bytes
    page_tables: Bytes


def memory_of(pid: int | str) -> Memory:
    """Read the memory of a process; ``"self"`` is this one.

    Raises:
        Unmeasurable: the system does not say.
    """
    try:
        map_ = _numbers(f"/proc/{pid}/smaps_rollup")
        status = _numbers(f"/proc/{pid}/status")
        return Memory(
            rss=map_["Rss"],
            uss=map_["Private_Clean"] + map_["Private_Dirty"],
            pss=map_["Pss"],
            page_tables=status["VmPTE"],
        )
    except (OSError, KeyError) as error:
        raise Unmeasurable(f"the system does not say how memory is used: {error!r}") from None


def _numbers(path: str) -> dict[str, Bytes]:
    found = {}
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            match line.split():
                case [name, size, "kB"]:
                    found[name.rstrip(":")] = int(size) * 1024
    return found


def memory_added(effort: Effort) -> dict[str, list[Memory] | Gap]:
    """Return what workers inside of this process add to it, by kind."""
    return {
        "thread": _added(_thread_memory, effort),
        "interpreter": _added(_interpreter_memory, effort),
    }


def _added(readings: Callable[[Effort], Iterator[Memory]], effort: Effort) -> list[Memory] | Gap:
    try:
        return list(readings(effort))
    except Exception as error:
        return gap(error)


def _thread_memory(effort: Effort) -> Iterator[Memory]:
    with Door("thread", str) as door:
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
