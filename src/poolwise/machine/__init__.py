"""What this machine can do: facts that are read, six dimensions that are measured, and costs."""

from poolwise.machine.costs import PoolCosts
from poolwise.machine.facts import Facts, read_facts
from poolwise.machine.here import this_machine
from poolwise.machine.profile import MachineProfile

__all__ = ["Facts", "MachineProfile", "PoolCosts", "read_facts", "this_machine"]
