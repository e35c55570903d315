"""A roofline with four ceilings (and a fifth, where one was met).

Units: seconds per call, calls a second. Start-up is kept apart from running. ``README.md`` beside
this file says what each symbol means and what is ignored on purpose.
"""

from __future__ import annotations

import math

from poolwise.cost.forecast import Ceilings, Forecast
from poolwise.machine import MachineProfile
from poolwise.plan import Plan
from poolwise.probe import TaskProfile
from poolwise.units import PerSecond, Seconds

#: Of what threads of libraries compute beside a call, so much is taken to be done for it. In
#: workers, which have their share of the CPUs each, they do not run. Much of it is waiting for work
#: by polling: an SVD of 100 to 300 rows takes as long, or longer, with two threads of OpenBLAS as
#: with one, and twice the CPU time; a product of 500 rows gains 1.7. Who takes it for work loses up
#: to half of the CPUs; who takes it for nothing loses what it takes to start a process.
_DONE_BESIDE = 0.5


#: So many rounds of calls end as rounds; in more of them lengths that differ have made up for it.
FEW_ROUNDS = 3


def _wall(task: TaskProfile, plan: Plan) -> Seconds:
    """Return how long a call takes that runs alone under such a plan."""
    return task.wall - task.paging if plan.mechanism == "process" else task.wall


def _per(count: float, seconds: Seconds) -> PerSecond:
    return count / seconds if seconds > 0.0 else math.inf


def ceilings(machine: MachineProfile, task: TaskProfile, plan: Plan, batch: int = 1) -> Ceilings:
    """Return at most how many calls a second `plan` can finish, by each reason.

    The time that holds the GIL is taken in the middle of its bounds.
    """
    cpus, costs = machine.facts.usable_cpus, machine.costs
    gil = (task.gil_low + task.gil_high) / 2
    cpu = task.cpu + task.helpers
    outside = math.inf if task.outside is None else task.outside
    if plan.mechanism == "inline":
        return Ceilings(concurrency=_per(1, task.wall))
    if plan.mechanism == "thread":
        return Ceilings(
            concurrency=_per(plan.workers, task.wall),
            gil=_per(1, gil + costs.call_overhead),
            cores=_per(cpus, cpu + costs.call_overhead),
            dispatch=_per(batch, costs.thread_dispatch),
            outside=outside,
        )
    # Who draws calls, packs them and hands on results adds about as much as who runs them.
    there, back = (
        each + costs.call_overhead for each in (task.payload.caller, task.payload.worker)
    )
    cpu -= (1.0 - _DONE_BESIDE) * task.beside + task.paging
    wall = _wall(task, plan)
    if task.paging:
        gil *= 1.0 - task.paging / task.cpu
    return Ceilings(
        concurrency=_per(plan.concurrency, wall + back),
        gil=_per(plan.workers, gil + back),
        cores=_per(cpus, cpu + back + there),
        dispatch=_per(1, there + costs.process_dispatch / batch),
        outside=outside,
    )


def limited_by_cpu(task: TaskProfile, plan: Plan, limits: Ceilings) -> bool:
    """Whether a faster CPU would make `plan` faster: so other load on the machine slows it down."""
    if plan.mechanism == "inline":
        return not task.waits
    return limits.binding in ("gil", "cores")


#: A station that is at work for so much of the time gives as good as all it can.
_FULL = 0.999

#: Where the CPUs are what keeps calls from so many times their throughput, they are never idle.
_CROWDED = 4.0

#: What is so many times as rare as all else does not count.
_RARE = 1e9


def queued(machine: MachineProfile, plan: Plan, limits: Ceilings) -> PerSecond:
    """Return the throughput that queueing for the GIL and for the CPUs leaves of the ceilings.

    Near the point where two ceilings meet, none of them is reached: calls that come back from
    waiting find the GIL taken, or all CPUs. Both are closed networks with one station; that its
    service times are exponential fits calls whose lengths differ widely.
    """
    if plan.mechanism == "inline" or not limits.lowest:
        return limits.lowest
    return min(_queued_for_gil(plan, limits), _queued_for_cpus(machine, plan, limits))


def _queued_for_gil(plan: Plan, limits: Ceilings) -> PerSecond:
    """One server for each address space: mean value analysis (Reiser and Lavenberg 1980)."""
    if math.isinf(limits.gil):
        return limits.lowest
    stations = plan.workers if plan.mechanism == "process" else 1
    service = stations / limits.gil
    think = max(0.0, plan.concurrency / limits.concurrency - service)
    queue = rate = 0.0
    for customers in range(1, plan.concurrency // stations + 1):
        response = service * (1.0 + queue)
        rate = customers / (think + response)
        if rate * service > _FULL:  # more of them only wait longer
            break
        queue = rate * response
    return min(rate * stations, limits.lowest)


def _queued_for_cpus(machine: MachineProfile, plan: Plan, limits: Ceilings) -> PerSecond:
    """As many servers as CPUs, a fraction under a quota: the machine repair model (Palm 1947),
    from no call that computes to all of them.
    """
    cpus, calls = machine.facts.usable_cpus, plan.concurrency
    crowded = limits.concurrency > _CROWDED * limits.cores
    if calls <= cpus or crowded or math.isinf(limits.cores):
        return limits.lowest
    service = cpus / limits.cores
    think = calls / limits.concurrency - service
    if think <= 0.0:
        return limits.lowest
    # Of the time, in multiples of what so many calls compute for: all of it, and that of the CPUs.
    total, busy = 1.0, 0.0
    for computing in range(1, calls + 1):
        at_work = min(float(computing), cpus)
        likelier = (calls - computing + 1) * service / (think * at_work)
        total, busy = total / likelier + 1.0, busy / likelier + at_work
        if total > _RARE:  # more of them compute even less often
            break
    return min(busy / total / service, limits.lowest)


def startup(machine: MachineProfile, plan: Plan, *, server_running: bool, idle: int = 0) -> Seconds:
    """Return how long it takes until all workers of `plan` are ready, if so many are idle."""
    costs = machine.costs
    if plan.mechanism == "inline":
        return 0.0
    if plan.mechanism == "thread":
        return costs.thread_start * plan.workers
    server = 0.0 if server_running else costs.server_start
    threads = costs.thread_start * (plan.threads_per_worker - 1)
    new = max(0, plan.workers - idle)
    again = min(plan.workers, idle) * costs.process_reuse
    return again + (server if new else 0.0) + new * (costs.process_start + threads)


def rounds(calls: int, slots: int, rate: PerSecond, wall: Seconds) -> Seconds:
    """Return how long so few calls take that are about as long, in rounds of one for each slot.

    One alone takes `wall`, and `rate` of them end a second where all slots are full.

    >>> rounds(3, slots=2, rate=2.0, wall=1.0), rounds(3, slots=3, rate=2.0, wall=1.0)
    (2.0, 1.5)
    """
    full, rest = divmod(calls, slots)
    last = max(wall, rest / rate) if rest else 0.0
    return full * max(wall, slots / rate) + last


def forecast(
    machine: MachineProfile,
    task: TaskProfile,
    plan: Plan,
    calls: float,
    *,
    batch: int = 1,
    startup: Seconds = 0.0,
    meanwhile: PerSecond = 0.0,
    correction: float = 1.0,
    measured: PerSecond | None = None,
) -> Forecast:
    """Predict the makespan of `calls` calls under `plan`.

    The throughput is that of `queued`, times `correction`, a ratio from earlier. Where the plan has
    run already, the makespan follows the throughput `measured` instead.

    While workers start, calls go on at the rate `meanwhile`. The straggler is half a call for
    every slot but one: on average the last calls do not end together. Of a few rounds it is what
    the last one leaves idle. Few calls cannot fill all slots, so the concurrency ceiling counts
    only as many slots as there are calls.
    """
    limits = ceilings(machine, task, plan, batch)
    modelled = correction * queued(machine, plan, limits)
    rate = measured or modelled
    slots = plan.concurrency
    left = max(0.0, calls - startup * meanwhile)
    wall = _wall(task, plan)
    straggler = 0.5 * wall * (slots - 1) / slots
    if left <= slots:
        straggler = 0.0
    elif left <= FEW_ROUNDS * slots and rate > 0.0:
        whole = math.ceil(left)
        straggler = max(0.0, rounds(whole, slots, rate, wall) - whole / rate)  # but for rounding
    if left < slots:
        # One round of at most `left` calls side by side.
        most = _per(max(left, 1.0), wall)
        modelled, rate = min(modelled, most), min(rate, most)
    running = left / rate if rate > 0.0 else math.inf
    return Forecast(
        plan=plan,
        ceilings=limits,
        predicted=modelled,
        startup=startup,
        straggler=straggler,
        makespan=startup + running + straggler,
        measured=measured,
    )
