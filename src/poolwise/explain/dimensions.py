"""The six dimensions of a run: a line each, and only what its record knows."""

from __future__ import annotations

from poolwise.executor.record import RunRecord
from poolwise.explain.words import gil_time, share, time
from poolwise.plan import Plan
from poolwise.probe import Payload, TaskProfile
from poolwise.units import duration, plural, size

_INDENT = 16


def dimension_lines(record: RunRecord) -> list[str]:
    """Return a line for each dimension of which something is known."""
    said = {
        "isolation": isolation(record),
        "cost": cost(record),
        "communication": communication(record),
        "concurrency": concurrency(record),
        "suited to": suited_to(record.profile, record.machine.facts.gil),
        "implementation": implementation(record.plan),
    }
    return [f"{name:<{_INDENT}}{text}" for name, text in said.items() if text]


def isolation(record: RunRecord) -> str:
    """Say what calls share with the caller; calls before a move to workers shared all."""
    match record.plan.mechanism:
        case "inline":
            return "none: calls run in the caller's own thread"
        case "thread":
            return "none: threads share the caller's memory"
    text = f"{record.plan.mechanism}: what a call changes in memory stays in its worker"
    before = sum(use.calls for use in record.uses if use.plan.mechanism in ("inline", "thread"))
    return f"{text}; {plural(before, 'call')} ran in this process" if before else text


def cost(record: RunRecord) -> str:
    """Say what was started, and the CPU time that calls took."""
    plan = record.plan
    parts = ["nothing was started"]
    if plan.mechanism != "inline":
        kind = "thread" if plan.mechanism == "thread" else f"worker {plan.mechanism}"
        parts = [plural(plan.workers, kind)]
        own = next((f for f in record.forecasts if f.plan == plan and f.startup > 0.0), None)
        if own is not None:
            parts.append(f"forecast {duration(own.startup)} to start")
    cpu = sum(use.cpu for use in record.uses)
    if cpu > 0.0:
        parts.append(f"{time(cpu)} of CPU in calls")
    return "; ".join(parts)


def communication(record: RunRecord) -> str:
    """Say what travels between caller and worker."""
    if record.plan.mechanism in ("inline", "thread"):
        return "none: arguments and results are handed over by reference"
    payload = None if record.profile is None else record.profile.payload
    if payload is None or payload == Payload():
        return "arguments and results are pickled; how large they are was not measured"
    if not payload.carried:
        return "an argument or a result cannot be pickled"
    there, back = size(payload.bytes_in), size(payload.bytes_out)
    return f"{there} in, {back} out a call; {duration(payload.caller + payload.worker)} to pickle"


def concurrency(record: RunRecord) -> str:
    """Say how many calls run at once, and for how much of each they hold the GIL."""
    parts = [f"{plural(record.plan.concurrency, 'call')} at once"]
    profile = record.profile
    if not record.machine.facts.gil:
        parts.append("no GIL in this build")
    elif profile is not None and profile.gil_known:
        held = share(gil_time(profile), profile.wall)
        parts += [f"GIL held {held} of a call"] if held else []
    elif profile is not None:
        most = share(profile.gil_high, profile.wall)
        if most and profile.gil_high < 0.9 * profile.wall:
            parts.append(f"GIL held at most {most} of a call, not measured closer")
    return "; ".join(parts)


def suited_to(profile: TaskProfile | None, gil: bool) -> str:
    """Say what kind of work this is."""
    waits = None if profile is None else share(profile.waiting, profile.wall)
    if profile is None or waits is None:
        return ""
    computing = profile.wall - profile.waiting
    if computing <= 0.1 * profile.wall:
        return f"work that waits: {waits} of a call"
    kind = _kind_of_computing(profile, gil)
    if profile.waiting <= 0.1 * profile.wall:
        return f"work that computes{kind}"
    return f"work that waits and computes: {waits} waiting, the rest computing{kind}"


def _kind_of_computing(profile: TaskProfile, gil: bool) -> str:
    if profile.helpers > profile.cpu:
        return " in threads or child processes of its own"
    if not gil or not profile.gil_known:
        return ""
    held = gil_time(profile)
    if held >= 0.9 * profile.cpu:
        return " holding the GIL"
    return " with the GIL released" if held <= 0.1 * profile.cpu else " partly holding the GIL"


def implementation(plan: Plan) -> str:
    """Say how the plan is carried out."""
    match plan.mechanism:
        case "inline":
            return "a loop inside next()"
        case "thread":
            return f"threads of this process{_batches(plan)}"
    inside = "in its main thread, one call at a time"
    if plan.threads_per_worker > 1:
        inside = f"in {plural(plan.threads_per_worker, 'thread')}"
    return f"worker {plan.mechanism}es, each runs calls {inside}{_batches(plan)}"


def _batches(plan: Plan) -> str:
    fixed = plan.batch_size is not None
    return f"; batches of {plan.batch_size}" if fixed else "; batches follow the length of calls"
