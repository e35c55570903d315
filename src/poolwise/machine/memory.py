"""How much memory a process has, as the kernel counts it (Linux)."""

from __future__ import annotations

from dataclasses import dataclass

from poolwise.timing.repeat import Unmeasurable
from poolwise.units import Bytes


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
