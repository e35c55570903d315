"""The one place where an owner waits: nothing posted is lost, and no wait is left asleep."""

from __future__ import annotations

import errno
import os
import select
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import pytest

from interruption import ends_by_a_signal
from poolwise.ipc import Inbox
from programs import run

#: What is waited for comes within this, or never.
DEADLINE = 20.0

#: An inbox waits in two ways: on its queue alone, and on descriptors too.
WATCHING = pytest.mark.parametrize("watching", [False, True], ids=["queue", "descriptors"])


@contextmanager
def opened(watching: bool) -> Iterator[Inbox]:
    """An inbox; one that watches has a pipe that never has anything to say."""
    with closing(Inbox()) as inbox:
        if not watching:
            yield inbox
            return
        read, write = os.pipe()
        inbox.watch(read, select.POLLIN, pytest.fail)
        yield inbox
        inbox.unwatch(read)
        os.close(read)
        os.close(write)


def wait_until(inbox: Inbox, condition: Callable[[], object]) -> None:
    until = time.monotonic() + DEADLINE
    while not condition():
        left = until - time.monotonic()
        assert left > 0, "waited in vain"
        inbox.wait(left)


def in_threads(count: int, target: Callable[[int], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=target, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()


@WATCHING
def test_actions_run_in_the_owners_thread_in_the_order_of_each_poster(watching: bool) -> None:
    heard: list[tuple[int, int, int]] = []

    def hear(number: int, index: int) -> None:
        heard.append((number, index, threading.get_ident()))

    with opened(watching) as inbox:

        def post(number: int) -> None:
            for index in range(500):
                inbox.post(partial(hear, number, index))

        threads = in_threads(8, post)
        wait_until(inbox, lambda: len(heard) == 8 * 500)
        join(threads)
    assert {owner for _, _, owner in heard} == {threading.get_ident()}
    for number in range(8):
        assert [index for who, index, _ in heard if who == number] == list(range(500))


@WATCHING
def test_no_wake_up_is_lost(watching: bool) -> None:
    # One that is lost costs the whole deadline, because nobody else wakes the owner.
    turns = 3000
    begin = time.monotonic()
    with opened(watching) as inbox:
        balls = threading.Semaphore(0)
        heard = 0

        def hear() -> None:
            nonlocal heard
            heard += 1

        def play(_: int) -> None:
            for _ in range(turns):
                assert balls.acquire(timeout=DEADLINE)
                inbox.post(hear)

        threads = in_threads(1, play)
        for turn in range(turns):
            balls.release()
            while heard == turn:
                assert inbox.wait(DEADLINE), f"turn {turn} was lost"
        join(threads)
    assert heard == turns
    assert time.monotonic() - begin < DEADLINE / 2


def test_descriptors_and_posts_wake_the_same_wait() -> None:
    heard = {"pipe": 0, "post": 0}
    with closing(Inbox()) as inbox:
        read, write = os.pipe()

        def read_one() -> None:
            os.read(read, 1)
            heard["pipe"] += 1

        def hear() -> None:
            heard["post"] += 1

        inbox.watch(read, select.POLLIN, read_one)
        threads = in_threads(2, lambda _: [inbox.post(hear) for _ in range(1000)])
        threads += in_threads(2, lambda _: [os.write(write, b".") for _ in range(1000)])
        wait_until(inbox, lambda: heard == {"pipe": 2000, "post": 2000})
        join(threads)
        inbox.unwatch(read)
        os.close(read)
        os.close(write)


def test_a_watch_can_be_replaced_and_ended() -> None:
    heard: list[str] = []
    with closing(Inbox()) as inbox:
        read, write = os.pipe()
        inbox.watch(read, select.POLLIN, lambda: heard.append("first"))
        inbox.watch(read, select.POLLIN, lambda: heard.append("second"))
        os.write(write, b".")
        assert inbox.wait(DEADLINE)
        assert heard == ["second"]
        inbox.unwatch(read)
        inbox.unwatch(read)  # harmless
        assert not inbox.wait(0)
        assert heard == ["second"]
        os.close(read)
        os.close(write)


def test_a_watch_that_could_not_be_set_up_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_pipe() -> tuple[int, int]:
        raise OSError(errno.EMFILE, "no descriptor is left")

    with closing(Inbox()) as inbox:
        read, write = os.pipe()
        monkeypatch.setattr(os, "pipe", no_pipe)
        with pytest.raises(OSError, match="no descriptor"):
            inbox.watch(read, select.POLLIN, pytest.fail)
        monkeypatch.undo()
        inbox.watch(read, select.POLLIN, pytest.fail)
        heard: list[int] = []

        def post(number: int) -> None:
            while not inbox._in_poll:  # so the owner has to be woken
                time.sleep(0)
            inbox.post(lambda: heard.append(number))

        begin = time.monotonic()
        threads = in_threads(1, post)
        wait_until(inbox, lambda: heard == [0])
        assert time.monotonic() - begin < DEADLINE / 2
        join(threads)
        inbox.unwatch(read)
        os.close(read)
        os.close(write)


def test_an_action_may_unwatch_what_is_ready_too() -> None:
    heard: list[int] = []
    with closing(Inbox()) as inbox:
        pipes = [os.pipe() for _ in range(5)]

        def hear_alone(number: int) -> None:
            heard.append(number)
            for read, write in pipes:
                inbox.unwatch(read)
                os.close(read)
                os.close(write)

        for number, (read, write) in enumerate(pipes):
            os.write(write, b".")
            inbox.watch(read, select.POLLIN, partial(hear_alone, number))
        assert inbox.wait(DEADLINE)
        assert not inbox.wait(0)
    assert len(heard) == 1


def test_an_action_may_close_the_inbox() -> None:
    inbox = Inbox()
    pipes = [os.pipe() for _ in range(2)]
    heard = []

    def close() -> None:
        heard.append(1)
        inbox.close()

    for read, write in pipes:
        os.write(write, b".")
        inbox.watch(read, select.POLLIN, close)
    assert inbox.wait(DEADLINE)
    assert heard == [1]
    for pipe in pipes:
        for end in pipe:
            os.close(end)


@WATCHING
@pytest.mark.parametrize("timeout", [0, -1.0, 0.01])
def test_a_wait_ends_when_its_time_is_over(watching: bool, timeout: float) -> None:
    with opened(watching) as inbox:
        begin = time.monotonic()
        assert not inbox.wait(timeout)
        assert time.monotonic() - begin >= timeout


@WATCHING
def test_what_is_there_is_acted_on_without_waiting(watching: bool) -> None:
    heard: list[int] = []
    with opened(watching) as inbox:
        for number in range(3):
            inbox.post(partial(heard.append, number))
        assert inbox.wait(None)
        assert heard == [0, 1, 2]
        assert not inbox.wait(0)


@WATCHING
def test_posters_that_post_for_ever_do_not_keep_the_owner(watching: bool) -> None:
    with opened(watching) as inbox:

        def post_again() -> None:
            inbox.post(post_again)

        inbox.post(post_again)
        for _ in range(3):
            assert inbox.wait(DEADLINE)


@WATCHING
def test_an_error_in_an_action_is_the_owners_and_the_rest_is_kept(watching: bool) -> None:
    heard: list[str] = []

    def fail() -> None:
        raise LookupError("mine")

    with opened(watching) as inbox:
        inbox.post(fail)
        inbox.post(lambda: heard.append("rest"))
        with pytest.raises(LookupError, match="mine"):
            inbox.wait(DEADLINE)
        assert inbox.wait(DEADLINE)
    assert heard == ["rest"]


class Interrupted(Exception):
    pass


def is_in_wait(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code is not Inbox.wait.__code__:
        frame = frame.f_back
    return frame is not None


@contextmanager
def signals(handler: Callable[[FrameType | None], object]) -> Iterator[None]:
    """Within the block, a signal comes every few milliseconds.

    Not once: it could come before the wait has begun.
    """
    done = threading.Event()
    main = threading.get_ident()

    def ring(_: int) -> None:
        while not done.wait(0.005):
            signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda _, frame: handler(frame))
    ringing = in_threads(1, ring)
    try:
        yield
    finally:
        done.set()
        join(ringing)
        signal.signal(signal.SIGUSR1, before)


@WATCHING
def test_a_wait_for_ever_is_interrupted_by_a_handler_that_raises(watching: bool) -> None:
    interrupted = False

    def interrupt(frame: FrameType | None) -> None:
        nonlocal interrupted
        if not interrupted and is_in_wait(frame):
            interrupted = True
            raise Interrupted

    with opened(watching) as inbox:
        with signals(interrupt), pytest.raises(Interrupted):
            inbox.wait(None)
        # And it goes on working.
        heard: list[int] = []
        threads = in_threads(1, lambda number: inbox.post(lambda: heard.append(number)))
        wait_until(inbox, lambda: heard == [0])
        join(threads)


@WATCHING
def test_a_wait_for_ever_is_interrupted_by_a_signal_that_another_thread_was_given(
    watching: bool,
) -> None:
    with opened(watching) as inbox:
        assert ends_by_a_signal(
            lambda: inbox.wait(None), Inbox.wait.__code__, lambda: inbox.post(lambda: None)
        )


@WATCHING
def test_a_handler_may_post_while_its_thread_waits(watching: bool) -> None:
    heard: list[int] = []
    with opened(watching) as inbox:

        def post(frame: FrameType | None) -> None:
            if is_in_wait(frame):
                inbox.post(lambda: heard.append(1))

        with signals(post):
            for _ in range(3):
                assert inbox.wait(DEADLINE)
    assert len(heard) >= 3


def test_a_handler_may_post_while_its_thread_posts() -> None:
    with opened(watching=True) as inbox:
        posted = heard = 0

        def hear() -> None:
            nonlocal heard
            heard += 1

        def post(frame: FrameType | None) -> None:
            nonlocal posted
            posted += 1
            inbox.post(hear)

        with signals(post):
            until = time.monotonic() + 0.2
            own = 0
            while time.monotonic() < until:
                inbox.post(hear)
                own += 1
                inbox.wait(0)
        wait_until(inbox, lambda: heard == own + posted)


@WATCHING
def test_posting_to_a_closed_inbox_is_harmless(watching: bool) -> None:
    with opened(watching) as inbox:
        pass
    inbox.post(pytest.fail)
    inbox.close()


def test_a_bell_is_not_closed_while_it_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its descriptor could be something else by the time that the poster writes to it.
    ringing, go_on = threading.Event(), threading.Event()
    rung: list[int] = []
    write = os.write

    def write_slowly(descriptor: int, data: bytes) -> int:
        ringing.set()
        assert go_on.wait(DEADLINE)
        rung.append(write(descriptor, data))
        return rung[-1]

    with opened(watching=True) as inbox:

        def post(_: int) -> None:
            while not ringing.is_set():
                if inbox._in_poll:  # the owner waits, so it is rung for
                    inbox.post(int)

        monkeypatch.setattr(os, "write", write_slowly)
        threads = in_threads(1, post)
        while not ringing.is_set():
            inbox.wait(0.01)
        # A process that is forked now has no such poster, and need not wait for it.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads beside a fork
            child = os.fork()
        if child == 0:
            inbox.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        threads += in_threads(1, lambda _: go_on.set())
        inbox.close()
        assert rung == [1]
        join(threads)


def test_a_forked_child_that_lets_go_leaves_the_parent_watching() -> None:
    heard: list[bytes] = []
    with closing(Inbox()) as inbox:
        read, write = os.pipe()
        inbox.watch(read, select.POLLIN, lambda: heard.append(os.read(read, 1)))
        child = os.fork()
        if child == 0:
            inbox.unwatch(read)
            inbox.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        os.write(write, b".")
        wait_until(inbox, lambda: heard == [b"."])
        inbox.unwatch(read)
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("count", [1, 300])
def test_an_owner_who_expects_something_hears_what_comes(count: int) -> None:
    """Each thing comes when the one before was heard: soon, mostly while it is looked for."""
    heard: list[int] = []
    turn = threading.Semaphore(0)
    with opened(True) as inbox:

        def post(number: int) -> None:
            for each in range(count):
                inbox.post(partial(heard.append, each))
                assert turn.acquire(timeout=DEADLINE)

        threads = in_threads(1, post)
        for each in range(count):
            until = time.monotonic() + DEADLINE
            while len(heard) == each:
                assert time.monotonic() < until, "waited in vain"
                inbox.wait(DEADLINE, expecting=os.getpid())
            turn.release()
        join(threads)
    assert heard == list(range(count))


def test_an_owner_who_expects_something_hears_descriptors() -> None:
    read, write = os.pipe()
    came: list[bytes] = []
    with closing(Inbox()) as inbox:
        inbox.watch(read, select.POLLIN, lambda: came.append(os.read(read, 1)))

        def ring(number: int) -> None:
            for _ in range(100):
                os.write(write, b"x")

        threads = in_threads(1, ring)
        until = time.monotonic() + DEADLINE
        while len(came) < 100:
            assert time.monotonic() < until, "waited in vain"
            inbox.wait(DEADLINE, expecting=os.getpid())
        join(threads)
        assert not inbox.wait(0, expecting=os.getpid())
        assert not inbox.wait(1e-3, expecting=os.getpid())
        inbox.unwatch(read)
    os.close(read)
    os.close(write)


class Looks:
    """In the place of a spinner: says what it sees, and keeps what it is told."""

    def __init__(self, ready: list[tuple[int, int]]) -> None:
        self.looks, self.told = 0, list[tuple[float, int]]()
        self._ready = ready

    def look(self, poll: select.poll) -> list[tuple[int, int]]:
        self.looks += 1
        return self._ready or poll.poll(0)

    def note(self, seconds: float, process: int) -> None:
        self.told.append((seconds, process))


def test_who_expects_something_looks_before_it_sleeps() -> None:
    read, write = os.pipe()
    came: list[bytes] = []
    with closing(Inbox()) as inbox:
        inbox.watch(read, select.POLLIN, lambda: came.append(os.read(read, 1)))
        spinner = Looks([(read, select.POLLIN)])
        inbox._spinner = spinner  # type: ignore[assignment]
        os.write(write, b"xxx")
        assert inbox.wait(DEADLINE, expecting=7)
        assert (spinner.looks, len(came), [process for _, process in spinner.told]) == (1, 1, [7])
        assert inbox.wait(DEADLINE)  # who expects nothing does not
        assert inbox.wait(0, expecting=7)  # nor who does not wait
        assert (spinner.looks, len(came)) == (1, 3)
        inbox.unwatch(read)
    os.close(read)
    os.close(write)


def test_what_is_let_go_of_at_the_end_waits_for_no_thread_that_was_stopped(tmp_path: Path) -> None:
    """Such a thread may have been about to ring a bell."""
    program = """
import threading, time
from poolwise.ipc import inbox

# As it is held by a thread that is not there any more. No other function than those of modules: a
# call under way would keep what is here.
thread = threading.Thread(target=inbox._ringing.acquire)
thread.start()
thread.join()
reading = poolwise.map(time.sleep, [0.01] * 1000, plan="thread:2")
next(reading)
"""
    run(tmp_path, program)
