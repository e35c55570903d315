"""One call that was submitted, and its future."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any

from poolwise.executor.again import Retries
from poolwise.executor.functions import Seen
from poolwise.executor.specimen import Examination, Specimen
from poolwise.executor.stats import Tally
from poolwise.mechanisms.running import strip
from poolwise.task import Task
from poolwise.units import Seconds


class Submission:
    """One call and its future.

    `begin` and `finish` are called by whoever has the call at that moment; see `Submissions`.
    """

    __slots__ = (
        "args", "arrived", "examined", "fixed", "function", "future", "kwargs", "mechanism",
        "number", "seen", "started",
    )  # fmt: skip

    def __init__(
        self,
        future: Future[Any],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.future: Future[Any] | None = future
        self.function: Callable[..., Any] | None = function
        self.args: tuple[Any, ...] = args
        self.kwargs: Mapping[str, Any] = kwargs
        self.arrived: Seconds = 0.0  # when, if its wait is to be counted
        self.number = 0  # in the order in which calls arrived
        self.mechanism = ""  # where it goes
        self.fixed = False  # whatever may be learnt meanwhile
        self.examined = False  # before and after it runs
        self.started = False
        self.seen: Seen

    @property
    def name(self) -> str:
        """The function's name, or its type's."""
        assert self.function is not None
        return Task(self.function).name

    def begin(self) -> bool:
        """Set the future running; false if it was cancelled, and then those who wait are told."""
        if self.started:  # in a process where it could not run
            return True
        future = self.future
        assert future is not None
        try:
            self.started = future.set_running_or_notify_cancel()
        except (RuntimeError, InvalidStateError):  # somebody else has played the executor
            self.started = not future.done()
        if not self.started:
            self._let_go()
        return self.started

    def run(self, retries: Retries, tally: Tally) -> Specimen | None:
        """Run the call in this thread, unless it was cancelled, and give the future its end."""
        if not self.begin():
            tally.cancelled += 1
            return None
        assert self.function is not None
        # No local variable holds anything of the user's: the traceback of an exception keeps this
        # frame, and the exception lives for as long as the future does.
        examination = Examination(self.function, self.args, self.kwargs) if self.examined else None
        tries = 0
        while True:
            try:
                value = self.function(*self.args, **self.kwargs)
                break
            except BaseException as error:
                if tries >= retries.most or not retries.matches(error):
                    tally.failed += 1
                    self.finish(None, strip(error))
                    return None
                tries += 1
                tally.retried += 1
        specimen = None
        if examination is not None:
            specimen = examination.end(self.function, self.args, self.kwargs, value)
        tally.done += 1
        self.finish(value)
        return specimen

    def finish(self, value: object, error: BaseException | None = None) -> None:
        """Give the future its end and let go of everything; never raises."""
        future = self.future
        self._let_go()
        if future is None:
            return
        # Not through `_change`: on short calls what is around `set_result` counts.
        try:
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        except InvalidStateError:
            pass  # somebody else has given it an end
        except BaseException:
            _log(future)

    def abandon(self, error: BaseException) -> None:
        """Give the future an end while a thread runs the call, which goes on and is not heard."""
        future = self.future
        if future is not None:
            _change(future, lambda: future.set_exception(error))

    def drop(self) -> None:
        """Cancel the future and tell those who wait; never raises."""
        if self.future is not None:
            _change(self.future, self.future.cancel)
            if self.begin():  # it had been sent to a process, and came back
                self.finish(None, CancelledError())

    def _let_go(self) -> None:
        self.future = self.function = None
        self.args, self.kwargs = (), {}


def _change(future: Future[Any], change: Callable[[], object]) -> None:
    """Change the state of a future in a thread that other calls need, too."""
    try:
        change()
    except InvalidStateError:
        pass  # somebody else has given it an end
    except BaseException:
        _log(future)


def _log(future: Future[Any]) -> None:
    """Log what a callback raised, where the future itself logs it if it is an `Exception`."""
    logging.getLogger("concurrent.futures").exception("calling callbacks of %r", future)
