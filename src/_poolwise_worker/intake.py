"""What comes from the caller: read in turns, acted on, handed to whoever is idle."""

from __future__ import annotations

import os
import select
from _socket import socket
from _thread import allocate_lock
from collections import deque
from math import inf
from time import perf_counter

from _poolwise_worker import surroundings, transfer, wire
from _poolwise_worker.spinning import Spinner, maker_of
from _poolwise_worker.transfer import Untransferable, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from _poolwise_worker.exchange import Exchange
    from _poolwise_worker.heap import Heap
    from _poolwise_worker.outbox import Outbox
    from _poolwise_worker.runner import Runner

#: An idle worker gives back shared memory, and what is free of its own, when it has been idle for
#: so long, in milliseconds: not between two maps in a row, because pages that are made anew cost
#: several times as much as writing them.
TRIM_AFTER = 1000.0


class Intake:
    """What has arrived and has not begun.

    `lock` guards the reader, the pending frames and the hand-over to a runner. Who holds it may
    send, which ends because the caller never stops reading. `leader` is held by the one idle
    runner that waits for the socket: without it, every idle runner would wake for every frame.

    The reporter reads the socket too. What it reads can never wake the leader, for whom the
    socket is as empty as before; so the reporter rings the bell, a pipe, for what it leaves.
    """

    def __init__(
        self,
        sock: socket,
        outbox: Outbox,
        exchange: Exchange,
        heap: Heap,
        pid: int,
        marks: memoryview,
        *,
        alone: bool,
    ) -> None:
        self._reader = wire.FrameReader(sock)
        self._outbox = outbox
        self._exchange = exchange
        self._heap = heap
        self._pid = pid
        self._marks = marks
        self._bell_read, self._bell_write = os.pipe()
        os.set_blocking(self._bell_write, False)
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)
        self._poll.register(self._bell_read, select.POLLIN)
        self._socket_poll = select.poll()
        self._socket_poll.register(sock.fileno(), select.POLLIN)
        self._pending: deque[wire.Frame] = deque()
        self._wanted: set[int] = set()  # of the pending ones, those that were recalled
        self._tasks: dict[int, Callable[..., Any]] = {}
        self._patience: float | None = None  # milliseconds until an idle worker ends itself
        self._over = False
        self.lock = allocate_lock()
        self._leader = allocate_lock()
        # The leader's. None beside other runners: each look would take the GIL from a call.
        self._spinner = Spinner() if alone else None
        self._caller = maker_of(sock)

    def next(self, runner: Runner) -> bool:
        """Give `runner` its next batch. False when there will be no more."""
        silent = False
        with self._leader:
            while True:
                with self.lock:
                    self._pull(enough=1)
                    if silent and self._patience is not None:  # and nothing came since
                        self._over = True
                    if self._pending:
                        frame = self._pending.popleft()
                        prime = frame.kind == wire.PRIME
                        function = _nothing if prime else self._tasks[frame.first]
                        runner.accept(frame, function, frame.key in self._wanted)
                        self._wanted.discard(frame.key)
                        return True
                    if self._reader.closed or self._over:
                        return False
                    patience = self._patience
                events = self._wait(patience)
                silent = not events
                for descriptor, _ in events:
                    if descriptor == self._bell_read:
                        os.read(self._bell_read, 4096)

    def _wait(self, patience: float | None) -> list[tuple[int, int]]:
        """Wait for something to read, for so many milliseconds; give back memory meanwhile."""
        spinner, began = self._spinner, perf_counter()
        events = [] if spinner is None else spinner.look(self._poll)
        if not events and patience is None:  # the pool is open: shared memory is its own
            events = self._poll.poll(TRIM_AFTER if self._heap.keeps else None)
            if not events:
                self._heap.trim()
                events = self._poll.poll()
        elif not events and patience is not None:
            events = self._poll.poll(min(patience, TRIM_AFTER))
            if not events and patience > TRIM_AFTER:
                self._exchange.trim()
                self._heap.trim()
                events = self._poll.poll(patience - TRIM_AFTER)
        if spinner is not None:
            spinner.note(perf_counter() - began, self._caller)
        return events

    def recall(self, batch: int, runners: list[Runner]) -> None:
        """Send back the unstarted calls of `batch`, or of all; called by the reporter.

        The caller has begun to write the batch before it recalls it, so it is somewhere here, or
        arriving: then the rest is waited for, because all runners may be busy. A batch that has
        ended already needs no answer.
        """
        while not self._recall_what_is_here(batch, runners):
            self._socket_poll.poll()

    def _recall_what_is_here(self, batch: int, runners: list[Runner]) -> bool:
        """Return false if the batch is still arriving."""
        with self.lock:
            self._pull()
            kept: deque[wire.Frame] = deque()
            # These are about to take one each, and run a call of it. A large batch arrives late:
            # if it were given back for that, it would go round for ever.
            idle = sum(not runner.batch for runner in runners) if batch != wire.ALL else 0
            for frame in self._pending:
                if batch == frame.key and len(kept) < idle:
                    self._wanted.add(batch)
                    kept.append(frame)
                elif batch in (frame.key, wire.ALL):
                    self._exchange.drop_received(frame.payload)
                    frame.drop()
                    self._outbox.release(self._exchange.released())
                    self._outbox.send(wire.pack(wire.RETURNED, frame.key, count=frame.count))
                else:
                    kept.append(frame)
            self._pending = kept
            for runner in runners:
                if runner.batch and batch in (runner.batch, wire.ALL):
                    runner.give_back(runner.batch)
            if kept:
                try:
                    os.write(self._bell_write, b"\0")
                except BlockingIOError:
                    pass  # the pipe is full of rings already
            return self._reader.arriving != batch

    def _pull(self, enough: float = inf) -> None:
        """Read what has arrived without blocking; act on everything but batches. With so many of
        these to run, what the socket has beside them can wait.

        Nothing any more once this worker is about to end itself: a sign of life would be a lie.
        """
        while not self._over:
            while (frame := self._reader.pop()) is not None:
                self._patience = None
                if frame.kind in (wire.RUN, wire.SINGLY) or (
                    frame.kind == wire.PRIME and frame.payload
                ):
                    self._pending.append(frame)
                elif frame.kind == wire.TASK:
                    self._tasks[frame.key] = _load_task(frame)
                elif frame.kind == wire.PART:
                    surroundings.take_part(frame.payload)
                elif frame.kind == wire.ADOPT:
                    surroundings.take_on(frame.payload)
                elif frame.kind == wire.PRIME:
                    self._outbox.send(wire.pack(wire.READY, self._pid))
                elif frame.kind == wire.RELEASED:
                    self._exchange.free(frame.payload)
                elif frame.kind == wire.ARENA:
                    for descriptor in frame.descriptors:
                        self._exchange.accept(descriptor)
                elif frame.kind == wire.FORGET:
                    del self._tasks[frame.key]
                elif frame.kind == wire.REST:
                    self._tasks.clear()
                    self._patience = frame.service * 1000
                    self._marks[0] = wire.RESTED
            if len(self._pending) >= enough or self._reader.closed or not self._reader.read():
                return


#: Functions by task, in a process that was forked from the caller; written before the fork.
inherited: dict[int, Callable[..., Any]] = {}


def _load_task(frame: wire.Frame) -> Callable[..., Any]:
    """Return a function. If it cannot be had, every call fails: return one that says why."""
    if not frame.payload:
        return inherited[frame.key]
    try:
        function: Callable[..., Any] = surroundings.keep_filters(frame.read, transfer.loads)
    except BaseException as error:
        why = f"the function cannot be read in a worker: {describe(error)}"

        def fail(*arguments: object) -> None:
            raise Untransferable(why)

        return fail
    return function


def _nothing(*arguments: object) -> None:
    """Stand in for the task of a frame that has none."""
