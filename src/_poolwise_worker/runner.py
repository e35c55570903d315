"""Running a batch, and sending what became of its calls."""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections import deque
from time import perf_counter, thread_time

from _poolwise_worker import surroundings, transfer, wire
from _poolwise_worker.outbox import flush_streams, leave_as
from _poolwise_worker.surroundings import keep_filters
from _poolwise_worker.transfer import Untransferable, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from _poolwise_worker.exchange import Exchange
    from _poolwise_worker.guard import Clock
    from _poolwise_worker.outbox import Outbox

#: The outcome of a call that has taken so long, in seconds, is sent at once. Sending costs some
#: 10 µs, so shorter would spend more than 1 % on it; longer would delay a finished call, and lose
#: more of them if this process dies.
FLUSH_AFTER = 1e-3

#: Outcomes of shorter ones wait for their neighbours for so long, about as long as a batch takes:
#: the caller has to get a CPU to hear of them that workers use, and needs 0.1 ms. With 1 ms for
#: all, calls of 20 to 200 µs took 4 to 7 % longer. Behind a call that lasts they wait until it is
#: recalled.
_GATHER_FOR = 8e-3

#: Calls between two readings of the clock are doubled while they take less than this, in seconds:
#: with all that is done then, it costs about 1 µs.
STRIDE_FROM = 5e-5

#: What calls take and compute is noted so often, in seconds: CPU time is a system call, of 0.6 µs,
#: and there is a lock. Of calls of 50 µs each one for itself was 5 %.
_NOTE_AFTER = 2e-4

#: Unlike every decimal context.
_UNTOLD = object()


class Runner:
    """Runs one batch at a time, in one thread.

    The calls not yet started lie in a deque: this thread takes them from the left, the reporter
    may take the rest from the right, and each ``pop`` is atomic, so a call is either run or
    returned. `lock` guards everything about outcomes: flushing, and the count of what was flushed.
    """

    def __init__(
        self,
        outbox: Outbox,
        exchange: Exchange,
        marks: memoryview,
        slot: int,
        clock: Clock | None = None,
    ) -> None:
        self._outbox = outbox
        self._exchange = exchange
        self._marks = marks
        self._slot = slot
        self._clock = clock  # of a guarded worker, where each batch is one call
        self._lock = allocate_lock()
        self._strides: dict[int, int] = {}
        self.batch = 0  # guarded by Intake.lock; 0: none
        self._arithmetic: object = _UNTOLD  # that this thread has taken on
        self._foreign = False
        self._clear()

    def _clear(self) -> None:
        self._calls: deque[Any] = deque()
        self._values: list[object] = []
        self._errors: dict[int, transfer.Raised] = {}
        self._flushed = 0
        self._service = 0.0
        self._cpu = 0.0
        self._begun: float | None = None  # since when service has not been counted
        self._loaded = False
        self._wanted = False

    def accept(self, frame: wire.Frame, function: Callable[..., Any], wanted: bool) -> None:
        """Take over a batch, the rest of which may be `wanted` back already; called with
        `Intake.lock` held, so a recall sees it here or there.
        """
        self.batch = frame.key
        self._frame = frame
        self._function = function
        # Not that of the batch before, which may have come when that had ended but still lay here.
        self._wanted = wanted

    def be_foreign(self) -> None:
        """In a process that a call has forked: run nothing more. Whoever comes back here leaves,
        and waits for nobody: any lock may be held by a thread that is not there.
        """
        self._foreign = True
        self._calls.clear()

    def run(self) -> None:
        """Run the accepted batch to its end, or until its rest is taken back."""
        frame, function = self._frame, self._function
        del self._frame, self._function
        if surroundings.arithmetic != self._arithmetic:
            self._arithmetic = surroundings.arithmetic
            surroundings.take_arithmetic(surroundings.arithmetic)
        if frame.kind == wire.PRIME:
            self._initialize(frame)
            return
        if frame.kind == wire.SINGLY and frame.descriptors:
            with frame.providing():  # its calls are unpickled one by one
                self._run_batch(frame, function)
        else:
            self._run_batch(frame, function)

    def _run_batch(self, frame: wire.Frame, function: Callable[..., Any]) -> None:
        if self._clock is not None:
            self._clock.start()
        if frame.kind == wire.RUN:  # else each call is read by itself, after its own mark
            self._marks[self._slot] = wire.mark(frame.key, wire.READING)
        try:
            if frame.kind == wire.SINGLY:
                columns = keep_filters(self._exchange.loads, frame.payload)
            else:
                columns = keep_filters(frame.read, self._exchange.loads)
        except BaseException as error:
            if self._clock is not None:
                self._clock.stop()
            self._outbox.release(self._exchange.released())
            self._outbox.send(
                wire.pack(wire.UNREADABLE, frame.key, describe(error).encode("utf-8", "replace"))
            )
            return
        if frame.kind == wire.SINGLY:
            self._calls.extend(columns)
            call = _unwrapping(function)
        elif len(columns) == 1:
            self._calls.extend(columns[0])
            call = function
        else:
            self._calls.extend(zip(*columns, strict=True))
            call = _spreading(function)
        del columns
        with self._lock:
            self._loaded = True
            # All but one, for which it has been read: where that takes longer than calls do, they
            # would be wanted back again wherever they go, and go round for ever. Put aside before
            # the reporter may take any: a second recall would leave none.
            kept = [self._calls.popleft()] if self._wanted else []
        if kept:
            self.give_back(frame.key)
            self._calls.extend(kept)
        self._run_calls(call, frame.key, frame.first, singly=frame.kind == wire.SINGLY)
        self.flush(frame.key)
        with self._lock:
            self._clear()

    def _initialize(self, frame: wire.Frame) -> None:
        """Run what the user wants to be run before the first call."""
        try:
            initializer, arguments = keep_filters(frame.read, transfer.loads)
            initializer(*arguments)
        except BaseException as error:
            raised = transfer.dumps_error(error)
            flush_streams()
            self._outbox.send(wire.pack(wire.UNREADY, 0, transfer.dumps(raised)))
        else:
            self._outbox.send(wire.pack(wire.READY, os.getpid()))

    def _run_calls(
        self, call: Callable[[Any], Any], batch: int, task: int, *, singly: bool
    ) -> None:
        """Run them; each by itself where one may end this process while its arguments are read."""
        take, append = self._calls.popleft, self._values.append
        marks, slot = self._marks, self._slot
        mark = wire.mark(batch)
        stride = 1 if singly else self._strides.get(task, 1)
        cpu = thread_time()
        begin = flushed_at = self._begun = perf_counter()
        due = begin + _NOTE_AFTER
        while self._calls:
            for _ in range(min(stride, len(self._calls))):  # fewer, if some are given back
                try:
                    argument = take()
                except IndexError:
                    break
                marks[slot] = mark
                try:
                    append(call(argument))
                except BaseException as error:
                    if self._foreign:
                        leave_as(error)
                    self._errors[mark & wire.POSITION] = transfer.dumps_error(error)
                    append(None)
                mark += 1
            if self._foreign:
                leave_as(None)
            argument = None
            end = perf_counter()
            elapsed, begin = end - begin, end
            if elapsed < STRIDE_FROM and not singly:
                stride = min(stride * 2, 1 << 16)
            elif elapsed > FLUSH_AFTER and stride > 1:
                stride = max(1, int(stride * FLUSH_AFTER / (2 * elapsed)))
            if singly or elapsed >= FLUSH_AFTER or end - flushed_at >= _GATHER_FOR:
                self._note(end, cpu, None)
                self.flush(batch)
                cpu = thread_time()
                begin = flushed_at = self._begun = perf_counter()
                due = begin + _NOTE_AFTER
            elif end >= due:
                cpu, due = self._note(end, cpu, end), end + _NOTE_AFTER
        self._note(perf_counter(), cpu, None)
        if not singly:
            self._strides[task] = stride

    def _note(self, now: float, cpu: float, begun: float | None) -> float:
        """Note what calls have taken until now, and computed since their thread had had so much CPU
        time; the time from `begun` on has not been counted then. Return how much it has had by now.
        """
        used = thread_time()
        with self._lock:
            if self._begun is not None:
                self._service += now - self._begun
            self._begun = begun
            self._cpu += used - cpu
        return used

    def flush(self, batch: int) -> None:
        """Send the outcomes that have not been sent; by this thread or the reporter.

        The caller may kill this process as soon as it has the last outcome: what calls have
        printed goes first.
        """
        flush_streams()
        with self._lock:
            # Appending is the only thing that happens meanwhile, and it comes after the error
            # of the same call was noted.
            count = len(self._values)
            if not count:
                return
            values, self._values[:count] = self._values[:count], []
            shift = self._flushed
            errors = {}
            if self._errors:
                for position in range(count):
                    if position + shift in self._errors:
                        errors[position] = self._errors.pop(position + shift)
            self._flushed += count
            if self._begun is not None:  # the reporter, while this thread is inside a call
                now = perf_counter()
                self._service += now - self._begun
                self._begun = now
            service, self._service = self._service, 0.0
            cpu, self._cpu = self._cpu, 0.0
            kind, payload, descriptors = _encode(values, errors, self._exchange)
            if self._clock is not None:
                self._clock.stop()
            del values
            self._outbox.release(self._exchange.released())
            message = wire.pack(
                kind,
                batch,
                payload,
                first=shift,
                count=count,
                service=service,
                cpu=cpu,
                descriptors=len(descriptors),
            )
            self._outbox.send(message, descriptors)

    def give_back(self, batch: int) -> None:
        """Return the calls that have not started.

        Called by the reporter under `Intake.lock`; before the calls lie in their deque, it only
        leaves word, and the runner does it itself.
        """
        with self._lock:
            self._wanted = True
            if not self._loaded:
                return
        count = 0
        try:
            while True:
                self._calls.pop()
                count += 1
        except IndexError:
            pass
        self.flush(batch)
        if count:
            self._outbox.send(wire.pack(wire.RETURNED, batch, count=count))


def _encode(
    values: list[object], errors: dict[int, transfer.Raised], exchange: Exchange
) -> tuple[int, bytes, list[int]]:
    """Pickle outcomes; a value that does not pickle becomes an error of its own call, and all do if
    there is no memory for them.
    """
    try:
        if errors:
            return wire.MIXED, *transfer.dump(exchange.dumps, (values, errors))
        return wire.DONE, *transfer.dump(exchange.dumps, values)
    except BaseException:
        pass
    try:
        return wire.MIXED, *transfer.dump(_one_by_one, values, errors, exchange)
    except BaseException as error:
        why = f"its outcome cannot be sent: {describe(error)}"
        told = transfer.dumps_error(Untransferable(why))
        return (
            wire.MIXED,
            transfer.dumps(([None] * len(values), dict.fromkeys(range(len(values)), told))),
            [],
        )


def _one_by_one(
    values: list[object], errors: dict[int, transfer.Raised], exchange: Exchange
) -> bytes:
    """Pickle each value by itself, and keep that: what has been pickled may fail the next time."""
    ready: list[object] = [None] * len(values)
    errors = errors.copy()
    for position, value in enumerate(values):
        if position in errors:
            continue
        try:
            with transfer.looking():
                transfer.to_caller.dumps(value)
            ready[position] = transfer.Ready(transfer.to_caller.dumps(value))
        except BaseException as error:
            errors[position] = transfer.dumps_error(Untransferable(_why(value, error)))
    return exchange.dumps((ready, errors))


def _why(value: object, error: BaseException) -> str:
    """Say what of a result does not pickle."""
    try:
        from _poolwise_worker.culprit import explain

        with transfer.looking():
            return explain(value, "its result", error)
    except BaseException:  # of the user's, or no memory is left to look
        return f"its result cannot be pickled: {describe(error)}"


def _spreading(function: Callable[..., Any]) -> Callable[[Any], Any]:
    def spread(arguments: tuple[Any, ...]) -> Any:
        return function(*arguments)

    return spread


def _unwrapping(function: Callable[..., Any]) -> Callable[[Any], Any]:
    def unwrap(pickled: bytes) -> Any:
        try:
            arguments = transfer.loads(pickled)
        except BaseException as error:
            why = f"its arguments cannot be read in a worker: {describe(error)}"
            raise Untransferable(str(error) if isinstance(error, Untransferable) else why) from None
        return function(*arguments)

    return unwrap
