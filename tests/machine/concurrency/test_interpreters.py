"""Interpreters perform what they are told, each with its own GIL; before 3.14 there are none."""

from __future__ import annotations

import sys

import pytest

from poolwise.machine.concurrency.interpreters import Interpreters
from poolwise.timing.repeat import Unmeasurable

HERE = sys.version_info >= (3, 14)
NEEDS = pytest.mark.skipif(not HERE, reason="needs Python 3.14")


@pytest.mark.skipif(HERE, reason="of older Pythons")
def test_there_are_none() -> None:
    with pytest.raises(Unmeasurable, match=r"3\.14"):
        Interpreters(1)


@NEEDS
def test_they_answer_in_order_and_are_gone() -> None:
    from concurrent import interpreters

    before = len(interpreters.list_all())
    workers = Interpreters(2)
    try:
        assert len(interpreters.list_all()) == before + 2
        long, short = workers.calls([("waits", 0.02), ("waits", 0.0)])
        assert long[1] - long[0] >= 0.02 > short[1] - short[0]
        begin, end, cpu = workers.calls([("memory bandwidth", 1.0)])[0]
        assert begin <= end
        assert cpu >= 0
        assert workers.calls([("trace", 0.001)])[0]
    finally:
        workers.close()
    assert len(interpreters.list_all()) == before


@NEEDS
def test_what_one_raises_is_raised() -> None:
    workers = Interpreters(1)
    try:
        with pytest.raises(Exception, match="no such kind"):
            workers.calls([("no such kind", 1.0)])
    finally:
        workers.close()


@NEEDS
def test_there_are_not_too_many() -> None:
    with pytest.raises(Unmeasurable, match="1000 interpreters"):
        Interpreters(1000)
