"""A real worker at the other end of its sockets, spoken to frame by frame."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from peer import DEADLINE, Peer
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

from _poolwise_worker import runner as runner_module
from _poolwise_worker import transfer, wire
from _poolwise_worker.exchange import Exchange
from _poolwise_worker.outbox import Outbox
from _poolwise_worker.runner import Runner


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


@pytest.mark.fault
def test_a_function_that_cannot_be_read_fails_each_call(peer: Peer) -> None:
    peer.task(fail_on_odd, transfer.dumps(Refusing()))
    for columns in [[1, 2, 3]], [[4]]:
        for result in peer.run(fail_on_odd, *columns):
            assert isinstance(result, transfer.Untransferable)
            assert "ValueError: refused" in str(result)
    assert peer.run(same, [1]) == [1]


@pytest.mark.fault
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


class Kept(Outbox):
    """Keeps frames."""

    def __init__(self) -> None:
        self.frames: list[wire.Frame] = []

    def send(self, frame: bytes, descriptors: Sequence[int] = ()) -> None:
        header = wire.HEADER.unpack_from(frame)
        self.frames.append(wire.Frame(*header[1:2], *header[3:], frame[wire.HEADER.size :], []))


def no_exchange() -> Exchange:
    return Exchange(transfer.TO_CALLER, lambda: 0, os.close)


def test_what_the_reporter_sends_takes_its_service_along() -> None:
    # The reporter comes while the second of two calls runs: the first is accounted for now, the
    # second when it ends, and nothing is lost or counted twice.
    outbox = Kept()
    marks = memoryview(bytearray(8)).cast("Q")
    runner = Runner(outbox, no_exchange(), marks, 0)
    entered, go_on = threading.Event(), threading.Event()

    def call(number: int) -> int:
        time.sleep(0.01)
        if number:
            entered.set()
            assert go_on.wait(DEADLINE)
        return number

    runner._strides[7] = 2  # both calls between two readings of the clock
    payload = transfer.dumps(([0, 1],))
    runner.accept(wire.Frame(wire.RUN, 1, 7, 2, 0.0, 0.0, payload, []), call, False)
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


@pytest.mark.parametrize(
    ("lasts", "together"),
    [(2e-3, 1), (1.1e-3, 1), (0.9e-3, 9), (0.3e-3, 27), (0.21e-3, 39), (0.051e-3, 157)],
)
def test_outcomes_of_long_calls_go_at_once_and_those_of_short_ones_gather_for_a_batch(
    lasts: float, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def call(number: int) -> int:
        nonlocal now
        now += lasts
        return number

    monkeypatch.setattr(runner_module, "perf_counter", lambda: now)
    outbox = Kept()
    runner = Runner(outbox, no_exchange(), memoryview(bytearray(8)).cast("Q"), 0)
    payload = transfer.dumps((list(range(160)),))
    runner.accept(wire.Frame(wire.RUN, 1, 7, 160, 0.0, 0.0, payload, []), call, False)
    runner.run()
    counts = [frame.count for frame in outbox.frames]
    assert sum(counts) == 160
    assert set(counts[:-1]) == {together}, counts


def test_service_is_that_of_calls_alone_however_long_sending_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0

    class Slow(Kept):
        def send(self, frame: bytes, descriptors: Sequence[int] = ()) -> None:
            nonlocal now
            now += 0.5
            super().send(frame, descriptors)

    def call(number: float) -> float:
        nonlocal now
        now += number
        return number

    monkeypatch.setattr(runner_module, "perf_counter", lambda: now)
    monkeypatch.setattr(runner_module, "thread_time", lambda: now / 2)
    outbox, lengths = Slow(), [1e-5] * 100 + [3e-3] * 3 + [1e-4] * 50
    runner = Runner(outbox, no_exchange(), memoryview(bytearray(8)).cast("Q"), 0)
    payload = transfer.dumps((lengths,))
    runner.accept(wire.Frame(wire.RUN, 1, 7, len(lengths), 0.0, 0.0, payload, []), call, False)
    runner.run()
    assert sum(frame.count for frame in outbox.frames) == len(lengths)
    assert sum(frame.service for frame in outbox.frames) == pytest.approx(sum(lengths))
    assert sum(frame.cpu for frame in outbox.frames) == pytest.approx(sum(lengths) / 2)
    assert [frame.count for frame in outbox.frames] == [103, 50]


def test_a_recall_between_two_batches_is_forgotten() -> None:
    outbox = Kept()
    marks = memoryview(bytearray(8)).cast("Q")
    runner = Runner(outbox, no_exchange(), marks, 0)
    for batch in 1, 2:
        payload = transfer.dumps(([1, 2],))
        runner.accept(wire.Frame(wire.RUN, batch, 7, 2, 0.0, 0.0, payload, []), same, False)
        runner.run()
        runner.give_back(batch)  # ended, but nobody has said so yet
    ended = [0, 0, 0]
    for frame in outbox.frames:
        assert frame.kind == wire.DONE
        ended[frame.key] += frame.count
    assert ended == [0, 2, 2]


def test_of_what_is_wanted_back_before_it_is_read_one_call_runs() -> None:
    outbox = Kept()
    runner = Runner(outbox, no_exchange(), memoryview(bytearray(8)).cast("Q"), 0)
    payload = transfer.dumps(([1, 2, 3],))
    runner.accept(wire.Frame(wire.RUN, 1, 7, 3, 0.0, 0.0, payload, []), same, True)
    runner.run()
    assert {(frame.kind, frame.count) for frame in outbox.frames} == {
        (wire.DONE, 1),
        (wire.RETURNED, 2),
    }


def test_a_second_recall_as_soon_as_a_batch_is_read_leaves_the_one_call() -> None:
    outbox = Kept()
    runner = Runner(outbox, no_exchange(), memoryview(bytearray(8)).cast("Q"), 0)

    class Lock:
        """Has the reporter come when it is let go for the first time after the batch was read."""

        def __init__(self) -> None:
            self._lock, self._come = threading.Lock(), False

        def __enter__(self) -> None:
            self._lock.acquire()

        def __exit__(self, *raised: object) -> None:
            self._lock.release()
            if runner._loaded and not self._come:
                self._come = True
                runner.give_back(1)

    runner._lock = Lock()  # type: ignore[assignment]
    payload = transfer.dumps(([1, 2, 3],))
    runner.accept(wire.Frame(wire.RUN, 1, 7, 3, 0.0, 0.0, payload, []), same, True)
    runner.run()
    assert {(frame.kind, frame.count) for frame in outbox.frames} == {
        (wire.DONE, 1),
        (wire.RETURNED, 2),
    }


@pytest.mark.fault
def test_a_worker_ends_when_the_caller_has_nothing_more(peer: Peer) -> None:
    batch = peer.send(same, [1, 2, 3])
    peer.ends.data.shutdown(socket.SHUT_WR)
    assert peer.results(batch, 3) == [1, 2, 3]
    assert peer.exit_status() == 0


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "holding the GIL"])
@pytest.mark.fault
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
    while int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) < 5:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("busy", range(4))
@pytest.mark.fault
def test_a_fault_in_the_loop_ends_the_worker(busy: int, tmp_path: Path) -> None:
    # Whichever thread it hits: an end is noticed, a batch that nobody runs is not.
    peer = Peer(4)
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    for _ in range(busy):
        peer.send(wait_for, [pipe])
    peer.write(wire.pack(wire.RUN, 1000, transfer.dumps(([1],)), first=99, count=1))
    assert os.waitstatus_to_exitcode(peer.exit_status()) == 1
    peer.close()


@pytest.mark.fault
def test_a_forked_child_that_returns_is_no_second_worker(peer: Peer) -> None:
    (child,) = peer.run(fork_and_return, [0])
    assert child > 0
    assert peer.run(same, [1]) == [1]


@pytest.mark.fault
def test_programs_that_calls_start_inherit_nothing(peer: Peer) -> None:
    assert peer.run(inherited_by_programs, [0]) == [[]]
