"""What the user may ask for, checked before anything starts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from poolwise.executor.again import Retries
from poolwise.executor.guards import Guards, refuse_without_processes
from poolwise.machine import MachineProfile
from poolwise.mechanisms import WorkerOptions
from poolwise.plan import MECHANISMS, Plan, check_count
from poolwise.planner import Limits
from poolwise.planner.candidates import DEFAULT_CONCURRENCY


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How calls are to run: a pinned `plan`, or what `auto` may do within `limits`.

    `max_concurrency` is the hard bound on calls at once, ``None`` if the user gave none; `workers`
    says what all workers are like, `retries` which calls run again, `why` whose wish the plan is,
    `wisdom` whether a run may recall what earlier ones have taught, and teach others.
    """

    plan: Plan | None
    limits: Limits
    max_concurrency: int | None
    workers: WorkerOptions = field(default_factory=WorkerOptions)
    retries: Retries = field(default_factory=Retries)
    why: str = "as asked for"
    wisdom: bool = True


def standard_threads() -> int:
    """Return how wide `ThreadPoolExecutor` is by default: programs rely on so many calls at once,
    whatever a quota says.
    """
    return min(32, (os.cpu_count() or 1) + 4)


def run_options(
    machine: MachineProfile,
    *,
    mechanism: str = "auto",
    plan: Plan | str | None = None,
    max_workers: int | None = None,
    threads_per_worker: int | None = None,
    max_concurrency: int | None = None,
    guards: Guards = Guards(),  # noqa: B008 - frozen
    use_environment: bool = True,
) -> RunOptions:
    """Check the options that `poolwise.map` and `poolwise.Executor` share.

    ``POOLWISE_PLAN`` pins a plan where neither `plan` nor another option does. `guards` that only
    processes can keep have ``"auto"`` take these.

    Raises:
        TypeError: an option of the wrong type; the text names it and what it takes.
        ValueError: a value out of range, or options that contradict each other.
        PlanRefused: a plan that cannot keep the `guards`.
    """
    max_workers = _count("max_workers", max_workers)
    threads_per_worker = _count("threads_per_worker", threads_per_worker)
    max_concurrency = _count("max_concurrency", max_concurrency)
    options = _plan_or_limits(
        machine, mechanism, plan, max_workers, threads_per_worker, max_concurrency, use_environment
    )
    wanted = guards.asks_for_processes
    if options.plan is None and wanted:
        threads = 1 if guards.one_call and threads_per_worker is None else threads_per_worker
        apart = _plan_for("process", machine, max_workers, threads)
        refuse_without_processes(guards, apart)
        return replace(options, plan=_beside_siblings(apart, machine), why=f"for {wanted}")
    if options.plan is not None:
        refuse_without_processes(guards, options.plan)
    return options


def _plan_or_limits(
    machine: MachineProfile,
    mechanism: str,
    plan: Plan | str | None,
    max_workers: int | None,
    threads_per_worker: int | None,
    max_concurrency: int | None,
    use_environment: bool,
) -> RunOptions:
    if mechanism != "auto" and mechanism not in MECHANISMS:
        accepted = ", ".join(("auto", *MECHANISMS))
        raise ValueError(f"mechanism takes one of {accepted}, not {mechanism!r}")
    pinned = _plan(plan)
    if pinned is None and use_environment:
        pinned = _plan_of_environment()
    if pinned is not None:
        given = {
            "mechanism": mechanism != "auto",
            "max_workers": max_workers is not None,
            "threads_per_worker": threads_per_worker is not None,
        }
        clash = [name for name, is_given in given.items() if is_given]
        if clash and plan is not None:
            raise ValueError(f"plan= already says {', '.join(clash)}=; give one or the other")
        if not clash:
            return RunOptions(_beside_siblings(pinned, machine), Limits(), max_concurrency)
    if mechanism != "auto":
        pinned = _plan_for(mechanism, machine, max_workers, threads_per_worker)
        return RunOptions(_beside_siblings(pinned, machine), Limits(), max_concurrency)
    # max_workers alone also caps the calls running at once, so Executor(5) never runs six.
    cap = max_concurrency
    if cap is None and max_workers is not None and threads_per_worker is None:
        cap = max_workers
    limits = Limits(cap or DEFAULT_CONCURRENCY, max_workers, threads_per_worker)
    return RunOptions(None, limits, cap, wisdom=_wisdom_of_environment())


def _count(name: str, value: int | None) -> int | None:
    return None if value is None else check_count(name, value)


def _plan(plan: Plan | str | None) -> Plan | None:
    if plan is None or isinstance(plan, Plan):
        return plan
    if isinstance(plan, str):
        return Plan.parse(plan)
    raise TypeError(f"plan takes a Plan or its text, such as 'process:4x8', not {plan!r}")


def _beside_siblings(plan: Plan, machine: MachineProfile) -> Plan:
    """Return the plan with no more processes than a worker may start: the others have theirs."""
    if plan.mechanism != "process" or machine.facts.cpu_limit != "other workers":
        return plan
    return replace(plan, workers=min(plan.workers, machine.facts.whole_cpus))


def _plan_of_environment() -> Plan | None:
    spec = os.environ.get("POOLWISE_PLAN", "").strip()
    try:
        return Plan.parse(spec) if spec else None
    except ValueError as error:
        raise ValueError(f"the environment variable POOLWISE_PLAN: {error}") from None


#: What ``POOLWISE_WISDOM`` may say, in any case.
_ON_OR_OFF = {"": True, "on": True, "1": True, "off": False, "0": False}


def _wisdom_of_environment() -> bool:
    word = os.environ.get("POOLWISE_WISDOM", "").strip()
    if word.lower() not in _ON_OR_OFF:
        raise ValueError(f"the environment variable POOLWISE_WISDOM takes on or off, not {word!r}")
    return _ON_OR_OFF[word.lower()]


def _plan_for(
    mechanism: str, machine: MachineProfile, max_workers: int | None, threads: int | None
) -> Plan:
    cpus = machine.facts.whole_cpus
    if mechanism == "process":
        return Plan("process", max_workers or cpus, threads or 1)
    if threads is not None:
        hint = " (max_workers is the number of threads)" if mechanism == "thread" else ""
        raise ValueError(
            f"threads_per_worker belongs to processes; mechanism={mechanism!r} has none{hint}"
        )
    if mechanism == "thread":
        return Plan("thread", max_workers or min(32, cpus + 4))
    if max_workers is not None and max_workers > 1:
        raise ValueError("mechanism='inline' runs one call at a time: it takes max_workers=1")
    return Plan("inline")
