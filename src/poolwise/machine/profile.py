"""The machine profile: what forecasts need to know of this machine."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field

from _poolwise_worker import surroundings
from poolwise.machine.costs import PoolCosts
from poolwise.machine.facts import Facts, read_facts


@dataclass(frozen=True, slots=True)
class MachineProfile:
    """Facts and costs of one machine."""

    facts: Facts
    costs: PoolCosts = field(default_factory=PoolCosts)


def this_machine() -> MachineProfile:
    """Return the profile of this machine as this process may use it, read once."""
    return _profile(os.getpid(), surroundings.siblings)


@functools.lru_cache(1)
def _profile(process: int, siblings: int) -> MachineProfile:
    return MachineProfile(read_facts())
