"""The laws of mechanisms, as checks; in the order of ``mechanisms/README.md``."""

from __future__ import annotations

import select
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from poolwise.task import Batch, Task
from poolwise.testing import sink
from poolwise.testing.calls import (
    Gate,
    Loading,
    even_or_raise,
    note_after_sleep,
    note_and_die_at,
    noted,
    same,
    stop_at,
)
from poolwise.testing.held import Held
from poolwise.testing.subject import Opened, Subject


def opening_starts_nothing(subject: Subject) -> None:
    """No thread and no process is started by opening a pool."""
    before = Held.now()
    with subject.open() as opened:
        now = Held.now()
        assert not now.processes - before.processes, "a process was started"
        assert not now.threads - before.threads, "a thread was started"
        assert opened.pool.workers == 0
        assert not opened.sink.reports


def each_worker_is_ready_once(subject: Subject) -> None:
    """Each worker that was asked for is reported ready once, and then knows the tasks."""
    with tempfile.TemporaryDirectory() as folder:
        notes = f"{folder}/notes"
        task = Task(Loading(notes))
        with subject.open(task) as opened:
            opened.start()
            assert len(set(opened.sink.ready_workers)) == subject.workers, str(opened.sink)
            assert opened.pool.workers == subject.workers
            # A fork of this process may have it without loading it.
            if opened.runs_elsewhere and subject.start_method not in (None, "fork"):
                assert len(set(noted(notes))) == subject.workers, "ready, and does not know"
            batch = Batch(task, ([1, 2],))
            opened.pool.send(batch)
            opened.wait(lambda: opened.sink.has_ended(batch))
            assert len(opened.sink.ready_workers) == subject.workers, str(opened.sink)


def every_call_ends_once(subject: Subject) -> None:
    """Every call that is sent ends exactly once, however many there are."""
    with subject.open().start() as opened:
        batches = [opened.send(same, list(range(size))) for size in (1, 100, 2, 3000, 1, 17) * 3]
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
            batches.append((path, opened.send(note_and_die_at, *killed_at_2)))
        opened.wait(lambda: opened.sink.has_ended(*(batch for _, batch in batches)))
        for path, batch in batches:
            notes = noted(path)
            for position, end in enumerate(opened.sink.ends_of(batch)):
                # A neighbour's death may come between a start mark and the call.
                assert end.kind == "lost" or (end.kind == "done") == (position in notes)


def outcomes_are_in_call_order(subject: Subject) -> None:
    """Outcomes of a batch come in call order, and an error does not stop the rest."""
    with subject.open().start() as opened:
        numbers: list[object] = [0, 1, 2, 3, 5, 4, 7]
        for number, end in zip(numbers, opened.run(even_or_raise, numbers), strict=True):
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
        assert [end.value for end in opened.run(same, [1, 2])] == [1, 2]


def _die_once(opened: Opened, path: str, by: int) -> None:
    sink, calls = opened.sink, 7
    gone, ready = len(sink.gone_workers), len(sink.ready_workers)
    ends = opened.run(note_and_die_at, [path] * calls, range(calls), [3] * calls, [by] * calls)
    started = noted(path)
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
        with Gate(opened.inbox) as gate:
            reports = opened.sink.reports
            batch = opened.send(stop_at, [gate.path] * 2, [0, 1])
            gate.let_pass(1)
            while len(gate.arrived) < 2:  # the second arrives after the first has ended
                assert select.select([gate.arrivals], [], [], sink.DEADLINE)[0]
                gate.hear()
            assert opened.sink.reports == reports, "a report came while nobody waited"
            gate.let_pass(1)
            opened.wait(lambda: opened.sink.has_ended(batch))


def what_has_not_started_can_be_taken_back(subject: Subject) -> None:
    """Unstarted calls come back, the running one goes on; a batch that has ended is ignored."""
    with subject.open().start() as opened, Gate(opened.inbox) as gate:
        sink = opened.sink
        if opened.runs_in_send:
            done = opened.send(same, [1, 2])
            opened.pool.take_back(done.id)
            assert [end.kind for end in sink.ends_of(done)] == ["done"] * 2
            return
        running = opened.send(stop_at, [gate.path] * 5, list(range(5)))
        opened.wait(lambda: gate.arrived == [0])
        opened.pool.take_back(running.id)
        opened.wait(lambda: len(sink.ends.get(running.id, {})) == 4)
        gate.let_pass(1)
        opened.wait(lambda: sink.has_ended(running))
        assert [end.kind for end in sink.ends_of(running)] == ["done"] + ["returned"] * 4
        assert gate.arrived == [0]
        opened.pool.take_back(running.id)  # has ended
        opened.pool.take_back(Batch(Task(same), ([0],)).id)  # was never sent
        assert [end.kind for end in opened.run(same, [1, 2])] == ["done"] * 2


def what_comes_after_all_is_run(subject: Subject) -> None:
    """A batch that was not to be expected is run too, beside workers that are busy."""
    with subject.open().start() as opened, Gate(opened.inbox) as gate:
        others = [] if opened.runs_in_send else list(range(subject.concurrency - 1))
        busy = [opened.send(stop_at, [gate.path], [number]) for number in others]
        opened.wait(lambda: len(gate.arrived) == len(others))
        for _ in range(2):
            opened.pool.nothing_more()
            assert [end.value for end in opened.run(same, [1, 2])] == [1, 2]
            assert opened.pool.workers == subject.workers
        gate.let_pass(len(others))
        opened.wait(lambda: opened.sink.has_ended(*busy))


def closing_waits_for_what_runs(subject: Subject) -> None:
    """Within its grace, `close` waits for running calls; what has not started never does."""
    with tempfile.TemporaryDirectory() as folder, subject.open().start() as opened:
        if opened.runs_in_send:
            return
        notes = f"{folder}/notes"
        with Gate(opened.inbox) as gate:
            opened.send(note_after_sleep, [gate.path] * 3, [notes] * 3)
            opened.wait(lambda: gate.arrived == [0])
            gate.let_pass(1)
            opened.pool.close(grace=None)
            assert noted(notes) == [0], "close did not wait for the call that ran"


def closing_leaves_nothing(subject: Subject) -> None:
    """After `close` nothing is accepted, reported or left; a second call does nothing.

    What a mechanism keeps on purpose for its next pool exists when the first is closed.
    """
    _close_while_calls_run(subject)
    before = Held.now()
    _close_while_calls_run(subject)
    left = Held.now().beyond(before)
    assert not left, f"left: {left}"


def _close_while_calls_run(subject: Subject) -> None:
    threads = set(threading.enumerate())
    with subject.open().start() as opened:
        if opened.runs_in_send:
            opened.pool.close(grace=None)
            _is_closed(opened)
            return
        with Gate(opened.inbox) as gate:
            batches = [opened.send(stop_at, [gate.path] * 3, [0, 1, 2]) for _ in range(3)]
            opened.wait(lambda: gate.arrived)
            opened.pool.close(grace=0.0)
            reports = opened.sink.reports
            opened.pool.take_back(batches[0].id)
            _is_closed(opened)
        # Threads were abandoned in a call, which ends now that the gate is gone.
        for thread in set(threading.enumerate()) - threads:
            thread.join(sink.DEADLINE)
        opened.inbox.wait(0)
        assert opened.sink.reports == reports, "a report came after close"


def _is_closed(opened: Opened) -> None:
    opened.pool.close(grace=0.0)
    assert opened.pool.workers == 0
    attempts: dict[str, Callable[[], object]] = {
        "a batch": lambda: opened.send(same, [0]),
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
