"""The machine that this process runs on, as forecasts see it."""

from __future__ import annotations

import functools
import os

from _poolwise_worker import surroundings
from poolwise.machine.costs import PoolCosts
from poolwise.machine.facts import Facts, read_facts
from poolwise.machine.profile import MachineProfile


def this_machine() -> MachineProfile:
    """Return the profile of this machine as this process may use it: facts, read once, and costs.

    The costs are those of a stored profile if there is one of this very machine, else the usual
    ones. They are looked up when a forecast first asks for them, which most maps never do.
    """
    return _profile(os.getpid(), surroundings.siblings)


@functools.lru_cache(1)
def _profile(process: int, siblings: int) -> MachineProfile:
    return _Here(read_facts())


class _Here(MachineProfile):
    """Looks for its costs late. The file is read at most once; two threads may both read it."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        del self.__dict__["costs"]

    @functools.cached_property
    def costs(self) -> PoolCosts:
        """What workers cost here, as far as it was measured."""
        from poolwise.machine.fingerprint import fingerprint_of
        from poolwise.machine.store import load_costs

        return load_costs(fingerprint_of(self.facts)) or PoolCosts()


def forget() -> None:
    """Look again when costs are next asked for: there is a new profile."""
    _profile.cache_clear()
