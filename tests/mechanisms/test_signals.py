"""Signals are put off, and never for longer than that."""

from __future__ import annotations

import signal
from collections.abc import Iterable

import pytest

from poolwise.mechanisms import signals
from poolwise.mechanisms.signals import no_signals


def mask() -> set[int | signal.Signals]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def test_what_comes_meanwhile_is_handled_after_it() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: came.append(number))
    try:
        with no_signals():
            signal.raise_signal(signal.SIGUSR1)
            assert not came
        assert came == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_handler_that_raises_as_signals_are_put_off_leaves_none_of_them_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a signal that came just before: Python runs the handlers of such in this very call."""
    real, usual = signal.pthread_sigmask, mask()

    def set_mask(how: int, numbers: Iterable[int]) -> set[int | signal.Signals]:
        old = set(real(how, numbers))
        if how == signal.SIG_BLOCK and numbers:
            raise KeyboardInterrupt
        return old

    monkeypatch.setattr(signals, "pthread_sigmask", set_mask)
    with pytest.raises(KeyboardInterrupt), no_signals():
        pytest.fail("nothing begins")
    assert mask() == usual
