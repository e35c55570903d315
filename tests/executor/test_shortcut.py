"""Calls that go to an idle worker from the thread that submits them."""

from __future__ import annotations

import itertools
import operator
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from executor import calls
from executor.calls import DEADLINE, note, noted, pid_of, square, wait_for
from poolwise import Executor
from poolwise.errors import WorkerCrashed, WorkersKilled
from poolwise.executor import dispatcher, shortcut, submission
from poolwise.executor.shortcut import Door
from poolwise.executor.submission import Submission
from poolwise.mechanisms import encoding, plain, reads, side_door
from poolwise.mechanisms.plain import dumps_plain


class _Doors(list[Door]):
    """Says when one is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()

    def append(self, door: Door) -> None:
        super().append(door)
        with self.changed:
            self.changed.notify_all()


class Watched:
    """An executor whose door can be waited for, and that counts the calls that went through it."""

    def __init__(self, plan: str) -> None:
        self.executor = Executor(plan=plan)
        self.call(note, -1)
        assert self.executor._dispatcher is not None
        self.shortcut = self.executor._dispatcher._shortcut
        self.doors = self.shortcut.doors = _Doors()
        self.through = 0
        send = self.shortcut.send

        def counted(call: Submission) -> bool:
            went = send(call)
            self.through += went
            return went

        self.shortcut.send = counted  # type: ignore[method-assign]

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.executor.submit(function, *arguments).result(DEADLINE)

    def open(self, function: Callable[..., Any] = note, *arguments: Any) -> None:
        """Return when there is a door for calls of `function`, which is known when it has been
        found as it was.
        """
        for _ in range(3):
            self.call(function, *(arguments or (-1,)))
        with self.doors.changed:
            assert self.doors.changed.wait_for(lambda: self.doors, DEADLINE)
        self.through = 0


@contextmanager
def watched(plan: str = "process:1") -> Iterator[Watched]:
    each = Watched(plan)
    try:
        yield each
    finally:
        ending = threading.Thread(target=each.executor.shutdown, daemon=True)
        ending.start()
        ending.join(DEADLINE)
        assert not ending.is_alive()


@pytest.mark.parametrize("function", [calls.identity, operator.pos, textwrap.dedent])
def test_a_call_that_finds_the_worker_idle_goes_at_once(function: Callable[[Any], Any]) -> None:
    text = "text" if function is textwrap.dedent else 1
    with watched() as each:
        each.open(function, text)
        assert each.call(function, text) == text
        assert each.through == 1


def test_a_call_through_the_door_is_seen_in_stats(tmp_path: Path) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    with watched() as each:
        each.open(wait_for, os.devnull)
        future = each.executor.submit(wait_for, pipe)
        assert each.through == 1
        assert future.running()
        assert not future.cancel()
        assert each.executor.stats().running == 1
        behind = each.executor.submit(square, 3)
        Path(pipe).write_text("four")
        assert (future.result(DEADLINE), behind.result(DEADLINE)) == (4, 9)
        assert each.executor.stats().running == 0


class Locked:
    """Cannot be pickled by whoever has its lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __reduce__(self) -> tuple[object, tuple[int]]:
        with self.lock:
            return square, (3,)


@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: [{"deep": (it,)}]])
def test_nothing_of_the_users_is_pickled_by_who_submits(wrap: Callable[[Any], Any]) -> None:
    thing = Locked()
    with watched() as each:
        each.open(calls.identity)
        with thing.lock:
            future = each.executor.submit(calls.identity, wrap(thing))
        assert future.result(DEADLINE) == wrap(9)
        assert each.through == 0


class _Number(int):
    pass


@pytest.mark.parametrize("value", [_Number(1), object(), print, int, bytes(5000), {1: {2: len}}])
def test_what_is_not_plain_or_not_short_is_left(value: object) -> None:
    assert dumps_plain(value) is None


def test_calls_of_one_thread_begin_in_order() -> None:
    with watched() as each:
        numbers = iter(range(10_000))
        for burst in (1, 1, 2, 1, 5, 1, 1, 3) * 20:
            futures = [each.executor.submit(note, next(numbers)) for _ in range(burst)]
            if burst != 3:
                futures[-1].result(DEADLINE)
        count = next(numbers)
        assert [one for one in each.call(noted) if one >= 0] == list(range(count))


def test_threads_share_a_door() -> None:
    with watched("process:2") as each:
        wrong: list[int] = []

        def submit(first: int) -> None:
            wrong.extend(
                one
                for one in range(first, first + 200)
                if each.executor.submit(square, one).result(DEADLINE) != one * one
            )

        threads = [threading.Thread(target=submit, args=(1000 * n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert not wrong
        assert each.executor.stats().done == 601


def test_a_change_is_seen_by_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with watched() as each:
        each.open(square, 2)
        monkeypatch.setattr(square, "__code__", (lambda number: -number).__code__)
        assert each.call(square, 3) == -3
        assert each.through == 0


# ---- death ---------------------------------------------------------------------------------------


def test_a_call_that_a_dead_worker_never_began_runs_in_another() -> None:
    with watched() as each:
        for _ in range(5):
            each.open(pid_of)
            before = each.call(pid_of, 0)
            each.open(pid_of)
            os.kill(before, signal.SIGKILL)
            assert each.call(pid_of, 0) != before


def test_a_call_that_kills_its_worker_is_lost() -> None:
    with watched() as each:
        each.open(calls.exit_if, 0)
        with pytest.raises(WorkerCrashed, match="exit_if"):
            each.call(calls.exit_if, 1)
        assert each.through == 1
        assert each.call(square, 3) == 9


def test_a_call_that_comes_after_the_burial_runs_in_another() -> None:
    """Whoever submits has taken the door, and is slow."""
    with watched() as each:
        each.open(pid_of)
        dead = each.call(pid_of, 0)
        each.open(pid_of)
        door = each.doors[0]
        pack = door.side.pack

        def pack_later(batch: Any) -> bytes | None:
            os.kill(dead, signal.SIGKILL)
            with each.doors.changed:  # where there is another worker, there is another door
                assert each.doors.changed.wait_for(lambda: door.side.closed, DEADLINE)
            return pack(batch)

        door.side.pack = pack_later  # type: ignore[method-assign]
        worker = door.lane.pool
        bury = worker._bury  # type: ignore[attr-defined]

        def then_say(*arguments: Any) -> None:
            bury(*arguments)
            with each.doors.changed:
                each.doors.changed.notify_all()

        worker._bury = then_say  # type: ignore[attr-defined]
        assert each.call(pid_of, 0) != dead
        assert each.through == 1


@pytest.mark.parametrize("part", [0, 1, 60])
def test_what_the_socket_does_not_take_follows(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(descriptor: int, frame: bytes) -> int:
        if not part:
            raise BlockingIOError
        return written(descriptor, frame[:part])

    written = os.write
    with watched() as each:
        each.open()
        with monkeypatch.context() as patch:
            patch.setattr(side_door, "os", SimpleNamespace(write=write))
            future = each.executor.submit(note, 1)
        assert future.result(DEADLINE) == 1
        assert each.through == 1


def test_a_call_whose_worker_is_killed_fails(tmp_path: Path) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    with watched() as each:
        each.open(wait_for, os.devnull)
        future = each.executor.submit(wait_for, pipe)
        each.executor.kill_workers()
        with pytest.raises(WorkersKilled):
            future.result(DEADLINE)


def test_shutdown_waits_for_a_call_that_went_through() -> None:
    for _ in range(5):
        with watched() as each:
            each.open()
            future = each.executor.submit(note, 1)
        assert each.through == 1
        assert future.result(0) == 1


def test_a_child_of_the_users_sends_nothing() -> None:
    with watched() as each:
        each.open()
        child = os.fork()
        if not child:
            try:
                each.executor.submit(note, 1)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert each.call(note, 2) == 2
        assert 1 not in each.call(noted)


# ---- interruptions -------------------------------------------------------------------------------


class _Interrupted(Exception):
    pass


_FILES = {each.__file__ for each in (shortcut, side_door, plain, encoding, reads, submission)}


@contextmanager
def at_step(
    number: int, act: Callable[[], object], files: Collection[str | None] = _FILES
) -> Iterator[list[int]]:
    """Within the block, this thread does `act` before the step of that number of what it sends, as
    signal handlers are run. Yields how many steps there were.
    """
    steps = [0]

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            steps[0] += 1
            if steps[0] == number:
                sys.settrace(None)
                act()
        return trace

    sys.settrace(trace)
    try:
        yield steps
    finally:
        sys.settrace(None)


def _steps() -> int:
    with watched() as each:
        each.open()
        with at_step(0, _raise) as steps:
            each.call(note, 1)
        assert steps[0] > 100
        return steps[0]


def _raise() -> None:
    raise _Interrupted


def test_a_submission_that_is_interrupted_at_any_step_leaves_all_in_order() -> None:
    with watched() as each:
        for step in range(1, _steps() + 1):
            each.open()
            with at_step(step, _raise), suppress(_Interrupted):
                each.executor.submit(note, 2 * step)
            assert each.call(note, 2 * step + 1) == 2 * step + 1
        ran = [one for one in each.call(noted) if one > 0]
        assert ran == sorted(set(ran))
        assert {one for one in ran if one % 2} == set(range(3, 2 * step + 2, 2))


def test_queueing_a_call_may_be_interrupted_at_any_step() -> None:
    with watched() as each:
        for step in itertools.count(1):
            with at_step(step, _raise, {dispatcher.__file__}) as steps, suppress(_Interrupted):
                each.executor.submit(note, len)  # which is not plain
            assert each.call(note, 1) == 1
            if steps[0] < step:
                break
        assert steps[0] > 20


def test_a_signal_handler_may_submit_at_any_step_and_wait() -> None:
    with watched() as each:
        for step in range(1, _steps() + 1):
            each.open()
            with at_step(step, lambda: each.call(note, 2 * step)):
                assert each.call(note, 2 * step + 1) == 2 * step + 1
        ran = [one for one in each.call(noted) if one > 0]
        assert sorted(ran) == list(range(2, 2 * step + 2))
