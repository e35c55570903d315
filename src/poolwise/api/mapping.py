"""`map`: its many forms, and its options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from poolwise.api.runs import Run, new_run
from poolwise.api.wiring import OnError, drive_of, map_options, with_common
from poolwise.executor.again import retries_of
from poolwise.executor.guards import guards_of
from poolwise.executor.naming import known_options
from poolwise.executor.options import run_options
from poolwise.executor.shortage import refuse_what_no_system_starts
from poolwise.executor.workers import worker_options
from poolwise.machine import this_machine
from poolwise.plan import Plan

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")

RetryOn = type[BaseException] | tuple[type[BaseException], ...]


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
    widest = run.plan or Plan("thread", run.limits.most_threads)
    refuse_what_no_system_starts(widest, this_machine())
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
    how = map_options(ordered, total, buffersize, chunksize, on_error)
    if common is not None:
        fn = with_common(fn, common)
    return new_run(drive_of(fn, iterables, run, how, progress, seed))
