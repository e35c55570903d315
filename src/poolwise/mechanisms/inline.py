"""The plain loop: calls run in the owner's thread, inside `send`."""

from __future__ import annotations

import os
from time import perf_counter

from poolwise.ipc import Inbox
from poolwise.mechanisms.protocol import ANY_SIZE, Readiness, Sink, WorkerOptions
from poolwise.mechanisms.running import initialize, strip
from poolwise.task import Batch, BatchId, Outcomes, Refusal, TaskTraits
from poolwise.timing.clock import SystemClock
from poolwise.units import Seconds

#: So often the clock is looked at in a batch, and after the first of its calls, two more, and so
#: on: what is thought of calls may be wrong. 200,000 of 50 ns take 24.7 ms for it, not 23.
_LOOKS = 32

#: A batch that lasts for longer ends early. It was to take a fifth of that
#: (``planner/batching.py``): thousands of calls of a µs that come to wait for a server would keep
#: the caller for minutes, with nobody to see that threads would do better.
_LATE: Seconds = 20e-3


class InlinePool:
    """No workers at all. Owned, like everything here, by the one thread that uses it."""

    largest_batch = ANY_SIZE
    first_free = False
    sending: Seconds = 0.0
    idle = 0

    def __init__(self, options: WorkerOptions, sink: Sink) -> None:
        self._initializer = options.initializer
        self._sink = sink
        self._clock = SystemClock()
        self._closed = False
        self.workers = 0

    @property
    def queued(self) -> dict[int, Seconds]:
        """For how long this thread has had no CPU."""
        return {os.getpid(): self._clock.queued()}

    def grow(self, workers: int) -> None:
        """Be ready at once; the initializer runs here.

        Raises:
            RuntimeError: the pool is closed.
        """
        if self._closed:
            raise RuntimeError("the pool is closed")
        failed = initialize(self._initializer)
        if failed is not None:
            self._sink.failed(failed)
            return
        self.workers = 1
        self._sink.ready(0)

    def send(self, batch: Batch, /) -> None:
        """Run the batch now, in the calling thread.

        Raises:
            RuntimeError: the pool is closed.
        """
        if self._closed:
            raise RuntimeError("the pool is closed")

        cpu, now = self._clock.thread_cpu(), self._clock.now()
        values, errors = run_loop(batch)
        service = self._clock.now() - now
        cpu = self._clock.thread_cpu() - cpu
        self._sink.done(batch.id, 0, Outcomes(values, errors, service, cpu))
        if len(values) < batch.calls and not self._closed:
            self._sink.returned(batch.id, len(values), batch.calls - len(values))

    def take_back(self, batch: BatchId, /) -> None:
        """Do nothing: a batch has ended by the time that `send` returns."""

    def kill(self, batch: BatchId, /) -> None:
        """Do nothing: no thread can be killed."""

    def nothing_more(self) -> None:
        """Do nothing: there is no worker but the caller."""

    def close(self, *, grace: Seconds | None) -> None:
        """Refuse further batches."""
        self._closed = True
        self.workers = 0


def run_loop(batch: Batch) -> tuple[list[object], dict[int, BaseException]]:
    """Run the calls of a batch at the speed of a C loop: calls of 50 ns must not become 150.

    An exception that a loop would not survive (Ctrl-C, `SystemExit`) ends it, with what has run; so
    does the clock, if it takes much longer than it should.

    Raises whatever a call raises in a process that it has forked: it is to end there at once.
    """
    process, calls, function = os.getpid(), batch.calls, batch.task.function
    column, *others = batch.columns
    values: list[object] = []
    errors: dict[int, BaseException] = {}
    stride, most, late = 1, -(-calls // _LOOKS), perf_counter() + _LATE
    while (begun := len(values)) < calls:
        end = begun + stride
        try:
            # What was appended before a call raised stays.
            if others:
                values += map(function, column[begun:end], *[each[begun:end] for each in others])
            else:
                values += map(function, column[begun:end])
            if len(values) < end and len(values) < calls:
                errors[len(values)] = StopIteration()  # map takes a call's own for the end
                values.append(None)
        except Exception as error:
            if os.getpid() != process:
                raise
            errors[len(values)] = strip(error)
            values.append(None)
        except BaseException as error:
            if os.getpid() != process:
                raise
            errors[len(values)] = strip(error)
            values.append(None)
            break
        if perf_counter() > late:
            break
        stride = min(2 * stride, most)
    return values, errors


class InlineMechanism:
    """Runs anything that a loop can run."""

    name = "inline"

    def refusal(self, traits: TaskTraits, /) -> Refusal | None:
        """Refuse nothing."""
        return None

    def prepare(self, options: WorkerOptions, /) -> None:
        """Do nothing: there is nothing that cannot be done later."""

    def readiness(self, options: WorkerOptions, /) -> Readiness:
        """Return nothing: no pool leaves anything to the next."""
        return Readiness()

    def open(self, options: WorkerOptions, sink: Sink, inbox: Inbox, /) -> InlinePool:
        """Return a pool that runs calls where `send` is called."""
        return InlinePool(options, sink)
