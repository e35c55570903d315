"""A call that finds a worker idle, sent by the thread that submits it.

To wake the dispatcher and have it send a call takes a quarter of the time that a short one is away.
So before the dispatcher waits, and nothing is under way or waits, it leaves a `Door` open: to one
idle worker, for one function that this worker knows. Whoever submits the next call takes the door.
If it is a call of that function as it was, and its arguments are plain data, it goes out there, and
the dispatcher finds word of it when it hears of the worker; else the call is queued as ever.

The pool and the dispatch go on belonging to the dispatcher, and nothing waits for anybody:

- The door is in a list. To take it out is atomic, so one call goes through each; whoever queues a
  call closes it afterwards, and the dispatcher looks into the queue after it has opened it. So no
  call overtakes one that its own thread has submitted before.
- Word of a call is left before its frame is written. So it is there when the outcome is read, and
  when what a dead worker had begun is looked at. Whoever finds out after writing that the worker
  had been buried before rings: such a call was not begun, and is queued.
- Both happen under the executor's lock, and the dispatcher ends under it: no call is under way to
  a dispatcher that has ended.
- No code of the user's runs here. What needs some to be pickled is left to the dispatcher: whoever
  submits may hold a lock that it needs.
- A signal handler may interrupt this and submit: it finds no door. If it raises, the `finally`
  has the dispatcher write what was not written.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from poolwise.executor.carried import Known
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.functions import Seen
from poolwise.executor.lane import Lane
from poolwise.executor.submission import Submission
from poolwise.executor.submissions import Submissions
from poolwise.ipc import Inbox
from poolwise.task import Batch
from poolwise.timing.clock import SystemClock
from poolwise.units import Seconds

if TYPE_CHECKING:
    from poolwise.mechanisms.process_pool import ProcessPool
    from poolwise.mechanisms.side_door import SideDoor


class Door(NamedTuple):
    """A way to an idle worker, for calls of one function."""

    known: Known
    seen: Seen
    lane: Lane
    side: SideDoor


class _Through(NamedTuple):
    """A call that goes through a door, or has gone."""

    door: Door
    submission: Submission
    batch: Batch
    at: Seconds


class Shortcut:
    """The door of one executor. `send` and `close` are for who holds its lock, and submits; all
    else belongs to the dispatcher thread.
    """

    def __init__(self, dispatch: Dispatch, submissions: Submissions, inbox: Inbox) -> None:
        self._dispatch = dispatch
        self._submissions = submissions
        self._inbox = inbox
        self._clock = SystemClock()
        self.doors: list[Door] = []  # one at most
        self._through: deque[_Through] = deque()
        self._lane: Lane | None = None  # that doors lead to
        self._pool: ProcessPool | None = None

    # ---- for who submits ---------------------------------------------------------------------

    def send(self, submission: Submission) -> bool:
        """Send a call, if that can be done at once; else it is to be queued.

        Raises whatever a signal handler raises; then the call has been sent, or will be, or never
        began.
        """
        try:
            door = self.doors.pop()
        except IndexError:
            return False
        known = door.known
        if submission.function is not known.function or not known.reads.hold():
            return False
        batch = Batch(known.task, ([None], [submission.args], [submission.kwargs]))
        frame = door.side.pack(batch)
        if frame is None:
            return False
        submission.begin()
        self._write(_Through(door, submission, batch, self._clock.now()), frame)
        return True

    def _write(self, call: _Through, frame: bytes) -> None:
        side, written = call.door.side, [0]
        try:
            self._through.append(call)
            self.doors.clear()  # the dispatcher may have opened another meanwhile
            side.write(frame, written)
        except OSError:
            pass  # the worker is dead, or its socket is full
        finally:
            # Looked at after writing: who has buried the worker since looks for this call. Two are
            # of a signal handler in between, and the dispatcher has to see who waits for whom.
            if written[-1] != len(frame) or side.closed or len(self._through) > 1:
                self._inbox.post(partial(self._write_rest, call, frame, written))

    def close(self) -> None:
        """Let nobody through."""
        self.doors.clear()

    # ---- the dispatcher's --------------------------------------------------------------------

    @property
    def used(self) -> int:
        """Calls that have gone through and are not noted yet; from any thread."""
        return len(self._through)

    def open(self) -> None:
        """Let the next call through, if there is somebody who could begin it at once."""
        seen, dispatch, pool = self._submissions.latest, self._dispatch, self._pool_of_all()
        if seen is None or pool is None or dispatch.in_flight or not dispatch.nothing_left:
            return
        known, lane = seen.reach.known(), dispatch.lanes[0]
        side = pool.side_door(known.task) if known is not None and lane.active else None
        if known is not None and side is not None:
            self.doors.append(Door(known, seen, lane, side))
            # Looked at last, as who queues or goes through closes last.
            if self._through or not dispatch.nothing_left:
                self.doors.clear()

    @property
    def leads_to(self) -> int | None:
        """The process that an open door leads to: most likely word comes from there."""
        try:
            return self.doors[0].side.process
        except IndexError:  # somebody goes through
            return None

    def _pool_of_all(self) -> ProcessPool | None:
        """Return the pool where all calls go, if there is one and it has side doors."""
        lanes = self._dispatch.lanes
        if len(lanes) != 1:
            return None
        if lanes[0] is not self._lane:
            from poolwise.mechanisms.process_pool import ProcessPool

            self._lane, pool = lanes[0], lanes[0].pool
            self._pool = pool if isinstance(pool, ProcessPool) else None
            if self._pool is not None:
                self._pool.catch_up = self.take_in
        return self._pool

    def take_in(self) -> None:
        """Note the calls that have gone through."""
        back: list[Submission] = []
        while self._through:
            door, submission, batch, at = self._through.popleft()
            if door.side.closed:
                back.append(submission)
                continue
            self._submissions.was_sent(submission, door.seen, at)
            self._dispatch.was_sent(door.lane, batch, at)
            door.side.was_sent(batch)
        for submission in reversed(back):  # before others, and in their order
            self._submissions.come_back(submission)

    def _write_rest(self, call: _Through, frame: bytes, written: list[int]) -> None:
        self.take_in()
        call.door.side.write_rest(frame, written[-1], call.batch)
