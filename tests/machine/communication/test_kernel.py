"""System calls and objects are counted, not known."""

from __future__ import annotations

import mmap
import os
import sys
from dataclasses import replace
from typing import Any

import pytest
from small_effort import value, why

from poolwise.machine.communication import kernel
from poolwise.machine.communication.channels import CHANNELS, Channel, Ends

NAMES = {channel.name: channel for channel in CHANNELS}


class End:
    """An end that asks the kernel so often for each message it sends."""

    def __init__(self, calls: int, *held: Any) -> None:
        self._calls = calls
        self._held = held

    def send(self, message: bytes) -> None:
        for _ in range(self._calls):
            os.getppid()

    def receive(self) -> bytes:
        return b"\1"

    def close(self) -> None:
        for each in self._held:
            os.close(each) if isinstance(each, int) else each.close()


def channel(calls: int, *, pipes: int = 0, mappings: int = 0, one_ways: int = 1) -> Channel:
    def opened(largest: int) -> Ends:
        ends = [end for _ in range(pipes) for end in os.pipe()]
        return Ends(End(calls, *ends, *(mmap.mmap(-1, 1) for _ in range(mappings))), End(0))

    return Channel("", "process", opened, one_ways)


@pytest.mark.parametrize("calls", [0, 1, 5])
def test_system_calls_are_counted(calls: int) -> None:
    figure = kernel.system_calls(channel(calls), 2)
    assert figure.values == (calls, calls)  # type: ignore[union-attr]


def test_calls_of_other_threads_count_too() -> None:
    # A thread writes; two reads. Now and then one of the threads has to wait for the GIL, which are
    # calls, too, in the count of many messages or in that of the few that is taken off.
    assert value(kernel.system_calls(NAMES["mp.Queue"], 9)) >= 3


@pytest.mark.parametrize("name", ["variable", "SimpleQueue"])
def test_threads_need_nothing_of_the_kernel(name: str) -> None:
    assert value(kernel.system_calls(NAMES[name], 1)) == 0
    assert value(kernel.objects(NAMES[name])) == 0


def test_who_is_not_traced_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        def ptrace(*_: int) -> None:
            raise PermissionError("ptrace")

        return ptrace

    monkeypatch.setattr(kernel, "_ptrace", refuse)
    assert "does not let a process be traced" in why(kernel.system_calls(channel(1), 1))


def test_other_systems_are_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux only" in why(kernel.system_calls(channel(1), 1))


def test_objects_are_counted_for_one_way() -> None:
    assert value(kernel.objects(channel(0, pipes=1, mappings=2))) == 4
    assert value(kernel.objects(channel(0, pipes=2, mappings=2, one_ways=2))) == 3


def test_what_is_made_at_a_fork_counts() -> None:
    assert value(kernel.objects(NAMES["Queue"])) > 0


def test_what_cannot_be_opened_is_a_gap() -> None:
    def refuse(largest: int) -> Ends:
        raise OSError("none left")

    refused = replace(NAMES["mp.Pipe"], open=refuse)
    assert "none left" in why(kernel.objects(refused))
    assert "none left" in why(kernel.system_calls(refused, 1))


def test_what_differs_is_counted_again_and_what_does_not_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    messages = kernel._BEFORE + kernel._MESSAGES
    counts = iter([20, 4, 36, 4, 52, 4, *[20, 4] * 9])
    asked: list[int] = []

    def count(_: Channel, number: int) -> float:
        asked.append(number)
        return next(counts)

    monkeypatch.setattr(kernel, "_count", count)
    assert kernel._counts(channel(0), 3) == [1.0, 2.0, 3.0]
    assert kernel._counts(channel(0), 9) == [1.0, 1.0]
    assert asked == [messages, kernel._BEFORE] * 5
