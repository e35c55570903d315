"""Running a batch in this process: what `inline` and `thread` have in common."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

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


class Running:
    """One batch under way.

    Calls that have not started lie in `_calls`: the runner takes them from the left, whoever
    takes the rest back pops from the right; both are atomic, so each call goes one way.
    """

    def __init__(self, batch: Batch, clock: Clock) -> None:
        self.batch = batch
        self._clock = clock
        columns = batch.columns
        self._calls: deque[tuple[object, ...]] = deque(zip(*columns, strict=True))

    def take_back(self) -> int:
        """Take the unstarted calls away and return how many they were."""
        count = 0
        try:
            while True:
                self._calls.pop()
                count += 1
        except IndexError:
            return count

    def run(self, flush: Callable[[int, Outcomes], None], flush_after: Seconds) -> None:
        """Run what is left of the batch; give outcomes to `flush` at least every `flush_after`
        seconds of work (and once at the end), with the position of the first.
        """
        clock, function = self._clock, self.batch.task.function
        take = self._calls.popleft
        first, stride = 0, 1
        values: list[object] = []
        errors: dict[int, BaseException] = {}
        service = cpu = 0.0
        while self._calls:
            cpu_before, before = clock.thread_cpu(), clock.now()
            for _ in range(stride):
                try:
                    arguments = take()
                except IndexError:
                    break
                try:
                    values.append(function(*arguments))
                except BaseException as error:
                    errors[len(values)] = strip(error)
                    values.append(None)
            arguments = ()
            elapsed = clock.now() - before
            service += elapsed
            cpu += clock.thread_cpu() - cpu_before
            if elapsed < _STRIDE_FROM:
                stride = min(stride * 2, 1 << 16)
            elif elapsed > flush_after and stride > 1:
                stride = max(1, int(stride * flush_after / (2 * elapsed)))
            if values and service >= flush_after:
                flush(first, Outcomes(values, errors, service, cpu))
                first += len(values)
                values, errors, service, cpu = [], {}, 0.0, 0.0
        # Out here, because the last calls may be taken back just before the loop looks for them.
        if values:
            flush(first, Outcomes(values, errors, service, cpu))


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
