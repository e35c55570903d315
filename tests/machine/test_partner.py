"""A partner does as it is told, and is gone at the end, however that comes."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from typing import Any

import pytest

from poolwise import PipeEnd, Worker
from poolwise.ipc import Pipe
from poolwise.machine import deadline
from poolwise.machine.partner import Partner

BOTH = pytest.mark.parametrize("kind", ["thread", "process"])
DEADLINE = 30.0


def squared(count: int, told: object) -> int:
    return count**2


def failing(count: int, told: object) -> None:
    raise ValueError(count)


def until_told(count: int, told: Callable[[], bool]) -> str:
    while not told():
        pass
    return "told"


@BOTH
def test_it_plays_parts_one_after_the_other(kind: Any) -> None:
    with Partner(kind, squared=squared, failing=failing, until_told=until_told) as partner:
        partner.begin("squared", 7)
        assert partner.end() == 49
        partner.begin("until_told")
        assert partner.end() == "told"
        partner.begin("failing", 3)
        with pytest.raises(ValueError, match="3"):
            partner.end()
        partner.play("squared", 2)
        assert (partner.pid == os.getpid()) == (kind == "thread")


@BOTH
def test_it_is_gone_after_an_interrupt(kind: Any) -> None:
    event, partners, before = threading.Event(), [], set(threading.enumerate())

    def interrupted() -> None:
        with Partner(kind, wait=lambda *_: event.wait()) as partner:
            partners.append(partner.pid)
            partner.begin("wait")
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        event.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(DEADLINE)
    if kind == "process":
        with pytest.raises(ProcessLookupError):
            os.kill(partners[0], 0)


@BOTH
def test_who_cannot_be_started_leaves_nothing(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(ForkProcess, "start", refuse)
    with pytest.raises(BlockingIOError):
        Partner(kind, squared=squared)


def test_a_process_that_dies_is_noticed() -> None:
    with Partner("process", die=lambda *_: os._exit(3)) as partner:
        partner.begin("die")
        with pytest.raises((EOFError, ConnectionError)):
            partner.end()


def test_who_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "PATIENCE", 0.05)
    with Partner("process", stop=lambda *_: os.kill(os.getpid(), signal.SIGSTOP)) as partner:
        partner.begin("stop")
        with pytest.raises(TimeoutError):
            partner.end()


def hold(tell: PipeEnd) -> None:
    with Partner("process", wait=lambda *_: signal.pause()) as partner:
        partner.begin("wait")
        tell.send(partner.pid)
        signal.pause()


def test_it_dies_with_who_started_it() -> None:
    ours, theirs = Pipe()
    with ours, theirs:
        worker = Worker(hold, [theirs], mechanism="process")
        worker.start()
        partner = os.pidfd_open(ours.recv(DEADLINE))
        try:
            worker.kill()
            worker.join(DEADLINE)
            poll = select.poll()
            poll.register(partner, select.POLLIN)
            assert poll.poll(DEADLINE * 1000), "it lives on"
        finally:
            os.close(partner)
