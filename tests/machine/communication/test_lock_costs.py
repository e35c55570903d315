"""Each kind of lock can be timed; one that cannot be had is a gap."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
from small_effort import TINY, value, why

from poolwise.machine import deadline
from poolwise.machine.communication import locks
from poolwise.machine.communication.locks import KINDS, Kind, Lock
from poolwise.machine.partner import Partner
from poolwise.timing.sample import Sample


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_each_kind_is_timed(kind: Kind) -> None:
    assert value(locks.alone(kind, TINY)) > 0
    assert value(locks.contended(kind, TINY)) > 0


def test_a_lock_that_is_never_let_go_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "PATIENCE", 0.1)
    lock, before = threading.Lock(), set(threading.enumerate())
    with lock:
        figure = locks.contended(replace(KINDS[0], make=lambda: lock), TINY)
        assert "did not come within 0.1 s" in why(figure)
    for rival in set(threading.enumerate()) - before:
        rival.join(30.0)


def test_a_lock_that_cannot_be_had_is_a_gap() -> None:
    def refuse() -> Lock:
        raise NotImplementedError("Linux only")

    kind = replace(KINDS[0], make=refuse)
    assert why(locks.alone(kind, TINY)) == "NotImplementedError: Linux only"
    assert why(locks.contended(kind, TINY)) == "NotImplementedError: Linux only"


def test_an_rlock_can_be_taken_again_and_a_lock_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    assert value(locks.reentered()) == 1.0
    monkeypatch.setattr(locks.threading, "RLock", locks.threading.Lock)
    assert value(locks.reentered()) == 0.0


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[-1]], ids=lambda kind: kind.name)
def test_each_reading_of_a_contended_lock_has_a_rival_of_its_own(
    monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    rivals: list[str] = []

    class Counted(Partner):
        def __init__(self, kind: Any, **parts: Any) -> None:
            rivals.append(kind)
            super().__init__(kind, **parts)

    monkeypatch.setattr(locks, "Partner", Counted)
    figure = locks.contended(kind, TINY)
    assert isinstance(figure, Sample)
    assert rivals == [kind.rival] * figure.count
    assert figure.count == TINY.least
