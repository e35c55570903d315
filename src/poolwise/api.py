"""What users call: wires the rooms together."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from _poolwise_worker.seeded import seeded
from poolwise.cost import Forecast
from poolwise.executor.again import retries_of
from poolwise.executor.drive import Drive, EndedDrive, MapOptions
from poolwise.executor.guards import guards_of
from poolwise.executor.naming import known_options
from poolwise.executor.options import RunOptions, run_options
from poolwise.executor.progress import Progress, make_progress
from poolwise.executor.run import BaseRun
from poolwise.executor.shortage import refuse_what_no_system_starts
from poolwise.executor.workers import worker_options
from poolwise.explain import Explanation, explain_advice, explain_run
from poolwise.machine import MachineProfile, this_machine
from poolwise.plan import Plan, check_count
from poolwise.probe import TaskProfile
from poolwise.task import Task

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")

OnError = Literal["raise", "return"]
RetryOn = type[BaseException] | tuple[type[BaseException], ...]


class Run(BaseRun[T]):
    """What `map` returns: an iterator over results, and the story of how they came about.

    Iterating runs the work; `close`, or leaving a ``with`` block, ends it. `plan` is the plan in
    force, `results` returns what is left as a list.
    """

    def explain(self) -> Explanation:
        """Return what was planned, what happened, and why; `print` it."""
        return explain_run(self.record())


class _Last(threading.local):
    """The latest run of each thread.

    The run itself is held weakly, so that a loop that was left early ends its workers; the record
    of a run that is gone is kept.
    """

    run: Callable[[], Run[Any] | None] | None = None
    ended: EndedDrive | None = None


_last = _Last()


def _new_run(drive: Drive) -> Run[Any]:
    run: Run[Any] = Run.of(drive)
    _last.run, _last.ended = weakref.ref(run), drive.ended
    return run


def last_run() -> Run[Any]:
    """Return the latest run that this thread started, for example inside ``list(map(...))``.

    Raises:
        LookupError: this thread has not started any.
    """
    run = _last.run() if _last.run is not None else None
    if run is not None:
        return run
    if _last.ended is None:
        raise LookupError("no run yet: poolwise.map has not been called in this thread")
    return Run.of(_last.ended)


class _Options(TypedDict, total=False):
    """The options of `map` that do not change the type of its results."""

    ordered: bool
    progress: bool | Callable[[int, int | None], object]
    total: int | None
    buffersize: int | None
    chunksize: int | None
    mechanism: str
    plan: Plan | str | None
    max_workers: int | None
    threads_per_worker: int | None
    max_concurrency: int | None
    initializer: Callable[..., object] | None
    initargs: Iterable[Any]
    max_tasks_per_child: int | None
    start_method: str | None
    idle_timeout: float
    retries: int
    retry_on: RetryOn
    task_timeout: float | None
    memory_limit: int | str | None
    kill_on_cancel: bool
    isolate: bool
    common: Mapping[str, Any] | None
    seed: int | None


# The type of a function's arguments is checked for up to five iterables, as for the built-in `map`.
# `on_error` changes what the results are, so each has two signatures.


@overload
def map(
    fn: Callable[[A], T],
    iterable: Iterable[A],
    /,
    *,
    on_error: Literal["raise"] = ...,
    **options: Unpack[_Options],
) -> Run[T]: ...
@overload
def map(
    fn: Callable[[A, B], T],
    a: Iterable[A],
    b: Iterable[B],
    /,
    *,
    on_error: Literal["raise"] = ...,
    **options: Unpack[_Options],
) -> Run[T]: ...
@overload
def map(
    fn: Callable[[A, B, C], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    /,
    *,
    on_error: Literal["raise"] = ...,
    **options: Unpack[_Options],
) -> Run[T]: ...
@overload
def map(
    fn: Callable[[A, B, C, D], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    d: Iterable[D],
    /,
    *,
    on_error: Literal["raise"] = ...,
    **options: Unpack[_Options],
) -> Run[T]: ...
@overload
def map(
    fn: Callable[[A, B, C, D, E], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    d: Iterable[D],
    e: Iterable[E],
    /,
    *,
    on_error: Literal["raise"] = ...,
    **options: Unpack[_Options],
) -> Run[T]: ...
@overload
def map(
    fn: Callable[..., T],
    a: Iterable[Any],
    b: Iterable[Any],
    c: Iterable[Any],
    d: Iterable[Any],
    e: Iterable[Any],
    f: Iterable[Any],
    /,
    *iterables: Iterable[Any],
    on_error: Literal["raise"] = ...,
    **options: Unpack[_Options],
) -> Run[T]: ...
@overload
def map(
    fn: Callable[[A], T],
    iterable: Iterable[A],
    /,
    *,
    on_error: Literal["return"],
    **options: Unpack[_Options],
) -> Run[T | Exception]: ...
@overload
def map(
    fn: Callable[[A, B], T],
    a: Iterable[A],
    b: Iterable[B],
    /,
    *,
    on_error: Literal["return"],
    **options: Unpack[_Options],
) -> Run[T | Exception]: ...
@overload
def map(
    fn: Callable[[A, B, C], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    /,
    *,
    on_error: Literal["return"],
    **options: Unpack[_Options],
) -> Run[T | Exception]: ...
@overload
def map(
    fn: Callable[[A, B, C, D], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    d: Iterable[D],
    /,
    *,
    on_error: Literal["return"],
    **options: Unpack[_Options],
) -> Run[T | Exception]: ...
@overload
def map(
    fn: Callable[[A, B, C, D, E], T],
    a: Iterable[A],
    b: Iterable[B],
    c: Iterable[C],
    d: Iterable[D],
    e: Iterable[E],
    /,
    *,
    on_error: Literal["return"],
    **options: Unpack[_Options],
) -> Run[T | Exception]: ...
@overload
def map(
    fn: Callable[..., T],
    a: Iterable[Any],
    b: Iterable[Any],
    c: Iterable[Any],
    d: Iterable[Any],
    e: Iterable[Any],
    f: Iterable[Any],
    /,
    *iterables: Iterable[Any],
    on_error: Literal["return"],
    **options: Unpack[_Options],
) -> Run[T | Exception]: ...
@known_options("poolwise.map")
def map(
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    ordered: bool = True,
    progress: bool | Callable[[int, int | None], object] = False,
    total: int | None = None,
    buffersize: int | None = None,
    chunksize: int | None = None,
    on_error: OnError = "raise",
    mechanism: str = "auto",
    plan: Plan | str | None = None,
    max_workers: int | None = None,
    threads_per_worker: int | None = None,
    max_concurrency: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    max_tasks_per_child: int | None = None,
    start_method: str | None = None,
    idle_timeout: float = 30.0,
    retries: int = 0,
    retry_on: RetryOn = (),
    task_timeout: float | None = None,
    memory_limit: int | str | None = None,
    kill_on_cancel: bool = False,
    isolate: bool = False,
    common: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Run[Any]:
    """Apply `fn` to the inputs, the way that is fastest and safe here; results come lazily.

    Nothing runs before the first ``next()``, and inputs are drawn only inside ``next()``, in the
    caller's thread. Each input is started once. Like the built-in `map`, several iterables give
    `fn` several arguments and the shortest ends it.

    Args:
        fn: Any callable. Under a process plan it, its arguments and its results must pickle;
            lambdas, closures and functions of the main script do.
        *iterables: One for each argument of `fn`; they may be infinite.
        ordered: Results in input order; ``False`` yields them as they finish.
        progress: ``True`` shows a bar (in a log, a line every 10 s); a callable is called with
            the number of inputs done and the total, which is ``None`` if unknown.
        total: The number of inputs, where it cannot be known from the iterables.
        buffersize: Inputs drawn ahead of the results taken, at most. Bounded by default too.
        chunksize: Calls sent in one message; adapted to the calls by default.
        on_error: ``"return"`` yields an exception in the place of its result; ``"raise"`` raises
            it there, and iteration can go on after it.
        mechanism: ``"auto"``, ``"inline"``, ``"thread"`` or ``"process"``.
        plan: A `Plan` or its text, such as ``"process:4x8/16"``: nothing is measured.
        max_workers: Threads of a thread plan, processes of a process plan; given alone, also the
            most calls at once.
        threads_per_worker: Calls at once inside each process.
        max_concurrency: Calls at once over all workers, under every plan.
        initializer: Called once in each worker before its first call; under a plain loop, in the
            caller's thread. If it raises, so does ``next()``: `InitializerFailed`.
        initargs: Its arguments.
        max_tasks_per_child: A worker process is replaced after so many calls.
        start_method: How worker processes start: ``"forkserver"``, ``"spawn"`` or ``"fork"``; by
            default whatever is safe and fast at that moment.
        idle_timeout: Seconds that worker processes wait for the next map; 0 keeps none.
        retries: How often a call is run again whose worker died after the call had started; by
            itself then, in a worker with one thread. Calls that had not started always move on.
        retry_on: An exception type, or a tuple of them, that is a reason to run a call again too.
        task_timeout: Seconds that one call may run, from its own start; then its worker is killed
            and replaced, and the call fails with `TaskTimeout`.
        memory_limit: Private bytes, or a text such as ``"2GB"``, that a worker may grow by; then it
            is killed and replaced, and the call fails with `MemoryLimitExceeded`.
        kill_on_cancel: Closing the run ends the calls that run, whatever they do, by killing their
            workers.
        isolate: Nothing that a call does may reach this process: worker processes only.
        common: Keyword arguments for every call; they go to each worker once.
        seed: Each call draws from streams of its own (of `random`, and of `numpy.random` if NumPy
            is imported by now), which depend on this number and the place of its input, whatever
            the plan. Threads are not used: they would share the streams.

    Raises:
        TypeError: `fn` is not callable, an iterable is not iterable, or an option has the wrong
            type.
        ValueError: an option is out of range, or two contradict each other.
        PlanRefused: a plan with threads, where `task_timeout`, `memory_limit` or `kill_on_cancel`
            need processes with one call each, or `isolate` processes.

    >>> import poolwise
    >>> list(poolwise.map(pow, [2, 3, 4], [5, 2, 1]))
    [32, 9, 4]
    """
    guards = guards_of(task_timeout, memory_limit, kill_on_cancel, isolate)
    run = run_options(
        this_machine(),
        mechanism=mechanism,
        plan=plan,
        max_workers=max_workers,
        threads_per_worker=threads_per_worker,
        max_concurrency=max_concurrency,
        guards=guards,
    )
    if run.plan is not None:
        refuse_what_no_system_starts(run.plan, this_machine())
    if chunksize is not None and plan is not None and run.plan and run.plan.batch_size is not None:
        raise ValueError("plan= already says chunksize=; give one or the other")
    workers = worker_options(
        initializer=initializer,
        initargs=initargs,
        max_tasks_per_child=max_tasks_per_child,
        start_method=start_method,
        idle_timeout=idle_timeout,
        guards=guards,
    )
    run = replace(run, workers=workers, retries=retries_of(retries, retry_on))
    map_options = _map_options(ordered, total, buffersize, chunksize, on_error)
    if common is not None:
        fn = _with_common(fn, common)
    return _new_run(_drive(fn, iterables, run, map_options, progress, seed))


def _with_common(fn: Callable[..., Any], common: Mapping[str, Any]) -> Callable[..., Any]:
    if not isinstance(common, Mapping) or not all(isinstance(name, str) for name in common):
        raise TypeError(f"common takes keyword arguments, such as {{'depth': 3}}, not {common!r}")
    if not callable(fn):
        raise TypeError(f"fn takes a callable, not {fn!r}")
    return partial(fn, **common)


def _drive(
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    run: RunOptions,
    map_options: MapOptions,
    progress: bool | Callable[[int, int | None], object] = False,
    seed: int | None = None,
) -> Drive:
    if not callable(fn):
        raise TypeError(f"fn takes a callable, not {fn!r}")
    if not iterables:
        raise TypeError("give at least one iterable of inputs")
    for position, each in enumerate(iterables, 1):
        kind = type(each)  # a class may have the methods that its instances are iterated with
        if not hasattr(kind, "__iter__") and not hasattr(kind, "__getitem__"):
            raise TypeError(f"iterable {position} is not iterable: {each!r}")
    if seed is not None:
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise TypeError(f"seed takes a whole number from 0 on, or None, not {seed!r}")
        if seed < 0:
            raise ValueError(f"seed takes a whole number from 0 on, or None, not {seed}")
        fn, iterables = seeded(fn, seed), (range(sys.maxsize), *iterables)
    shown: Progress | None = make_progress(progress)
    return Drive(Task(fn), iterables, this_machine(), run, map_options, shown)


def _map_options(
    ordered: bool, total: int | None, buffersize: int | None, chunksize: int | None, on_error: str
) -> MapOptions:
    if on_error not in ("raise", "return"):
        raise ValueError(f"on_error takes 'raise' or 'return', not {on_error!r}")
    if not isinstance(ordered, bool):
        raise TypeError(f"ordered takes True or False, not {ordered!r}")
    for name, value in (("buffersize", buffersize), ("chunksize", chunksize)):
        if value is not None:
            check_count(name, value)
    if total is not None and (isinstance(total, bool) or not isinstance(total, int)):
        raise TypeError(f"total takes a number of inputs, not {total!r}")
    if total is not None and total < 0:
        raise ValueError(f"total takes a number of inputs, not {total}")
    return MapOptions(ordered, on_error == "return", buffersize, total, chunksize)


class Advice:
    """What `advise` found: the plan to take, and every candidate with its forecast.

    `plan` is the one to take; `forecasts` holds every candidate, the chosen one first: its
    forecast and the ceiling that binds it, or why it is refused; `profile` says where the time of
    a call goes. `print` it for people.
    """

    def __init__(self, drive: Drive, forecasts: tuple[Forecast, ...]) -> None:
        self._drive = drive
        self.forecasts = forecasts

    @property
    def plan(self) -> Plan:
        """The plan to take."""
        return self.forecasts[0].plan

    @property
    def profile(self) -> TaskProfile | None:
        """Where the time of one call goes; ``None`` if there was no input."""
        return self._drive.record().profile

    def explain(self) -> Explanation:
        """Return the advice as an explanation: text, JSON, equivalent code."""
        return explain_advice(self._drive.record(), self.forecasts)

    def run(self) -> Run[Any]:
        """Go on: a run that yields the sampled results first, and then the rest under the plan.

        No input runs twice. A second call returns a run of what the first left.
        """
        return _new_run(self._drive)

    def close(self) -> None:
        """Let go of the sampled results and of what runs."""
        self._drive.close()

    def __str__(self) -> str:
        return str(self.explain())


@known_options("poolwise.advise")
def advise(
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    verify: bool = False,
    total: int | None = None,
    buffersize: int | None = None,
    ordered: bool = True,
    on_error: OnError = "raise",
    max_workers: int | None = None,
    threads_per_worker: int | None = None,
    max_concurrency: int | None = None,
) -> Advice:
    """Find the plan for `fn` and these inputs, on a bounded sample; each input runs at most once.

    The options are those of `map`. With `verify`, each leading plan also runs a slice of inputs
    of its own, and what it reached is put beside its forecast.

    Raises:
        TypeError: as `map`.
        ValueError: as `map`; or there is no input to learn from.

    >>> import poolwise
    >>> advice = poolwise.advise(abs, range(-1000, 0))
    >>> advice.plan.mechanism
    'inline'
    >>> sum(advice.run())
    500500
    """
    run = run_options(
        this_machine(),
        max_workers=max_workers,
        threads_per_worker=threads_per_worker,
        max_concurrency=max_concurrency,
        use_environment=False,
    )
    if not isinstance(verify, bool):
        raise TypeError(f"verify takes True or False, not {verify!r}")
    map_options = _map_options(ordered, total, buffersize, None, on_error)
    drive = _drive(fn, iterables, run, map_options)
    return Advice(drive, drive.survey(verify=verify))


def measure(
    quick: bool = False, progress: bool | Callable[[str, int, int], object] = False
) -> MachineProfile:
    """Measure this machine in six dimensions, in about 20 s, and keep the profile.

    Each dimension is measured in a program of its own; nothing of this process is touched. What
    cannot be measured here is a gap that says why. The profile is kept in the user's cache folder
    (``POOLWISE_CACHE``, or the platform's), and ``auto`` forecasts with what it says from now on.

    Args:
        quick: Take fewer readings of less: some seconds, and figures that differ more. Such a
            profile is not kept where there is a full one.
        progress: ``True`` writes a line to standard error before each dimension; a callable is
            called with its name, how many there were before it, and how many there are.

    Raises:
        TypeError: an argument has the wrong type.
    """
    from poolwise.machine.measuring import measure_machine
    from poolwise.timing.repeat import NORMAL, QUICK

    if not isinstance(quick, bool):
        raise TypeError(f"quick takes True or False, not {quick!r}")
    if not isinstance(progress, bool) and not callable(progress):
        raise TypeError(
            f"progress takes True, False or a function of (name, done, total), not {progress!r}"
        )
    report = _write_step if progress is True else progress or None
    return measure_machine(QUICK if quick else NORMAL, report)


def _write_step(name: str, done: int, total: int) -> None:
    import sys

    if sys.stderr is not None:
        sys.stderr.write(f"poolwise: measuring {name} ({done + 1} of {total})\n")
        sys.stderr.flush()


def shutdown() -> None:
    """End all idle workers now, and the processes that start workers; the next map starts others.

    Workers that run calls, for maps and executors that are still open, go on.
    """
    if "poolwise.mechanisms.servers" in sys.modules:
        from poolwise.mechanisms import idle_workers, servers, snapshots

        idle_workers.clear()
        snapshots.clear()
        servers.dismiss_all()
