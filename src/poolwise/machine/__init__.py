"""What this machine can do: facts that are read, and what workers cost."""

from poolwise.machine.costs import PoolCosts
from poolwise.machine.facts import Facts, read_facts
from poolwise.machine.profile import MachineProfile, this_machine

__all__ = ["Facts", "MachineProfile", "PoolCosts", "read_facts", "this_machine"]
