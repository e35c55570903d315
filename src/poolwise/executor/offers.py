"""Submitted calls that threads of this process are to run, and the tickets for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from poolwise.executor.again import Retries
from poolwise.executor.fault import own_fault
from poolwise.executor.functions import Seen
from poolwise.executor.routing import Router
from poolwise.executor.stats import Tallies
from poolwise.executor.submission import Submission
from poolwise.task import Columns, Outcomes, Task
from poolwise.timing.clock import Clock
from poolwise.units import Seconds

#: When the call that is next has not started for so long, threads that are idle get tickets of
#: their own. It is what a call may lose because the one before it, in the same thread, waits.
_OVERDUE: Seconds = 5e-3

#: Returned by a ticket that ran no call, or one of another function than expected.
_UNLIKE = object()


class Offers:
    """Calls that are offered to threads until somebody takes them.

    To take one is atomic: a thread does that runs it, or the dispatcher when it cancels or fails
    it. What is sent to threads is tickets, and each stands for the call that is next at that
    moment, most likely one of the function that is noted for its place in the output. So calls
    start in the order in which they were submitted, however many tickets one thread holds, and
    where all threads wait for calls that have not started, so would those of the standard executor.
    If a thread that holds several waits inside the first call, other threads get more tickets
    (`hurry`); a ticket too many finds nothing and does no harm.

    `waiting`, and what runs a call, may be used in any thread; all else belongs to the dispatcher
    thread. Futures guard themselves.
    """

    def __init__(
        self,
        router: Router,
        retries: Retries,
        tallies: Tallies,
        clock: Clock,
        places: Iterator[int],
        pass_over: Callable[[Submission], None],
    ) -> None:
        self.waiting: deque[Submission] = deque()
        self.more = 0  # tickets to be sent besides one for each call
        self._router = router
        self._retries = retries
        self._tallies = tallies
        self._clock = clock
        self._places = places
        self._pass_over = pass_over
        self._tickets: dict[int, Seen] = {}
        self._crowded = False  # a thread may hold tickets that it cannot use now
        self._head: Submission | None = None  # of those that wait, when last looked at
        self._head_since: Seconds = 0.0
        self._task = Task(self._run_next)

    def draw(self, limit: int, queue: deque[Submission]) -> tuple[Task, Columns] | None:
        """Offer calls of one function, which may still be cancelled, and return as many tickets."""
        taken: list[object] = []
        seen: Seen | None = None
        while queue and len(taken) < limit:
            submission = queue[0]
            assert submission.future is not None
            if submission.future.cancelled():  # and says nothing of the function to come
                submission.begin()
                self._pass_over(submission)
                queue.popleft()
                continue
            if seen is None:
                seen = submission.seen
                limit = min(limit, self._router.most_in_thread(seen))
            elif submission.seen is not seen:
                break
            submission.examined = self._router.examines(seen)
            self._tickets[next(self._places)] = seen
            taken.append(seen)
            self.waiting.append(submission)
            queue.popleft()
        self._crowded = self._crowded or len(taken) > 1
        return (self._task, (taken,)) if taken else None

    def draw_one_more(self) -> tuple[Task, Columns] | None:
        """Return a ticket for a call that was offered before."""
        free = self._router.free()
        if free is not None and free < 1:
            return None
        try:
            seen = self.waiting[0].seen
        except IndexError:  # threads have taken them all meanwhile
            self.more = 0
            return None
        self.more -= 1
        self._tickets[next(self._places)] = seen
        return self._task, ([seen],)

    @property
    def patience(self) -> Seconds | None:
        """When to `hurry` if nothing happens before; ``None`` if no call can be held up."""
        waits = self._crowded and bool(self.waiting)
        return _OVERDUE if waits and not self.more and self._router.has_room("thread") else None

    def hurry(self) -> None:
        """Have tickets sent to idle threads, if the call that is next has not started for long."""
        try:
            head = self.waiting[0]
        except IndexError:
            self._head, self._crowded, self.more = None, False, 0
            return
        if not self._crowded:
            return
        now = self._clock.now()
        if head is not self._head:
            self._head, self._head_since = head, now
        elif now - self._head_since >= _OVERDUE and not self.more:
            self._head_since = now
            self.more = len(self.waiting)

    def _run_next(self, expected: Seen) -> object:
        """Run the call that is next; in a thread that holds a ticket."""
        tally = self._tallies.mine()
        try:
            submission = self.waiting.popleft()
        except IndexError:
            return _UNLIKE
        like = submission.seen is expected
        if submission.arrived:
            tally.waits.add(self._clock.now() - submission.arrived)
        tally.running = submission
        try:
            specimen = submission.run(self._retries, tally)
        except BaseException as error:  # a fault of ours; the call must have an end all the same
            submission.finish(None, own_fault(error))
            return _UNLIKE
        finally:
            tally.running = None
        return specimen if like else _UNLIKE

    def expected_at(self, place: int) -> Seen | None:
        """Return the function that a ticket was for, ``None`` if there is none for this place."""
        return self._tickets.get(place)

    def ended(self, first: int, expected: Seen, outcomes: Outcomes) -> None:
        """Learn of tickets that were used; the threads have given the futures their ends."""
        for place in range(first, first + len(outcomes.values)):
            del self._tickets[place]
        if outcomes.errors:  # by a fault of ours: perhaps a call was not even taken
            self._crowded = True
        elif not any(value is _UNLIKE for value in outcomes.values):
            expected.note(outcomes)
            self._tallies.mine().count_service(outcomes)
            self._router.learn(expected, "thread", outcomes)

    def forget(self) -> None:
        """Expect no more ends."""
        self._tickets.clear()
