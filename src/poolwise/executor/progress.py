"""Showing how far a run is: a bar, lines in a log, or a call of the user's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from poolwise.plan import Plan
from poolwise.timing.clock import Clock, SystemClock
from poolwise.units import Seconds, duration, rate

#: In a log, a line so often: a run of an hour leaves 360 of them. Nothing chose this number.
LINE_EVERY: Seconds = 10.0


class Progress(Protocol):
    """Is told what happens; called by the owner of the run only."""

    def start(self, total: int | None) -> None:
        """Begin: the first input is about to be drawn; `total` will come, if that is known."""
        ...

    def update(self, calls: int, failures: int) -> None:
        """Count so many more inputs as done, so many of them as failed."""
        ...

    def show_plan(self, plan: Plan) -> None:
        """Show the plan in force (told again and again, mostly unchanged)."""
        ...

    def close(self) -> None:
        """End: the run is over, or was ended, possibly before it started."""
        ...


def make_progress(wanted: bool | Callable[[int, int | None], object]) -> Progress | None:
    """Return what `progress=` asks for; ``None`` if it is nothing.

    ``True`` is a bar in a terminal and in a notebook, and lines where standard error is neither.
    Either goes to standard error as it is when the run starts.

    Raises:
        TypeError: `wanted` is neither a bool nor callable.
    """
    if wanted is False:
        return None
    if wanted is True:
        return Shown()
    if callable(wanted):
        return Told(wanted)
    raise TypeError(f"progress takes True, False or a function of (done, total), not {wanted!r}")


class Told:
    """Calls a function of the user's with the number of inputs done, and the total or ``None``.

    What the function raises ends the run and reaches whoever iterates over it: a mistake in it
    should be seen, and raising is a way to stop.
    """

    def __init__(self, tell: Callable[[int, int | None], object]) -> None:
        self._tell = tell
        self._done = 0
        self._total: int | None = None

    def start(self, total: int | None) -> None:
        """Keep the total."""
        self._total = total

    def update(self, calls: int, failures: int) -> None:
        """Call the function."""
        self._done += calls
        self._tell(self._done, self._total)

    def show_plan(self, plan: Plan) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Shown:
    """A bar or lines, whichever suits standard error at the moment when the run starts."""

    def __init__(self) -> None:
        self._way: Progress | None = None

    def start(self, total: int | None) -> None:
        """Choose."""
        stream = sys.stderr
        if stream is None:
            return  # closed by whoever started this process: there is nobody to show it to
        self._way = Bar() if _in_notebook() or stream.isatty() else Lines(SystemClock(), stream)
        self._way.start(total)

    def update(self, calls: int, failures: int) -> None:
        """Pass it on."""
        if self._way is not None:
            self._way.update(calls, failures)

    def show_plan(self, plan: Plan) -> None:
        """Pass it on."""
        if self._way is not None:
            self._way.show_plan(plan)

    def close(self) -> None:
        """Pass it on."""
        if self._way is not None:
            self._way.close()


class Bar:
    """A bar of tqdm's: inputs done, rate, time left, the plan in force, failures if there are any.

    tqdm redraws at most ten times a second, so a call of `update` costs some 0.2 µs.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._plan: Plan | None = None
        self._failures = 0

    def start(self, total: int | None) -> None:
        """Draw the empty bar."""
        self._bar = _bar_class()(
            total=total,
            unit=" inputs",
            # tqdm's own adaptation relies on its monitor thread to notice that calls slow down.
            miniters=1,
            # A terminal that was never given a size has no columns, and would show nothing.
            **({"dynamic_ncols": True} if _has_columns() else {"ncols": 80, "nrows": 24}),
        )

    def update(self, calls: int, failures: int) -> None:
        """Move on."""
        if failures:
            self._failures += failures
            self._write_beside()
        self._bar.update(calls)

    def show_plan(self, plan: Plan) -> None:
        """Write the plan beside the bar."""
        if plan is not self._plan:
            self._plan = plan
            self._write_beside()

    def close(self) -> None:
        """Draw the bar a last time and leave it there."""
        if self._bar is not None:
            self._bar.close()

    def _write_beside(self) -> None:
        self._bar.set_postfix_str(_beside(self._failures, self._plan), refresh=False)


class Lines:
    """A line every ten seconds, for logs; a run that is over before the first leaves none.

    The rate is that of the time since the line before, so that it follows the plan in force.
    """

    def __init__(self, clock: Clock, stream: TextIO) -> None:
        self._clock = clock
        self._stream = stream
        self._total: int | None = None
        self._plan: Plan | None = None
        self._done = self._failures = self._shown = 0
        self._shown_at: Seconds | None = None
        self._any = False

    def start(self, total: int | None) -> None:
        """Begin to count the seconds."""
        self._total = total
        self._shown_at = self._clock.now()

    def update(self, calls: int, failures: int) -> None:
        """Count, and write a line if it is time."""
        self._done += calls
        self._failures += failures
        self._write_if_due()

    def show_plan(self, plan: Plan) -> None:
        """Keep the plan, and write a line if it is time."""
        self._plan = plan
        self._write_if_due()

    def close(self) -> None:
        """Write a last line if there was one before, and anything since."""
        if self._any and self._shown_at is not None and self._done > self._shown:
            self._write(self._clock.now() - self._shown_at)

    def _write_if_due(self) -> None:
        if self._shown_at is None:
            return
        now = self._clock.now()
        if now - self._shown_at >= LINE_EVERY:
            self._write(now - self._shown_at)
            self._shown, self._shown_at, self._any = self._done, now, True

    def _write(self, passed: Seconds) -> None:
        per_second = (self._done - self._shown) / passed if passed > 0.0 else 0.0
        of = "" if self._total is None else f" of {self._total:,}"
        parts = [f"{self._done:,}{of} inputs", f"{rate(per_second)}/s"]
        if self._total is not None and self._total > self._done and per_second:
            parts.append(f"{duration((self._total - self._done) / per_second)} left")
        beside = _beside(self._failures, self._plan)
        self._stream.write(f"poolwise: {', '.join([*parts, beside] if beside else parts)}\n")
        self._stream.flush()


def _beside(failures: int, plan: Plan | None) -> str:
    parts = [f"{failures:,} failed"] if failures else []
    return ", ".join(parts if plan is None else [*parts, str(plan)])


def _in_notebook() -> bool:
    """Whether what is written to standard error appears below a notebook's cell."""
    return "ipykernel.zmqshell" in sys.modules


def _has_columns() -> bool:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        return True  # no terminal: tqdm knows what to do in a notebook


def _bar_class() -> Any:
    """Return tqdm's bar for a terminal or a notebook, without its thread and its semaphore."""
    import threading
    import warnings
    from importlib import import_module

    with warnings.catch_warnings():
        # In a notebook without ipywidgets the bar is text, and tqdm warns of that.
        warnings.simplefilter("ignore")
        # The same bar in a terminal, where `tqdm.auto` would bring asyncio along.
        tqdm: Any = import_module("tqdm.auto" if _in_notebook() else "tqdm.std").tqdm

    class QuietBar(tqdm):  # type: ignore[misc]
        #: The monitor is a thread, and unknown threads forbid forking.
        monitor_interval = 0

    # The lock that tqdm makes by itself holds a semaphore between processes.
    QuietBar.set_lock(threading.RLock())
    return QuietBar
