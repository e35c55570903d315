"""A real worker at the other end of its sockets, spoken to frame by frame."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from worker_calls import (
    Refusing,
    fail_on_odd,
    fork_and_return,
    hold_the_gil,
    inherited_by_programs,
    runs_in_main_thread,
    same,
    sleep_then_fail_on,
    wait_for,
)

from _poolwise_worker import transfer, wire
from _poolwise_worker.server import ENDED, REPLY, STARTED
from _poolwise_worker.worker import Runner
from poolwise.mechanisms import fork_server

DEADLINE = 20.0


class Peer:
    """The caller's side of one worker, by hand."""

    def __init__(self, threads: int = 1) -> None:
        self.channel = fork_server.open_channel()
        payload = fork_server.surroundings(threads)
        self.ends = fork_server.WorkerEnds(self.channel, 0, threads, payload)
        self.reader = wire.FrameReader(self.ends.data)
        self._batches = iter(range(1, 1 << 30))
        self._tasks: dict[Callable[..., Any], int] = {}
        self.write(wire.pack(wire.PRIME, 0))
        ready = self.frame()
        assert ready.kind == wire.READY
        self.pid = ready.key

    def write(self, data: bytes) -> None:
        self.ends.data.settimeout(DEADLINE)
        self.ends.data.sendall(data)
        self.ends.data.setblocking(False)

    def task(self, function: Callable[..., Any], pickled: bytes | None = None) -> int:
        if function not in self._tasks:
            self._tasks[function] = len(self._tasks) + 1
            pickled = transfer.dumps(function) if pickled is None else pickled
            self.write(wire.pack(wire.TASK, self._tasks[function], pickled))
        return self._tasks[function]

    def send(self, function: Callable[..., Any], *columns: list[Any]) -> int:
        batch, task = next(self._batches), self.task(function)
        payload = transfer.dumps(columns)
        self.write(wire.pack(wire.RUN, batch, payload, first=task, count=len(columns[0])))
        return batch

    def recall(self, batch: int) -> None:
        self.ends.control.send(wire.RECALL.pack(batch))

    def frame(self) -> wire.Frame:
        """The next frame that comes."""
        while (frame := self.reader.pop()) is None:
            assert not self.reader.closed, "the worker is gone"
            assert select.select([self.ends.data], [], [], DEADLINE)[0], "no frame came"
            self.reader.read()
        return frame

    def results(self, batch: int, count: int) -> list[Any]:
        """Take in the frames of a batch until all its calls have ended: values, errors, RETURNED.

        Frames of a batch come in order, and its returned calls are its last.
        """
        results: list[Any] = []
        returned = 0
        while len(results) + returned < count:
            frame = self.frame()
            assert frame.key == batch
            if frame.kind == wire.RETURNED:
                returned += frame.count
                continue
            assert frame.first == len(results)
            content = transfer.loads(frame.payload)
            values, raised = content if frame.kind == wire.MIXED else (content, {})
            for position, (pickled, _) in raised.items():
                values[position] = transfer.loads(pickled)
            assert len(values) == frame.count
            results += values
        return results + [wire.RETURNED] * returned

    def run(self, function: Callable[..., Any], *columns: list[Any]) -> list[Any]:
        return self.results(self.send(function, *columns), len(columns[0]))

    def exit_status(self) -> int:
        """Wait for the word of the server that the worker has ended."""
        data = b""
        while True:
            assert select.select([self.channel], [], [], DEADLINE)[0], "the worker lives on"
            data += self.channel.recv(REPLY.size - len(data) % REPLY.size)
            if len(data) % REPLY.size == 0:
                kind, _, value = REPLY.unpack(data[-REPLY.size :])
                if kind == ENDED:
                    return int(value)
                assert kind == STARTED

    def close(self) -> None:
        self.ends.close()
        self.channel.close()


@pytest.fixture(params=[1, 4], ids=["1 thread", "4 threads"])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    peer = Peer(request.param)
    yield peer
    peer.close()


@pytest.fixture
def single() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


def test_a_primed_worker_names_its_process(peer: Peer) -> None:
    assert peer.pid != os.getpid()
    assert peer.run(same, [1, "two"]) == [1, "two"]


def test_values_and_errors_come_back_in_order(peer: Peer) -> None:
    results = peer.run(fail_on_odd, list(range(1000)))
    for number, result in enumerate(results):
        if number % 2:
            assert isinstance(result, ValueError)
            assert result.args == (number,)
        else:
            assert result == number


def test_one_thread_is_the_main_thread(single: Peer) -> None:
    assert single.run(runs_in_main_thread, [0]) == [True]


def test_threads_of_one_worker_run_at_once(tmp_path: Path) -> None:
    peer = Peer(4)
    paths = [str(tmp_path / str(number)) for number in range(4)]
    for path in paths:
        os.mkfifo(path)
    batches = [peer.send(wait_for, [path]) for path in paths]
    # Opening for writing waits for the reader: each call has begun. Last first.
    for path, batch in reversed([*zip(paths, batches, strict=True)]):
        with open(path, "wb"):
            pass
        assert peer.results(batch, 1) == [path]
    peer.close()


def test_a_function_that_cannot_be_read_fails_each_call(peer: Peer) -> None:
    peer.task(fail_on_odd, transfer.dumps(Refusing()))
    for columns in [[1, 2, 3]], [[4]]:
        for result in peer.run(fail_on_odd, *columns):
            assert isinstance(result, transfer.Untransferable)
            assert "ValueError: refused" in str(result)
    assert peer.run(same, [1]) == [1]


def test_columns_that_cannot_be_read_are_asked_for_one_by_one(peer: Peer) -> None:
    batch = peer.send(same, [1, Refusing(), 3])
    frame = peer.frame()
    assert (frame.kind, frame.key) == (wire.UNREADABLE, batch)
    assert b"ValueError: refused" in bytes(frame.payload)
    calls = transfer.dumps([transfer.dumps((argument,)) for argument in (1, Refusing(), 3)])
    peer.write(wire.pack(wire.SINGLY, batch, calls, first=peer.task(same), count=3))
    first, second, third = peer.results(batch, 3)
    assert (first, third) == (1, 3)
    assert isinstance(second, transfer.Untransferable)


def test_a_running_batch_gives_back_its_rest(peer: Peer, tmp_path: Path) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    batch = peer.send(wait_for, [pipe] * 5)
    with open(pipe, "wb"):
        peer.recall(batch)
        frame = peer.frame()
        assert (frame.kind, frame.key, frame.count) == (wire.RETURNED, batch, 4)
    assert peer.results(batch, 1) == [pipe]


def test_a_waiting_batch_comes_back_whole(single: Peer, tmp_path: Path) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    running = single.send(wait_for, [pipe])
    waiting, kept = single.send(same, [1, 2, 3]), single.send(same, [4])
    with open(pipe, "wb"):
        single.recall(waiting)
        assert single.results(waiting, 3) == [wire.RETURNED] * 3
    assert single.results(running, 1) == [pipe]
    assert single.results(kept, 1) == [4]


def test_everything_can_be_recalled_at_once(peer: Peer, tmp_path: Path) -> None:
    pipes = [str(tmp_path / str(number)) for number in range(4)]
    for pipe in pipes:
        os.mkfifo(pipe)
    batches = {peer.send(wait_for, [pipe] * 3): pipe for pipe in pipes}
    with open(pipes[0], "wb"):  # the first runs
        peer.recall(wire.ALL)
        came = [peer.frame() for _ in pipes]
        assert {frame.kind for frame in came} == {wire.RETURNED}
        assert {frame.key for frame in came} == batches.keys()


@pytest.mark.parametrize("threads", [1, 4])
def test_a_recall_that_comes_too_late_changes_nothing(threads: int) -> None:
    # Neither may the batch after be given back in its place, nor may a runner that waits for the
    # socket miss a batch because the reporter has read it. The recall races with the end of its
    # batch here, and with the arrival of the next.
    peer = Peer(threads)
    peer.run(same, [0])
    for number in range(1000):
        ended = peer.send(same, [number])
        assert peer.results(ended, 1) == [number]
        peer.recall(ended)
        assert peer.run(same, [number, number]) == [number, number]
    peer.close()


def test_service_is_complete_however_often_it_is_asked_for(single: Peer) -> None:
    for _ in range(20):
        batch = single.send(sleep_then_fail_on, [0.002] * 3)
        single.recall(batch)
        service, ended, returned = 0.0, 0, 0
        while ended + returned < 3:
            frame = single.frame()
            if frame.kind == wire.RETURNED:
                returned += frame.count
            else:
                ended += frame.count
                service += frame.service
            single.recall(batch)
        assert service >= 0.002 * ended - 1e-6


class Kept:
    """An outbox that keeps frames."""

    def __init__(self) -> None:
        self.frames: list[wire.Frame] = []

    def send(self, frame: bytes) -> None:
        header = wire.HEADER.unpack_from(frame)
        self.frames.append(wire.Frame(*header[1:], frame[wire.HEADER.size :]))


def test_what_the_reporter_sends_takes_its_service_along() -> None:
    # The reporter comes while the second of two calls runs: the first is accounted for now, the
    # second when it ends, and nothing is lost or counted twice.
    outbox = Kept()
    marks = memoryview(bytearray(8)).cast("Q")
    runner = Runner(outbox, marks, 0)  # type: ignore[arg-type]
    entered, go_on = threading.Event(), threading.Event()

    def call(number: int) -> int:
        time.sleep(0.01)
        if number:
            entered.set()
            assert go_on.wait(DEADLINE)
        return number

    runner._strides[7] = 2  # both calls between two readings of the clock
    payload = transfer.dumps(([0, 1],))
    runner.accept(wire.Frame(wire.RUN, 1, 7, 2, 0.0, 0.0, payload), call)
    begin = time.perf_counter()
    thread = threading.Thread(target=runner.run)
    thread.start()
    assert entered.wait(DEADLINE)
    runner.flush(1)
    go_on.set()
    thread.join(DEADLINE)
    wall = time.perf_counter() - begin
    first, second = outbox.frames
    assert (first.first, first.count, second.first, second.count) == (0, 1, 1, 1)
    assert first.service >= 0.01
    assert 0.02 <= first.service + second.service <= wall
    assert marks[0] == wire.mark(1, 1)


def test_a_recall_between_two_batches_is_forgotten() -> None:
    outbox = Kept()
    runner = Runner(outbox, memoryview(bytearray(8)).cast("Q"), 0)  # type: ignore[arg-type]
    for batch in 1, 2:
        payload = transfer.dumps(([1, 2],))
        runner.accept(wire.Frame(wire.RUN, batch, 7, 2, 0.0, 0.0, payload), same)
        runner.run()
        runner.give_back(batch)  # ended, but nobody has said so yet
    assert [(frame.kind, frame.key) for frame in outbox.frames] == [(wire.DONE, 1), (wire.DONE, 2)]


def test_a_worker_ends_when_the_caller_has_nothing_more(peer: Peer) -> None:
    batch = peer.send(same, [1, 2, 3])
    peer.ends.data.shutdown(socket.SHUT_WR)
    assert peer.results(batch, 3) == [1, 2, 3]
    assert peer.exit_status() == 0


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "holding the GIL"])
def test_the_end_of_the_life_pipe_ends_the_worker(peer: Peer, busy: bool) -> None:
    if busy:
        peer.send(hold_the_gil, [0])
        wait_until_computing(peer.pid)
    begin = time.monotonic()
    peer.ends.end_life()
    peer.exit_status()
    assert time.monotonic() - begin < 2.0


def wait_until_computing(pid: int) -> None:
    """Wait until a process has used CPU time for a while: it is inside its call."""
    until = time.monotonic() + DEADLINE
    while int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) < 20:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_fault_in_the_loop_ends_the_worker(peer: Peer) -> None:
    # Whichever thread it hits: an end is noticed, a batch that nobody runs is not.
    peer.write(wire.pack(wire.RUN, 1, transfer.dumps(([1],)), first=99, count=1))
    assert os.waitstatus_to_exitcode(peer.exit_status()) == 1


def test_a_forked_child_that_returns_is_no_second_worker(peer: Peer) -> None:
    (child,) = peer.run(fork_and_return, [0])
    assert child > 0
    assert peer.run(same, [1]) == [1]


def test_programs_that_calls_start_inherit_nothing(peer: Peer) -> None:
    assert peer.run(inherited_by_programs, [0]) == [[]]


def test_a_payload_is_read_whole_although_a_signal_interrupts_it() -> None:
    # The server waits for the rest of a payload when one of its workers dies.
    import fcntl
    import termios

    other = Peer()
    channel = fork_server.open_channel()
    payload = fork_server.surroundings(1)
    half = len(payload) // 2

    class Interrupting:
        """A channel that lets a worker die in the middle of the payload."""

        def sendmsg(self, *arguments: Any) -> int:
            return channel.sendmsg(*arguments)

        def sendall(self, data: bytes) -> None:
            channel.sendall(data[:half])
            until = time.monotonic() + DEADLINE
            while fcntl.ioctl(channel, termios.TIOCOUTQ, b"\0\0\0\0") != b"\0\0\0\0":
                assert time.monotonic() < until
                time.sleep(0.001)
            died = os.pidfd_open(other.pid)
            other.ends.end_life()
            assert select.select([died], [], [], DEADLINE)[0]
            os.close(died)
            channel.sendall(data[half:])

    ends = fork_server.WorkerEnds(Interrupting(), 5, 1, payload)  # type: ignore[arg-type]
    kind, number, pid = REPLY.unpack(channel.recv(REPLY.size))
    assert (kind, number) == (STARTED, 5)
    assert pid > 0
    assert other.exit_status() == 9
    ends.close()
    channel.close()
    other.close()
