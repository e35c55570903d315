"""One hook for what a forked process lets go of."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import pytest

import poolwise
from _poolwise_worker import forks


@pytest.fixture
def callbacks(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """The list of them: only a test's own."""
    mine: list[Callable[[], None]] = []
    monkeypatch.setattr(forks, "_callbacks", mine)
    return mine


def _said_by(fork: Callable[[], int], then: Callable[[], None], ours: int, theirs: int) -> bytes:
    """What is written to `theirs` in a child that `fork` makes, and that does `then`."""
    pid = fork()
    if not pid:
        try:
            then()
        finally:
            os._exit(0)
    os.close(theirs)
    os.waitpid(pid, 0)
    with open(ours, "rb") as file:
        return file.read()


def test_all_are_called_in_a_child_in_their_order_though_one_raises(
    callbacks: list[Callable[[], None]], capfd: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = os.pipe()
    forks.in_child(lambda: os.write(theirs, b"first ") and None)
    forks.in_child(lambda: 1 / 0)
    forks.in_child(lambda: os.write(theirs, b"last") and None)
    assert _said_by(os.fork, lambda: None, ours, theirs) == b"first last"
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_who_has_let_go_already_lets_go_of_nothing_but_its_children_do(
    callbacks: list[Callable[[], None]],
) -> None:
    ours, theirs = os.pipe()
    forks.in_child(lambda: os.write(theirs, str(os.getppid()).encode()) and None)
    children = []

    def fork_once_more() -> None:
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)

    def fork() -> int:
        pid = forks.fork_again()
        children.append(pid)
        return pid

    assert _said_by(fork, fork_once_more, ours, theirs) == str(children[0]).encode()


def _knows_its_threads(_: int) -> tuple[object, ...]:
    """In a worker: what `threading` says there, and in a child that a call forks beside threads."""
    held, go_on = threading.Lock(), threading.Event()
    beside = threading.Thread(target=go_on.wait)
    main = threading.main_thread()
    here = main is threading.current_thread(), main.native_id == threading.get_native_id()
    beside.start()
    ours, theirs = os.pipe()

    def then() -> None:
        also = threading.Thread(target=held.acquire)
        also.start()
        also.join()
        said = threading.active_count(), held.locked()
        os.write(theirs, repr(said).encode())

    said = _said_by(os.fork, then, ours, theirs)
    go_on.set()
    beside.join()
    return *here, threading.active_count(), said.decode()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="warns of a fork beside threads")
@pytest.mark.parametrize("start_method", [None, "fork", "forkserver"])
def test_workers_know_their_threads_and_so_do_their_children(start_method: str | None) -> None:
    run = poolwise.map(_knows_its_threads, range(4), plan="process:2", start_method=start_method)
    assert list(run) == [(True, True, 1, "(1, True)")] * 4


def test_where_there_is_no_hook_none_is_silenced(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    monkeypatch.delattr(threading, "_after_fork")
    assert _said_by(forks.fork_again, lambda: os.write(theirs, b"ran") and None, ours, theirs)


def _lets_go(_: int) -> tuple[bool, bool]:
    """In a worker: whether it takes itself for a server that forks, and whether its children do."""
    ours, theirs = os.pipe()
    before = len(forks._callbacks)
    forks.in_child(lambda: os.write(theirs, b"let go") and None)
    try:
        said = _said_by(os.fork, lambda: None, ours, theirs)
    finally:
        del forks._callbacks[before:]
    return forks._let_go_already, said == b"let go"


@pytest.mark.parametrize("start_method", ["fork", "forkserver"])
def test_what_a_call_forks_lets_go(start_method: str) -> None:
    run = poolwise.map(_lets_go, range(4), plan="process:2", start_method=start_method)
    assert list(run) == [(False, True)] * 4
