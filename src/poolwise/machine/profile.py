"""The machine profile: what forecasts need to know of this machine."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from poolwise.machine.costs import PoolCosts
from poolwise.machine.facts import Facts, read_facts


@dataclass(frozen=True, slots=True)
class MachineProfile:
    """Facts and costs of one machine."""

    facts: Facts
    costs: PoolCosts = field(default_factory=PoolCosts)


@functools.cache
def this_machine() -> MachineProfile:
    """Return the profile of this machine, read once per process."""
    return MachineProfile(read_facts())
