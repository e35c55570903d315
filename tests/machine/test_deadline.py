"""No wait is for ever."""

from __future__ import annotations

import signal
import threading

import pytest

from poolwise.machine.deadline import deadline


def test_it_ends_a_wait() -> None:
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"), deadline(0.05):
        threading.Event().wait()


def test_it_leaves_no_alarm() -> None:
    handler, left = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]
    with deadline(30.0):
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= 30.0
    assert signal.getsignal(signal.SIGALRM) is handler
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) == (left > 0)


def test_the_outer_one_goes_on_after_the_inner_one() -> None:

    def after_another() -> None:
        with deadline(30.0):
            pass
        threading.Event().wait()

    with pytest.raises(TimeoutError, match=r"within 0\.1 s"), deadline(0.1):
        after_another()
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"), deadline(30.0), deadline(0.05):
        threading.Event().wait()
