"""The switch interval is short inside, and what it was outside."""

from __future__ import annotations

import os
import sys

import pytest

from poolwise.timing import turns
from poolwise.timing.turns import QuickTurns


def test_the_interval_is_short_inside_and_the_users_again_outside() -> None:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(3e-3)
    try:
        with QuickTurns():
            with QuickTurns():
                assert sys.getswitchinterval() <= 6e-4
            assert sys.getswitchinterval() <= 6e-4
        assert sys.getswitchinterval() == pytest.approx(3e-3)
    finally:
        sys.setswitchinterval(usual)


def test_an_error_does_not_leave_it_short() -> None:
    usual = sys.getswitchinterval()
    with pytest.raises(ValueError, match="inside"), QuickTurns():
        raise ValueError("inside")
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_who_has_it_shorter_keeps_it() -> None:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with QuickTurns():
            assert sys.getswitchinterval() == pytest.approx(1e-5)
    finally:
        sys.setswitchinterval(usual)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_that_is_forked_inside_may_come_out() -> None:
    child = -1
    try:
        with QuickTurns():
            child = os.fork()
    finally:
        if child == 0:
            well = False
            try:
                with QuickTurns():
                    well = sys.getswitchinterval() <= 6e-4
                well = well and sys.getswitchinterval() > 1e-3
            finally:
                os._exit(0 if well else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_inside_has_the_users_interval_and_turns_of_its_own() -> None:
    usual = sys.getswitchinterval()
    with QuickTurns(), turns._lock:  # another thread may be just inside
        child = os.fork()
        if not child:
            well = sys.getswitchinterval() == usual
            with QuickTurns():
                well = well and sys.getswitchinterval() <= 6e-4
            os._exit(0 if well else 1)
    assert os.waitpid(child, 0)[1] == 0
