"""For whoever writes a mechanism: a sink that remembers, and the laws as checks.

::

    from poolwise.testing import check_mechanism


    def test_my_mechanism() -> None:
        check_mechanism(MyMechanism(), workers=2)

The laws are those of ``mechanisms/README.md``, in the order in which that page tells them. Each is
a function that takes a `Subject` and raises `AssertionError` where it is broken, so that a test
suite can run laws × mechanisms: they are listed in `LAWS`.
"""

from __future__ import annotations

import os
import select
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, TypeAlias

from poolwise.ipc import Inbox
from poolwise.mechanisms import Mechanism, WorkerOptions
from poolwise.task import Batch, BatchId, Exit, Outcomes, Task, WorkerId
from poolwise.units import Seconds

__all__ = [
    "DEADLINE",
    "LAWS",
    "End",
    "Law",
    "Opened",
    "RecordingSink",
    "Subject",
    "check_mechanism",
]

#: What is waited for comes within this, or it will never come. Only a broken law spends it.
DEADLINE: Seconds = 20.0


# ---- a sink that remembers ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class End:
    """How one call ended; `value` and `error` belong to ``"done"``, `exit` to ``"lost"``."""

    kind: Literal["done", "returned", "lost"]
    value: object = None
    error: BaseException | None = None
    exit: Exit | None = None


class RecordingSink:
    """A `Sink` that keeps what it is told, and objects to what no pool may tell it.

    `ends` holds the end of each call by batch and position. An objection is kept until `wait` or
    `check` raises it, because what is raised in a thread of the pool is seen by nobody.
    """

    def __init__(self) -> None:
        self.ready_workers: list[WorkerId] = []
        self.gone_workers: list[tuple[WorkerId, Exit]] = []
        self.failures: list[BaseException] = []
        self.shortages: list[BaseException] = []
        self.ends: dict[BatchId, dict[int, End]] = {}
        self.service: Seconds = 0.0
        self.reports = 0
        self._done: dict[BatchId, int] = {}
        self._objections: list[str] = []
        self._owner = threading.get_ident()

    def ready(self, worker: WorkerId) -> None:
        """Keep the worker."""
        self._hear("ready")
        self.ready_workers.append(worker)

    def done(self, batch: BatchId, first: int, outcomes: Outcomes) -> None:
        """Keep the outcomes."""
        self._hear("done")
        self.service += outcomes.service
        before = self._done.get(batch, 0)
        self._done[batch] = before + len(outcomes.values)
        if first != before or not outcomes.values:
            self._objections.append(f"batch {batch}: done at {first}, after {before} outcomes")
        for position, value in enumerate(outcomes.values):
            error = outcomes.errors.get(position)
            self._end(batch, first + position, End("done", value, error))

    def returned(self, batch: BatchId, first: int, count: int) -> None:
        """Keep that these calls came back."""
        self._hear("returned")
        for position in range(first, first + count):
            self._end(batch, position, End("returned"))

    def lost(self, batch: BatchId, first: int, count: int, exit: Exit) -> None:
        """Keep that these calls were lost, and how."""
        self._hear("lost")
        for position in range(first, first + count):
            self._end(batch, position, End("lost", exit=exit))

    def gone(self, worker: WorkerId, exit: Exit) -> None:
        """Keep the worker and its end."""
        self._hear("gone")
        if worker not in self.ready_workers:
            self._objections.append(f"worker {worker} is gone, and was never ready")
        self.gone_workers.append((worker, exit))

    def fewer(self, error: BaseException) -> None:
        """Keep why a worker could not be created."""
        self._hear("fewer")
        self.shortages.append(error)

    def failed(self, error: BaseException) -> None:
        """Keep the error."""
        self._hear("failed")
        self.failures.append(error)

    def ends_of(self, batch: Batch) -> list[End]:
        """Return the ends of all calls of `batch`, in call order; all must have ended."""
        ends = self.ends.get(batch.id, {})
        assert sorted(ends) == list(range(batch.calls)), f"ended: {sorted(ends)} of {batch.calls}"
        return [ends[position] for position in range(batch.calls)]

    def has_ended(self, *batches: Batch) -> bool:
        """Return whether every call of these batches has ended."""
        return all(len(self.ends.get(batch.id, {})) >= batch.calls for batch in batches)

    def check(self) -> None:
        """Raise `AssertionError` if something was reported that must not be."""
        assert not self._objections, "; ".join(self._objections)

    def wait(
        self, inbox: Inbox, condition: Callable[[], object], *, within: Seconds | None = None
    ) -> None:
        """Wait on `inbox` until `condition` holds, at most so many seconds, or `DEADLINE`.

        Raises `AssertionError` if it does not by then, if the pool has failed, or if `check` does.
        """
        within = DEADLINE if within is None else within
        until = time.monotonic() + within
        while True:
            self.check()
            if condition():
                return
            assert not self.failures, f"no worker can be had: {self.failures}"
            left = until - time.monotonic()
            assert left > 0, f"waited {within} s in vain; {self}"
            inbox.wait(left)

    def __str__(self) -> str:
        ends = {batch: len(ends) for batch, ends in self.ends.items()}
        return (
            f"ready: {self.ready_workers}, gone: {self.gone_workers}, failed: {self.failures}, "
            f"ended calls by batch: {ends}"
        )

    def _hear(self, what: str) -> None:
        self.reports += 1
        if threading.get_ident() != self._owner:
            self._objections.append(f"{what}: not in the thread of the owner")

    def _end(self, batch: BatchId, position: int, end: End) -> None:
        ends = self.ends.setdefault(batch, {})
        if position in ends:
            was = ends[position].kind
            self._objections.append(f"call {position} of batch {batch}: {was}, then {end.kind}")
        ends[position] = end


# ---- what the laws are tried on -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subject:
    """What is held to the laws: a mechanism, and how many workers of what kind it is to open."""

    mechanism: Mechanism
    workers: int = 1
    threads_per_worker: int = 1
    start_method: str | None = None
    idle_timeout: Seconds = 0.0  # nothing is to be left

    @property
    def concurrency(self) -> int:
        """The calls that run at once."""
        return self.workers * self.threads_per_worker

    def open(self, *tasks: Task) -> Opened:
        """Open a pool, without workers yet; `tasks` are known to each that will come."""
        options = WorkerOptions(
            self.threads_per_worker,
            tasks,
            siblings=self.workers,
            start_method=self.start_method,
            idle_timeout=self.idle_timeout,
        )
        return Opened(self, options)


class Opened:
    """An open pool with its inbox and its sink. Leaving the ``with`` block ends it at once."""

    def __init__(self, subject: Subject, options: WorkerOptions) -> None:
        self._subject = subject
        self.inbox = Inbox()
        self.sink = RecordingSink()
        self.pool = subject.mechanism.open(options, self.sink, self.inbox)

    def __enter__(self) -> Opened:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.pool.close(grace=0.0)
        self.inbox.close()
        if error is None:
            self.sink.check()

    def start(self) -> Opened:
        """Grow the pool to its full size and wait until every worker is ready."""
        self.pool.grow(self._subject.workers)
        self.wait(lambda: len(self.sink.ready_workers) >= self._subject.workers)
        return self

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until `condition` holds; see `RecordingSink.wait`."""
        self.sink.wait(self.inbox, condition)

    def send(self, function: Callable[..., object], *columns: Iterable[object]) -> Batch:
        """Send a batch of calls of `function`."""
        batch = Batch(Task(function), tuple(map(list, columns)))
        self.pool.send(batch)
        return batch

    def run(self, function: Callable[..., object], *columns: Iterable[object]) -> list[End]:
        """Send a batch, wait until all of its calls have ended, and return how."""
        batch = self.send(function, *columns)
        self.wait(lambda: self.sink.has_ended(batch))
        return self.sink.ends_of(batch)

    @property
    def runs_in_send(self) -> bool:
        """Whether calls run in the owner's thread, so that `send` returns when they have ended."""
        batch = self.send(_same, [0])
        ended = self.sink.has_ended(batch)
        self.wait(lambda: self.sink.has_ended(batch))
        return ended

    @property
    def runs_elsewhere(self) -> bool:
        """Whether calls run in another process, which may die without this one."""
        return self.run(_process_id, [0])[0].value != os.getpid()


class _Gate:
    """Calls stop at it and say so; the owner lets them pass, as many as it likes.

    Two named pipes do it, because they are the same for threads and for processes. Leaving the
    ``with`` block lets all pass that have come and will come: the pipes lose their names first,
    so whoever has opened one did so while this end was open, and sees it close.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._folder = tempfile.TemporaryDirectory(prefix="poolwise-gate-")
        self.path = self._folder.name
        self.arrived: list[int] = []
        for name in ("arrivals", "passes"):
            os.mkfifo(f"{self.path}/{name}")
        # For both directions: so it opens at once, and the other side never sees the end.
        self.arrivals = os.open(f"{self.path}/arrivals", os.O_RDWR)
        self._passes = os.open(f"{self.path}/passes", os.O_RDWR)
        inbox.watch(self.arrivals, select.POLLIN, self.hear)

    def let_pass(self, calls: int) -> None:
        os.write(self._passes, b"." * calls)

    def __enter__(self) -> _Gate:
        return self

    def __exit__(self, *raised: object) -> None:
        self._folder.cleanup()
        self._inbox.unwatch(self.arrivals)
        os.close(self._passes)
        os.close(self.arrivals)

    def hear(self) -> None:
        self.arrived += map(int, os.read(self.arrivals, 4096).split())


def _stop_at(gate: str, number: int) -> int:
    with (
        suppress(FileNotFoundError),
        open(f"{gate}/passes", "rb", buffering=0) as passes,
        # Not for writing alone, which makes a file where the pipe has just lost its name.
        open(f"{gate}/arrivals", "r+b", buffering=0) as arrivals,
    ):
        arrivals.write(b"%d\n" % number)
        passes.read(1)
    return number


def _same(value: object) -> object:
    return value


def _process_id(_: object) -> int:
    return os.getpid()


def _even_or_raise(number: int) -> int:
    if number % 2:
        raise ValueError(number)
    return number


def _note(path: str, number: int) -> None:
    with open(path, "ab", buffering=0) as notes:
        notes.write(b"%d\n" % number)


def _noted(path: str) -> list[int]:
    return [*map(int, Path(path).read_text().split())] if Path(path).exists() else []


def _note_and_die_at(path: str, number: int, last: int, by: int) -> int:
    _note(path, number)
    if number == last:
        os.kill(os.getpid(), by)
        os._exit(by)
    return number


def _note_after_sleep(gate: str, path: str) -> None:
    _stop_at(gate, 0)
    time.sleep(0.05)
    _note(path, 0)


class _Loading:
    """A function that leaves a note wherever it is unpickled."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self, value: object) -> object:
        return value

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__dict__ = state
        _note(self._path, os.getpid())


class _Held(NamedTuple):
    """What this process holds: processes below it, threads, descriptors, shared memory."""

    processes: set[int]
    threads: set[threading.Thread]
    descriptors: set[tuple[int, str]]
    shared: set[str]

    @classmethod
    def now(cls) -> _Held:
        """Look; where the system has no ``/proc``, only threads are seen."""
        descriptors = set()
        for entry in Path("/proc/self/fd").glob("*"):
            with suppress(OSError):  # the one that lists the folder
                descriptors.add((int(entry.name), os.readlink(entry)))
        maps = Path("/proc/self/maps")
        lines = maps.read_text().splitlines() if maps.exists() else []
        shared = {line for line in lines if line.split()[1].endswith("s")}
        return cls(_descendants(os.getpid()), set(threading.enumerate()), descriptors, shared)

    def beyond(self, before: _Held) -> list[object]:
        """Return what is held now and was not before."""
        return [
            *(self.processes - before.processes),
            *(self.threads - before.threads),
            *(self.descriptors - before.descriptors),
            *(self.shared - before.shared),
        ]


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended meanwhile
            found.update(map(int, listing.read_text().split()))
    return found.union(*map(_descendants, found))


# ---- the laws -----------------------------------------------------------------------------------


def opening_starts_nothing(subject: Subject) -> None:
    """No thread and no process is started by opening a pool."""
    before = _Held.now()
    with subject.open() as opened:
        now = _Held.now()
        assert not now.processes - before.processes, "a process was started"
        assert not now.threads - before.threads, "a thread was started"
        assert opened.pool.workers == 0
        assert not opened.sink.reports


def each_worker_is_ready_once(subject: Subject) -> None:
    """Each worker that was asked for is reported ready once, and then knows the tasks."""
    with tempfile.TemporaryDirectory() as folder:
        notes = f"{folder}/notes"
        task = Task(_Loading(notes))
        with subject.open(task) as opened:
            opened.start()
            assert len(set(opened.sink.ready_workers)) == subject.workers, str(opened.sink)
            assert opened.pool.workers == subject.workers
            # A fork of this process may have it without loading it.
            if opened.runs_elsewhere and subject.start_method not in (None, "fork"):
                assert len(set(_noted(notes))) == subject.workers, "ready, and does not know"
            batch = Batch(task, ([1, 2],))
            opened.pool.send(batch)
            opened.wait(lambda: opened.sink.has_ended(batch))
            assert len(opened.sink.ready_workers) == subject.workers, str(opened.sink)


def every_call_ends_once(subject: Subject) -> None:
    """Every call that is sent ends exactly once, however many there are."""
    with subject.open().start() as opened:
        batches = [opened.send(_same, list(range(size))) for size in (1, 100, 2, 3000, 1, 17) * 3]
        opened.wait(lambda: opened.sink.has_ended(*batches))
        for batch in batches:
            values = [end.value for end in opened.sink.ends_of(batch)]
            assert values == batch.columns[0]


def deaths_leave_no_call_without_end(subject: Subject) -> None:
    """Every call ends exactly once also when many workers die; no returned call had started."""
    with subject.open().start() as opened, tempfile.TemporaryDirectory() as folder:
        if not opened.runs_elsewhere:
            return
        batches = []
        for number in range(3 * subject.concurrency):
            path, calls = f"{folder}/{number}", 5
            killed_at_2 = [path] * calls, range(calls), [2] * calls, [signal.SIGKILL] * calls
            batches.append((path, opened.send(_note_and_die_at, *killed_at_2)))
        opened.wait(lambda: opened.sink.has_ended(*(batch for _, batch in batches)))
        for path, batch in batches:
            notes = _noted(path)
            for position, end in enumerate(opened.sink.ends_of(batch)):
                # A neighbour's death may come between a start mark and the call.
                assert end.kind == "lost" or (end.kind == "done") == (position in notes)


def outcomes_are_in_call_order(subject: Subject) -> None:
    """Outcomes of a batch come in call order, and an error does not stop the rest."""
    with subject.open().start() as opened:
        numbers: list[object] = [0, 1, 2, 3, 5, 4, 7]
        for number, end in zip(numbers, opened.run(_even_or_raise, numbers), strict=True):
            assert end.kind == "done"
            if isinstance(end.error, ValueError):
                assert end.error.args == (number,)
                assert end.value is None
            else:
                assert end.error is None
                assert end.value == number


def a_death_loses_only_what_had_started(subject: Subject) -> None:
    """Only what had started is lost when a worker dies; what had not is returned.

    The worker is reported gone, and another takes its place.
    """
    with subject.open().start() as opened:
        if not opened.runs_elsewhere:
            return
        for by in signal.SIGKILL, 0:
            with tempfile.TemporaryDirectory() as folder:
                _die_once(opened, f"{folder}/notes", by)
        assert [end.value for end in opened.run(_same, [1, 2])] == [1, 2]


def _die_once(opened: Opened, path: str, by: int) -> None:
    sink, calls = opened.sink, 7
    gone, ready = len(sink.gone_workers), len(sink.ready_workers)
    ends = opened.run(_note_and_die_at, [path] * calls, range(calls), [3] * calls, [by] * calls)
    started = _noted(path)
    assert started == [0, 1, 2, 3], f"started: {started}"
    kinds = [end.kind for end in ends]
    assert kinds[4:] == ["returned"] * 3, f"had not started: {kinds[4:]}"
    assert set(kinds[:3]) <= {"done", "lost"}, f"had started: {kinds[:3]}"
    end = ends[3]
    assert end.kind == "lost"
    assert end.exit is not None
    assert (end.exit.signal, end.exit.code) == ((by, None) if by else (None, 0)), str(end.exit)
    opened.wait(lambda: len(sink.gone_workers) > gone and len(sink.ready_workers) > ready)


def service_is_the_time_in_calls(subject: Subject) -> None:
    """Service time is that of the calls themselves, summed over those that ran at once."""
    with subject.open().start() as opened:
        begin = time.perf_counter()
        service = opened.sink.service
        batches = [opened.send(time.sleep, [0.01, 0.01]) for _ in range(2 * subject.concurrency)]
        opened.wait(lambda: opened.sink.has_ended(*batches))
        wall = time.perf_counter() - begin
        service = opened.sink.service - service
        assert service >= 4 * subject.concurrency * 0.01 - 1e-6, f"{service} s of service"
        assert service <= wall * subject.concurrency, f"{service} s of service in {wall} s"


def reports_come_to_the_waiting_owner(subject: Subject) -> None:
    """Nothing is reported but in the owner's thread, inside a call of the pool or `Inbox.wait`."""
    with subject.open().start() as opened:
        if opened.runs_in_send:
            return
        with _Gate(opened.inbox) as gate:
            reports = opened.sink.reports
            batch = opened.send(_stop_at, [gate.path] * 2, [0, 1])
            gate.let_pass(1)
            while len(gate.arrived) < 2:  # the second arrives after the first has ended
                assert select.select([gate.arrivals], [], [], DEADLINE)[0]
                gate.hear()
            assert opened.sink.reports == reports, "a report came while nobody waited"
            gate.let_pass(1)
            opened.wait(lambda: opened.sink.has_ended(batch))


def what_has_not_started_can_be_taken_back(subject: Subject) -> None:
    """Unstarted calls come back, the running one goes on; a batch that has ended is ignored."""
    with subject.open().start() as opened, _Gate(opened.inbox) as gate:
        sink = opened.sink
        if opened.runs_in_send:
            done = opened.send(_same, [1, 2])
            opened.pool.take_back(done.id)
            assert [end.kind for end in sink.ends_of(done)] == ["done"] * 2
            return
        running = opened.send(_stop_at, [gate.path] * 5, list(range(5)))
        opened.wait(lambda: gate.arrived == [0])
        opened.pool.take_back(running.id)
        opened.wait(lambda: len(sink.ends.get(running.id, {})) == 4)
        gate.let_pass(1)
        opened.wait(lambda: sink.has_ended(running))
        assert [end.kind for end in sink.ends_of(running)] == ["done"] + ["returned"] * 4
        assert gate.arrived == [0]
        opened.pool.take_back(running.id)  # has ended
        opened.pool.take_back(Batch(Task(_same), ([0],)).id)  # was never sent
        assert [end.kind for end in opened.run(_same, [1, 2])] == ["done"] * 2


def what_comes_after_all_is_run(subject: Subject) -> None:
    """A batch that was not to be expected is run too, beside workers that are busy."""
    with subject.open().start() as opened, _Gate(opened.inbox) as gate:
        others = [] if opened.runs_in_send else list(range(subject.concurrency - 1))
        busy = [opened.send(_stop_at, [gate.path], [number]) for number in others]
        opened.wait(lambda: len(gate.arrived) == len(others))
        for _ in range(2):
            opened.pool.nothing_more()
            assert [end.value for end in opened.run(_same, [1, 2])] == [1, 2]
            assert opened.pool.workers == subject.workers
        gate.let_pass(len(others))
        opened.wait(lambda: opened.sink.has_ended(*busy))


def closing_waits_for_what_runs(subject: Subject) -> None:
    """Within its grace, `close` waits for running calls; what has not started never does."""
    with tempfile.TemporaryDirectory() as folder, subject.open().start() as opened:
        if opened.runs_in_send:
            return
        notes = f"{folder}/notes"
        with _Gate(opened.inbox) as gate:
            opened.send(_note_after_sleep, [gate.path] * 3, [notes] * 3)
            opened.wait(lambda: gate.arrived == [0])
            gate.let_pass(1)
            opened.pool.close(grace=None)
            assert _noted(notes) == [0], "close did not wait for the call that ran"


def closing_leaves_nothing(subject: Subject) -> None:
    """After `close` nothing is accepted, reported or left; a second call does nothing.

    What a mechanism keeps on purpose for its next pool exists when the first is closed.
    """
    _close_while_calls_run(subject)
    before = _Held.now()
    _close_while_calls_run(subject)
    left = _Held.now().beyond(before)
    assert not left, f"left: {left}"


def _close_while_calls_run(subject: Subject) -> None:
    threads = set(threading.enumerate())
    with subject.open().start() as opened:
        if opened.runs_in_send:
            opened.pool.close(grace=None)
            _is_closed(opened)
            return
        with _Gate(opened.inbox) as gate:
            batches = [opened.send(_stop_at, [gate.path] * 3, [0, 1, 2]) for _ in range(3)]
            opened.wait(lambda: gate.arrived)
            opened.pool.close(grace=0.0)
            reports = opened.sink.reports
            opened.pool.take_back(batches[0].id)
            _is_closed(opened)
        # Threads were abandoned in a call, which ends now that the gate is gone.
        for thread in set(threading.enumerate()) - threads:
            thread.join(DEADLINE)
        opened.inbox.wait(0)
        assert opened.sink.reports == reports, "a report came after close"


def _is_closed(opened: Opened) -> None:
    opened.pool.close(grace=0.0)
    assert opened.pool.workers == 0
    attempts: dict[str, Callable[[], object]] = {
        "a batch": lambda: opened.send(_same, [0]),
        "to grow": lambda: opened.pool.grow(1),
    }
    for what, attempt in attempts.items():
        try:
            attempt()
        except RuntimeError:
            continue
        raise AssertionError(f"a closed pool accepted {what}")


#: A law: raises `AssertionError` if the subject breaks it.
Law: TypeAlias = Callable[[Subject], None]

#: Every law, in the order of ``mechanisms/README.md``.
LAWS: tuple[Law, ...] = (
    opening_starts_nothing,
    each_worker_is_ready_once,
    every_call_ends_once,
    deaths_leave_no_call_without_end,
    outcomes_are_in_call_order,
    a_death_loses_only_what_had_started,
    service_is_the_time_in_calls,
    reports_come_to_the_waiting_owner,
    what_has_not_started_can_be_taken_back,
    what_comes_after_all_is_run,
    closing_waits_for_what_runs,
    closing_leaves_nothing,
)


def check_mechanism(mechanism: Mechanism, *, workers: int = 1, threads_per_worker: int = 1) -> None:
    """Hold a mechanism to every law, with real workers; takes a second or two.

    Laws about death are tried only where calls run in another process. Raises `AssertionError`
    at the first law that is broken.
    """
    for law in LAWS:
        law(Subject(mechanism, workers, threads_per_worker))
