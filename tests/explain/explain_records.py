"""Records made by hand, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from poolwise.cost import Forecast, forecast
from poolwise.cost.model import startup
from poolwise.executor.record import Phase, PlanUse, RunRecord
from poolwise.machine import Facts, MachineProfile
from poolwise.plan import Plan
from poolwise.planner import Limits, batch_size, candidates, ranked
from poolwise.probe import Payload, TaskProfile
from poolwise.task import Refusal, Task
from poolwise.wisdom import Entry, Subject

NOT_PICKLABLE = Refusal("read cannot be pickled (it holds an open file)", "use threads")


def read(text: str) -> str:
    """What the records say was run."""
    return text.upper()


def a_machine(cpus: float = 2.0, gil: bool = True) -> MachineProfile:
    return MachineProfile(Facts("CPython 3.13.1", gil, cpus, "cgroup quota", 1_600_000_000))


def a_profile(
    wait: float = 5.1e-3,
    compute: float = 2.4e-3,
    held: tuple[float, float] = (0.95, 1.0),
    helpers: float = 0.0,
    outside: float | None = None,
    pickling: float = 1e-5,
) -> TaskProfile:
    """A call that waits and computes; `held` are the bounds of the share that holds the GIL."""
    return TaskProfile(
        calls=14,
        wall=wait + compute + helpers,
        cpu=compute,
        helpers=helpers,
        gil_low=held[0] * compute,
        gil_high=held[1] * compute,
        payload=Payload(pickling, pickling, 1_200, 90),
        outside=outside,
    )


def forecasts_for(
    profile: TaskProfile,
    machine: MachineProfile,
    total: int | None,
    *,
    measured: dict[Plan, float] | None = None,
    refused: dict[str, Refusal] | None = None,
) -> tuple[Forecast, ...]:
    """Every candidate's forecast, as an advice has them."""
    result = []
    for plan in candidates(machine, profile, Limits()):
        refusal = (refused or {}).get(plan.mechanism)
        if refusal is not None:
            result.append(Forecast(plan, refusal=refusal))
            continue
        result.append(
            forecast(
                machine,
                profile,
                plan,
                total or 1_000,
                batch=batch_size(plan, profile.wall, total),
                startup=startup(machine, plan, server_running=False),
                measured=(measured or {}).get(plan),
            )
        )
    return ranked(result)


def a_record(
    profile: TaskProfile | None = None,
    machine: MachineProfile | None = None,
    *,
    total: int | None = 1_512,
    function: Callable[..., object] = read,
) -> RunRecord:
    """A record after the survey: some inputs ran, nothing is chosen yet."""
    return RunRecord(
        task=Task(function),
        machine=machine or a_machine(),
        profile=profile,
        plan=Plan("thread", 16),
        pinned=False,
        forecasts=(),
        forecast=None,
        phases=(Phase(0.0, "pilot in the caller: 14 calls"), Phase(0.09, "16 threads")),
        uses=(PlanUse(Plan("inline"), 14, 0.1, 0.1, 0.03),),
        started=30,
        done=14,
        failed=0,
        lost_workers=0,
        retried=0,
        elapsed=0.1,
        finished=False,
        total=total,
    )


def a_run(
    profile: TaskProfile | None = None,
    machine: MachineProfile | None = None,
    *,
    forecasts: Iterable[Forecast] | None = None,
) -> RunRecord:
    """A run that ended well under the plan that was chosen for it."""
    profile, machine = profile or a_profile(), machine or a_machine()
    chosen = tuple(forecasts or forecasts_for(profile, machine, 1_512))
    plan = chosen[0].plan
    return replace(
        a_record(profile, machine),
        plan=plan,
        forecasts=chosen,
        forecast=1.94,
        phases=(
            Phase(0.0, "pilot in the caller: 14 calls"),
            Phase(0.09, "16 threads"),
            Phase(0.14, f"moved to {plan}"),
        ),
        uses=(
            PlanUse(Plan("inline"), 14, 0.1, 0.1, 0.03),
            PlanUse(plan, 1_498, 1.9, 28.0, 3.6),
        ),
        started=1_512,
        done=1_510,
        failed=2,
        elapsed=2.0,
        finished=True,
    )


#: What an earlier run has taught of it.
REMEMBERED = Entry(
    Subject("records", "read", "0123456789abcdef"),
    "here",
    a_profile(),
    learned=True,
    plan=Plan("process", 2, 4),
    calls=1_512,
    elapsed=2.0,
    at=1.6e9,
)
