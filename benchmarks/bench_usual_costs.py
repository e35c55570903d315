"""What is lost by deciding with the usual costs of workers where the true ones are others.

What it should show: without a profile of the machine, plans are chosen by costs that were measured
elsewhere. Measuring them before a map would take as long as what is measured (a server that
starts), so it has to be seen that nothing is lost by not doing so.

How to read it: each row has other true costs; all plans are chosen by the usual ones, and both the
plan taken and the best one are forecast with the true ones. Nothing runs. A choice is worse if its
makespan is more than 10 % longer; what it loses is in the columns after that. "here" are the costs
of the profile that is stored for this machine (``poolwise measure``), if there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import product
from typing import NamedTuple

from _report import begin, options, table

from poolwise.cost import Forecast, forecast
from poolwise.cost.model import startup
from poolwise.machine import MachineProfile, PoolCosts, read_facts, store
from poolwise.machine.fingerprint import fingerprint_of
from poolwise.planner import Limits, batch_size, candidates, choose
from poolwise.probe import Payload, TaskProfile
from poolwise.units import Seconds, duration

LENGTHS = [10.0 ** (step / 3 - 6) for step in range(22)]
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: What sending a call's arguments and results takes, on each side.
SENDING = (2e-6, 2e-4)
CALLS = (30, 1_000, 30_000)


class Loss(NamedTuple):
    """How much longer the plan taken is than the best one."""

    seconds: Seconds
    ratio: float


def losses(machine: MachineProfile, true: PoolCosts, calls: int) -> Iterator[Loss]:
    """Yield what is lost for each kind of work."""
    usual, actual = (replace(machine, costs=costs) for costs in (PoolCosts(), true))
    for length, share, sending, waits in product(LENGTHS, SHARES, SENDING, (True, False)):
        held = length * share
        task = TaskProfile(
            calls=1,
            wall=length,
            cpu=held if waits else length,
            helpers=0.0,
            gil_low=held,
            gil_high=held,
            payload=Payload(sending, sending),
        )
        taken = choose(forecasts(usual, task, calls)).plan
        makespans = {_kind(each): each.makespan for each in forecasts(actual, task, calls)}
        best = min(makespans.values())
        took = makespans[replace(taken, batch_size=None).spec]
        yield Loss(took - best, took / best)


def forecasts(machine: MachineProfile, task: TaskProfile, calls: int) -> list[Forecast]:
    """Forecast every plan, no server being there."""
    return [
        forecast(
            machine,
            task,
            plan,
            calls,
            batch=batch_size(plan, task.wall, calls),
            startup=startup(machine, plan, server_running=False),
        )
        for plan in candidates(machine, task, Limits())
    ]


def _kind(each: Forecast) -> str:
    return replace(each.plan, batch_size=None).spec


def truths(machine: MachineProfile, *, few: bool) -> Iterator[tuple[str, PoolCosts]]:
    """Yield what the costs may be in truth."""
    assert machine.fingerprint is not None
    here = store.load_costs(machine.fingerprint)
    if here is not None:
        yield "here", here
    usual, names = PoolCosts(), [each.name for each in fields(PoolCosts)]
    for factor in (2.0,) if few else (0.25, 0.5, 2.0, 4.0):
        changed = {name: getattr(usual, name) * factor for name in names}
        yield f"all × {factor:g}", PoolCosts(**changed)
    for name in names if not few else ():
        yield f"{name} × 4", replace(usual, **{name: getattr(usual, name) * 4.0})


def main() -> None:
    """Compare the choices for each truth."""
    given = begin(options(__doc__, rounds=1))
    facts = read_facts()
    machine = MachineProfile(facts, fingerprint=fingerprint_of(facts))
    rows = []
    for name, true in truths(machine, few=given.smoke):
        for calls in CALLS[:1] if given.smoke else CALLS:
            found = list(losses(machine, true, calls))
            worse = [each for each in found if each.ratio > 1.1]
            rows.append(
                [
                    name,
                    f"{calls:,}",
                    f"{len(worse)} of {len(found)}",
                    str(sum(each.seconds > 0.1 for each in worse)),
                    duration(max((each.seconds for each in worse), default=0.0)),
                    f"{max(each.ratio for each in found):.2f}",
                ]
            )
    head = ["true costs", "calls", "worse", "by over 0.1 s", "at most by", "largest ratio"]
    print(f"\n{table(head, rows)}")


if __name__ == "__main__":
    main()
