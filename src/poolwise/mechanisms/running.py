"""Running a batch in a thread of this process; and what `inline` has in common with that."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from _poolwise_worker.outbox import leave_as
from _poolwise_worker.transfer import describe
from poolwise.mechanisms.protocol import Initializer
from poolwise.task import Batch, Outcomes
from poolwise.timing.clock import Clock
from poolwise.units import Seconds

if TYPE_CHECKING:
    from poolwise.errors import InitializerFailed

#: Calls between two readings of the clocks are doubled while they take less than this. Reading
#: three clocks costs about 1 µs (``benchmarks/bench_overhead.py``), so 2 % at most.
_STRIDE_FROM: Seconds = 5e-5


#: Is given the position of the first of some outcomes, and these.
Deliver: TypeAlias = Callable[[int, Outcomes], None]


class Running:
    """One batch under way.

    Calls that have not started lie in `_calls`: the runner takes them from the left, whoever
    takes the rest back pops from the right; both are atomic, so each call goes one way. `_lock`
    guards what has been done and not delivered, and the order of deliveries; only the runner
    appends to it, without the lock, the error of a call before its place among the values.
    """

    def __init__(self, batch: Batch, clock: Clock, deliver: Deliver) -> None:
        self.batch = batch
        self._clock = clock
        self._deliver = deliver
        columns = batch.columns
        self._calls: deque[tuple[object, ...]] = deque(zip(*columns, strict=True))
        self._lock = threading.Lock()
        self._first = 0  # that has not been delivered
        self._values: list[object] = []
        self._errors: dict[int, BaseException] = {}  # by position in the batch
        self._service = self._cpu = 0.0
        self._begun: Seconds | None = None  # since when service has not been counted
        self._main = threading.main_thread()

    def take_back(self) -> int:
        """Take the unstarted calls away and return how many they were."""
        count = 0
        try:
            while True:
                self._calls.pop()
                count += 1
        except IndexError:
            return count

    def run(self, flush_after: Seconds) -> None:
        """Run what is left of the batch; deliver outcomes at least every `flush_after` seconds of
        work, and once at the end.
        """
        clock, function = self._clock, self.batch.task.function
        take, append = self._calls.popleft, self._values.append
        position, stride = 0, 1
        while self._calls:
            cpu_before, before = clock.thread_cpu(), clock.now()
            self._begun = before
            for _ in range(stride):
                try:
                    arguments = take()
                except IndexError:
                    break
                try:
                    append(function(*arguments))
                except BaseException as error:
                    _leave_if_forked(self._main, error)
                    self._errors[position] = strip(error)
                    append(None)
                position += 1
            _leave_if_forked(self._main)
            arguments = ()
            now = clock.now()
            elapsed = now - before
            with self._lock:
                self._service += now - self._begun
                self._begun = None
                self._cpu += clock.thread_cpu() - cpu_before
            if elapsed < _STRIDE_FROM:
                stride = min(stride * 2, 1 << 16)
            elif elapsed > flush_after and stride > 1:
                stride = max(1, int(stride * flush_after / (2 * elapsed)))
            if self._service >= flush_after:
                self.flush()
        # Out here, because the last calls may be taken back just before the loop looks for them.
        self.flush()

    def flush(self) -> None:
        """Deliver what has been done: by the runner, or by who does not wait for a slow call."""
        with self._lock:
            count, first = len(self._values), self._first
            if not count:
                return
            values, self._values[:count] = self._values[:count], []
            errors: dict[int, BaseException] = {}
            for position in [each for each in list(self._errors) if each < first + count]:
                errors[position - first] = self._errors.pop(position)
            self._first += count
            if self._begun is not None:  # the runner is inside a call
                now = self._clock.now()
                self._service += now - self._begun
                self._begun = now
            outcomes = Outcomes(values, errors, self._service, self._cpu)
            self._service = self._cpu = 0.0
            self._deliver(first, outcomes)


def run_one(batch: Batch, clock: Clock) -> Outcomes:
    """Run the only call of a batch: with threads that compute in turn, all that is done besides the
    call is time that the others wait.
    """
    function, arguments = batch.task.function, [column[0] for column in batch.columns]
    errors: dict[int, BaseException] = {}
    value, main = None, threading.main_thread()
    cpu, began = clock.thread_cpu(), clock.now()
    try:
        value = function(*arguments)
    except BaseException as error:
        _leave_if_forked(main, error)
        errors[0] = strip(error)
    _leave_if_forked(main)
    service = clock.now() - began
    return Outcomes([value], errors, service, clock.thread_cpu() - cpu)


def _leave_if_forked(main: threading.Thread, error: BaseException | None = None) -> None:
    """End this process if a call has forked it and come back here, where nobody waits for it. Then
    it has no other thread, and this one has become its main thread in the place of `main`.
    """
    if threading.main_thread() is not main:
        leave_as(error)


def initialize(initializer: Initializer | None) -> InitializerFailed | None:
    """Make this thread a worker; return what speaks against it. Logs as the standard pools do."""
    if initializer is None:
        return None
    function, arguments = initializer
    try:
        function(*arguments)
    except BaseException as error:
        import logging

        from poolwise.errors import InitializerFailed

        logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
        failed = InitializerFailed(describe(error))
        failed.__cause__ = error
        return failed
    return None


def strip(error: BaseException) -> BaseException:
    """Take poolwise's own frame off the traceback: what is left is what a loop would show."""
    shown = error.__traceback__.tb_next if error.__traceback__ else None
    return error.with_traceback(shown)
