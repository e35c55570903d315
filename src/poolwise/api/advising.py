"""Finding a plan for a function and its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from poolwise.api.runs import Run, new_run
from poolwise.api.wiring import OnError, drive_of, map_options
from poolwise.cost import Forecast
from poolwise.executor.drive import Drive
from poolwise.executor.naming import known_options
from poolwise.executor.options import run_options
from poolwise.executor.record import RunRecord
from poolwise.explain import Explanation, explain_advice
from poolwise.machine import this_machine
from poolwise.plan import Plan
from poolwise.probe import TaskProfile


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
        return explain_advice(self.record(), self.forecasts)

    def record(self) -> RunRecord:
        """Return what has been run so far, and what came of it."""
        return self._drive.record()

    @property
    def code(self) -> str:
        """The same by hand, as `explain` tells it: a program with the standard library alone."""
        return self.explain().code

    def run(self) -> Run[Any]:
        """Go on: a run that yields the sampled results first, and then the rest under the plan.

        No input runs twice. A second call returns a run of what the first left; after `close` it is
        one of what the sample has computed, and no more.
        """
        return new_run(self._drive)

    def close(self) -> None:
        """Let go of what runs. The sampled results can still be read."""
        self._drive.close()

    def __str__(self) -> str:
        return str(self.explain())

    def __repr__(self) -> str:
        first = str(self).partition("\n")[0]
        return f"<poolwise.Advice: {' '.join(first.split())}>"


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
    how = map_options(ordered, total, buffersize, None, on_error)
    drive = drive_of(fn, iterables, run, how)
    return Advice(drive, drive.survey(verify=verify))
