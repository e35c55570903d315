"""Lock and RLock: like their twins in `threading`, between processes too, and robust."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import reduction, resource_sharer
from typing import Any

import channel_calls
import pytest
from channel_peer import DEADLINE, Peer, peers
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from _poolwise_worker.channels.memory import Memory
from poolwise import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    OwnerDied,
    RLock,
    Semaphore,
    TransferError,
)

BOTH = pytest.mark.parametrize("make", [Lock, RLock])
EVERY = [Lock, RLock, Semaphore, BoundedSemaphore, Event, Condition, lambda: Barrier(2)]
KINDS = pytest.mark.parametrize("kind", ["fork", "exec"])


@contextmanager
def running(target: Callable[..., object], *args: object) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=target, args=args)
    thread.start()
    yield thread
    thread.join(DEADLINE)
    assert not thread.is_alive()


@contextmanager
def interrupted_after(seconds: float) -> Iterator[list[float]]:
    """Send this process a SIGINT from outside; the list gets when."""
    sent: list[float] = []
    main = threading.get_ident()

    def send() -> None:
        time.sleep(seconds)
        sent.append(time.monotonic())
        signal.pthread_kill(main, signal.SIGINT)

    with running(send):
        yield sent


def answers_ctrl_c(wait: Callable[[], object]) -> None:
    """Check that `wait`, which would last, is interrupted within 100 ms in the usual case."""
    delays = []
    for _ in range(5):
        with interrupted_after(0.02) as sent:
            with pytest.raises(KeyboardInterrupt):
                wait()
            delays.append(time.monotonic() - sent[0])
    assert statistics.median(delays) < 0.1, delays


# ---- alone ---------------------------------------------------------------------------------------


class LockTwins(RuleBasedStateMachine):
    """The same operations on ours and on the standard library's, in one thread."""

    ours: Any
    theirs: Any

    def both(self, operation: Callable[[Any], object]) -> None:
        assert outcome(operation, self.ours) == outcome(operation, self.theirs)

    @rule()
    def acquire_at_once(self) -> None:
        self.both(lambda lock: lock.acquire(False))

    @rule()
    def acquire_keyword(self) -> None:
        self.both(lambda lock: lock.acquire(blocking=False, timeout=-1))

    @rule()
    def acquire_within(self) -> None:
        self.both(lambda lock: lock.acquire(timeout=0.001))

    @rule()
    def release(self) -> None:
        self.both(lambda lock: lock.release())

    @rule()
    def bad_timeout(self) -> None:
        self.both(lambda lock: lock.acquire(timeout=-2))
        self.both(lambda lock: lock.acquire(False, 1))
        self.both(lambda lock: lock.acquire(timeout="a"))

    @rule()
    def use_as_context(self) -> None:
        self.both(lambda lock: lock.acquire(False) and lock.release())


def outcome(operation: Callable[[Any], object], on: Any) -> object:
    try:
        return operation(on)
    except Exception as error:
        return type(error)


class Locks(LockTwins):
    def __init__(self) -> None:
        super().__init__()
        self.ours, self.theirs = Lock(), threading.Lock()

    @invariant()
    def are_alike(self) -> None:
        self.both(lambda lock: lock.locked())


class RLocks(LockTwins):
    def __init__(self) -> None:
        super().__init__()
        self.ours, self.theirs = RLock(), threading.RLock()

    @invariant()
    def are_alike(self) -> None:
        self.both(lambda lock: lock._is_owned())


Locks.TestCase.settings = RLocks.TestCase.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None
)
test_lock_is_like_its_twin = Locks.TestCase
test_rlock_is_like_its_twin = RLocks.TestCase


@BOTH
def test_another_thread_neither_acquires_nor_releases(make: Callable[[], Any]) -> None:
    lock = make()
    seen: list[object] = []

    def other() -> None:
        seen.append(lock.acquire(False))
        seen.append(lock.acquire(timeout=0.01))
        seen.append(outcome(lambda lock: lock.release(), lock))

    with lock, running(other):
        pass
    assert seen == [False, False, RuntimeError]
    assert not lock.locked()


def test_waiting_for_oneself_for_ever_is_refused() -> None:
    lock = Lock()
    with lock:
        with pytest.raises(RuntimeError, match="wait for itself"):
            lock.acquire()
        assert lock.locked()
        begin = time.monotonic()
        assert not lock.acquire(timeout=0.05)
        assert time.monotonic() - begin >= 0.05
    assert not lock.locked()


@BOTH
def test_a_release_by_who_does_not_hold_it_says_so(make: Callable[[], Any]) -> None:
    with pytest.raises(RuntimeError, match=f"{make.__name__} that this thread does not hold"):
        make().release()


@BOTH
@pytest.mark.parametrize("timeout", ["1", -3, float("nan"), True])
def test_a_bad_timeout_is_named(make: Callable[[], Any], timeout: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="timeout="):
        make().acquire(timeout=timeout)


@BOTH
def test_a_blocked_acquire_answers_ctrl_c(make: Callable[[], Any]) -> None:
    lock, held, end = make(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            end.wait(DEADLINE)

    with running(hold):
        held.wait(DEADLINE)
        answers_ctrl_c(lock.acquire)
        end.set()
    assert lock.acquire(timeout=DEADLINE)
    lock.release()


@BOTH
def test_ctrl_c_never_leaves_it_held(make: Callable[[], Any]) -> None:
    # Signals come at any moment, also between the lock being had and `acquire` returning.
    lock = make()
    main = threading.get_ident()
    until = time.monotonic() + 0.3

    def ring() -> None:
        while time.monotonic() < until:
            signal.pthread_kill(main, signal.SIGUSR1)
            time.sleep(0.0005)

    armed: list[bool] = []  # so that nothing is raised but where it is expected

    def interrupt(*_: object) -> None:
        if armed and time.monotonic() < until:
            armed.clear()
            raise LookupError

    before = signal.signal(signal.SIGUSR1, interrupt)
    with running(ring):
        while time.monotonic() < until:
            with suppress(RuntimeError):
                lock.release()  # of a signal between the two
            try:
                armed.append(True)
                while time.monotonic() < until:
                    lock.acquire()
                    lock.release()
            except LookupError:
                continue
    signal.signal(signal.SIGUSR1, before)
    with suppress(RuntimeError):
        lock.release()
    assert not lock.locked()


@BOTH
@pytest.mark.leaves("the mapping of a lock whose handle went while another thread held it")
def test_letting_go_of_a_held_lock_leaves_others_sound(make: Callable[[], Any]) -> None:
    # The C library keeps a list through the mutexes that a thread holds.
    first, second, third = make(), make(), make()
    with first:
        second.acquire()
        with third:
            del second
        for _ in range(3):
            make().acquire()

        def hold(lock: Any) -> None:
            lock.acquire()
            handed.append(lock)
            end.wait(DEADLINE)
            for _ in range(3):
                with make():
                    pass

        handed: list[Any] = []
        end = threading.Event()
        with running(hold, third):
            del third
            while not handed:
                time.sleep(0)
            handed.clear()
            end.set()
    assert not first.locked()


# ---- travelling ----------------------------------------------------------------------------------


@BOTH
@KINDS
def test_it_works_in_a_process_that_runs_already(make: Callable[[], Any], kind: str) -> None:
    with peers(kind) as (peer,):
        lock = make()
        with lock:
            assert peer.call(channel_calls.is_locked, lock)
            assert peer.call(channel_calls.acquire, lock, 0.01) == "timed out"
        assert peer.call(channel_calls.acquire, lock) == "acquired"


@BOTH
def test_it_is_shared_with_a_forked_process_from_birth(make: Callable[[], Any]) -> None:
    lock = make()
    lock.acquire()
    child = os.fork()
    if child == 0:
        os._exit(7 if not lock.acquire(timeout=0.01) else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    lock.release()
    child = os.fork()
    if child == 0:
        lock.acquire()
        lock.release()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.leaves("the fork server and the resource tracker of multiprocessing")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_process_of_multiprocessing_may_be_given_any(method: str) -> None:
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    every = [make() for make in EVERY]
    with ours, theirs:
        process = context.Process(target=channel_calls.report, args=(theirs, every))
        process.start()
        assert ours.poll(DEADLINE)
        assert ours.recv() == [type(each).__name__ for each in every]
        # And over the connection, when it is running.
        ours.send(every)
        assert ours.poll(DEADLINE)
        back = ours.recv()
        with back[0]:
            assert every[0].locked()
        ours.send(None)
        process.join(DEADLINE)
        assert process.exitcode == 0
        process.close()


@pytest.mark.parametrize("make", EVERY)
def test_a_pickle_that_nothing_carries_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(TransferError, match=r"cannot become plain bytes.*Pass it to a worker"):
        pickle.dumps(make())
    with pytest.raises(TransferError):
        copy.deepcopy(make())


def test_multiprocessing_may_be_imported_last() -> None:
    program = """
import os, poolwise, sys
lock = poolwise.Lock()
assert "multiprocessing" not in sys.modules
import multiprocessing
one, other = multiprocessing.Pipe()
if os.fork() == 0:
    with one.recv():
        one.send("locked")
        one.recv()
    os._exit(0)
other.send(lock)
assert other.recv() == "locked"
assert not lock.acquire(False)
other.send("go on")
assert lock.acquire(timeout=30)
"""
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("make", EVERY)
def test_it_leaves_no_descriptor(make: Callable[[], Any]) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with peers("fork") as (peer,):
        peer.call(channel_calls.pid_of, make(), make())
        assert peer.call(channel_calls.open_descriptors) == peer.call(
            channel_calls.open_descriptors
        )
    make()
    assert sorted(os.listdir("/proc/self/fd")) == before


# ---- contention and death ------------------------------------------------------------------------


@BOTH
def test_no_increment_is_lost(make: Callable[[], Any]) -> None:
    memory = Memory.of_size(4096)
    lock = make()
    with peers("fork", "fork", "exec") as some:
        counter = channel_calls.Shared(memory)
        for peer in some:
            peer.start(channel_calls.increment, lock, counter, 500, 2)
        channel_calls.increment(lock, counter, 500, 2)
        for peer in some:
            peer.result()
    assert memory.words[0] == 4 * 2 * 500


@BOTH
@KINDS
def test_who_waits_for_a_killed_holder_is_told(make: Callable[[], Any], kind: str) -> None:
    lock, held, asking = make(), Event(), Event()
    with peers(kind, "fork") as (holder, waiter):
        holder.start(channel_calls.hold, lock, held)
        assert held.wait(DEADLINE)
        waiter.start(channel_calls.say_then_acquire, lock, asking)
        assert asking.wait(DEADLINE)
        holder.kill()
        assert waiter.result() == "owner died"
        assert not lock.locked()
        with lock:
            assert waiter.call(channel_calls.acquire, lock, 0.01) == "timed out"


@BOTH
def test_if_nobody_waited_the_next_is_told(make: Callable[[], Any]) -> None:
    lock, held = make(), Event()
    with peers("fork") as (holder,):
        holder.start(channel_calls.hold, lock, held)
        assert held.wait(DEADLINE)
        holder.kill()
    for enter in (lock.acquire, lock.__enter__, lambda: lock.acquire(False)):
        with pytest.raises(OwnerDied, match=f"{make.__name__} is free again"):
            enter()
        with lock:
            assert lock.locked()
        with peers("fork") as (holder,):
            held.clear()
            holder.start(channel_calls.hold, lock, held)
            assert held.wait(DEADLINE)
            holder.kill()


@BOTH
def test_a_thread_that_ends_with_it_counts_as_dead(make: Callable[[], Any]) -> None:
    lock = make()
    with running(lock.acquire):
        pass
    with pytest.raises(OwnerDied):
        lock.acquire()
    with lock:
        pass


def test_all_who_wait_are_told() -> None:
    lock, held = Lock(), Event()
    with peers("fork", "fork", "fork", "exec") as (holder, *waiters):
        holder.start(channel_calls.hold, lock, held)
        assert held.wait(DEADLINE)
        asking = [Event() for _ in waiters]
        for waiter, event in zip(waiters, asking, strict=True):
            waiter.start(channel_calls.say_then_acquire, lock, event)
        for event in asking:
            assert event.wait(DEADLINE)
        for waiter in waiters:
            wait_until_asleep(waiter.pid)
        holder.kill()
        assert [waiter.result() for waiter in waiters] == ["owner died"] * 3


def wait_until_asleep(pid: int) -> None:
    """Return when the process sleeps in the kernel, on a futex."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        with open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == "S":
                return
        time.sleep(0.001)
    raise AssertionError(f"process {pid} does not sleep")


def test_a_pickle_of_multiprocessing_that_cannot_be_read_is_said_so() -> None:
    pickled = bytes(reduction.ForkingPickler.dumps(Lock()))
    try:
        assert not pickle.loads(pickled).locked()
        with pytest.raises(
            TransferError, match="can be read once, by a process of the same program"
        ):
            pickle.loads(pickled)
    finally:
        resource_sharer.stop()


@BOTH
def test_killing_at_any_moment_blocks_nobody(make: Callable[[], Any]) -> None:
    memory = Memory.of_size(4096)
    lock, inside = make(), channel_calls.Shared(memory)
    with peers("fork", "fork") as some:
        for number in range(8):
            for peer in some:
                peer.start(channel_calls.storm, lock, inside)
            time.sleep(0.003 * number)  # not to let things settle: the kill comes at any moment
            some.pop(0).kill()
            for _ in range(50):
                with suppress(OwnerDied):
                    assert lock.acquire(timeout=DEADLINE)
                    lock.release()
            some.pop().kill()
            some += [Peer("fork"), Peer("fork")]
    assert not inside[1], "two were inside at once"
