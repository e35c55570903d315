"""Messages there and back, one way, and what becomes of a channel that does not carry them."""

from __future__ import annotations

import itertools
import os
import signal
from dataclasses import replace
from typing import Any

import pytest
from small_effort import TINY, value, why

from poolwise.machine import deadline
from poolwise.machine.communication import channels, messages
from poolwise.machine.communication.channels import CHANNELS, Channel, Ends
from poolwise.machine.communication.messages import SIZES, carry, sizes_for
from poolwise.machine.facts import read_facts
from poolwise.timing.clock import SystemClock
from poolwise.timing.repeat import NORMAL, QUICK
from poolwise.timing.sample import Sample

NAMES = {channel.name: channel for channel in CHANNELS}
PIPE = NAMES["mp.Pipe"]


@pytest.mark.parametrize("channel", CHANNELS, ids=list(NAMES))
def test_every_channel_carries_all_sizes(channel: Channel) -> None:
    carried = carry(channel, TINY)
    assert value(carried.carries) == 1.0
    sizes = sizes_for(channel, TINY)
    assert list(carried.latency) == sizes
    assert list(carried.throughput) == ([] if channel.small else sizes)
    assert all(value(figure) > 0 for figure in carried.latency.values())
    assert all(value(figure) > 0 for figure in carried.throughput.values())


def test_messages_go_up_to_the_largest() -> None:
    assert sizes_for(PIPE, NORMAL) == list(SIZES)
    assert SIZES[0] == 1
    assert SIZES[-1] == 64 << 20
    assert max(sizes_for(PIPE, QUICK)) == QUICK.largest
    assert sizes_for(NAMES["signal"], NORMAL) == [1]


def test_each_way_of_a_large_message_is_a_reading_and_throughput_is_read_from_it() -> None:
    carried = carry(NAMES["shared memory"], replace(TINY, largest=1 << 24))
    latency, throughput = carried.latency[1 << 24], carried.throughput[1 << 24]
    assert isinstance(latency, Sample)
    assert isinstance(throughput, Sample)
    assert value(carried.carries) == 1.0
    assert latency.count % 2 == 0
    assert all(way > 0 for way in latency.values)
    assert throughput.unit == "B/s"
    assert throughput.values == tuple((1 << 24) / each for each in latency.values)


def test_this_thread_may_run_where_it_might_before() -> None:
    before = os.sched_getaffinity(0)
    carry(PIPE, TINY)
    assert os.sched_getaffinity(0) == before


class Changed:
    """An end that sends something else, less or nothing."""

    def __init__(self, end: Any, change: Any) -> None:
        self.receive, self.close = end.receive, end.close
        self._end, self._change = end, change

    def send(self, message: bytes) -> None:
        changed = self._change(message)
        if changed is not None:
            self._end.send(changed)


def with_partner_sending(change: Any) -> Channel:
    def opened(largest: int) -> Ends:
        here, there, meet = PIPE.open(largest)
        return Ends(here, Changed(there, change), meet)

    return replace(PIPE, open=opened)


def test_a_message_that_arrives_changed_is_not_carried() -> None:
    assert value(carry(with_partner_sending(lambda message: message[:-1]), TINY).carries) == 0.0


def test_a_message_that_does_not_arrive_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "PATIENCE", 0.1)
    carried = carry(with_partner_sending(lambda message: None), TINY)
    gaps = [*carried.latency.values(), *carried.throughput.values(), carried.carries]
    assert len(gaps) == 5
    assert all("did not come within 0.1 s" in why(gap) for gap in gaps)


def test_what_fails_half_way_leaves_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "PATIENCE", 0.1)
    carried = carry(with_partner_sending(lambda m: m if len(m) == 1 else None), TINY)
    assert value(carried.latency[1]) > 0
    assert value(carried.throughput[1]) > 0
    assert value(carried.carries) == 1.0
    assert why(carried.latency[1 << 16]) == why(carried.throughput[1 << 16])


def test_what_memory_has_no_room_for_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = replace(read_facts(), free_memory=1 << 17)
    monkeypatch.setattr(messages, "read_facts", lambda: facts)
    carried = carry(PIPE, TINY)
    assert value(carried.latency[1]) > 0
    assert why(carried.latency[1 << 16]) == why(carried.throughput[1 << 16])
    assert "131 KB of memory are free" in why(carried.latency[1 << 16])


def test_a_channel_that_cannot_be_had_is_a_gap() -> None:
    def refuse(largest: int) -> Ends:
        raise PermissionError("no such memory here")

    carried = carry(replace(PIPE, open=refuse), TINY)
    gaps = [*carried.latency.values(), *carried.throughput.values(), carried.carries]
    assert {why(gap) for gap in gaps} == {"PermissionError: no such memory here"}


@pytest.mark.parametrize("name", ["mp.Queue", "SimpleQueue"])
def test_an_interrupt_leaves_no_partner(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(messages, "times_throttled", interrupt)
    with pytest.raises(KeyboardInterrupt):
        carry(NAMES[name], TINY)


def test_both_sides_are_on_one_cpu() -> None:
    def on_one(message: bytes) -> bytes:
        return message if len(os.sched_getaffinity(0)) == 1 else b""

    assert value(carry(with_partner_sending(on_one), TINY).carries) == 1.0


def test_refused_signals_are_a_gap_and_leave_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError("signals are not allowed here")

    usual = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    monkeypatch.setattr(channels.os, "kill", refuse)
    carried = carry(NAMES["signal"], TINY)
    assert "signals are not allowed here" in why(carried.latency[1])
    assert "signals are not allowed here" in why(carried.carries)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == usual


@pytest.mark.parametrize("message", [1e-7, 1e-5, 1e-3])
def test_a_reading_is_long_enough_whatever_the_order_to_the_partner_takes(message: float) -> None:
    order = 2e-4  # which is as much as hundreds of messages
    series = messages._Series(lambda rounds: order / rounds + message, shortest=2e-3)
    series.go_on(0.0, SystemClock())
    rounds = order / (series.values[0] - message)
    assert rounds == pytest.approx(messages._MOST) or order + rounds * message >= 1e-3


@pytest.mark.parametrize("throttled", [False, True])
def test_messages_say_whether_they_were_throttled(
    monkeypatch: pytest.MonkeyPatch, throttled: bool
) -> None:
    times = itertools.count(7) if throttled else itertools.repeat(7)
    monkeypatch.setattr(messages, "times_throttled", times.__next__)
    carried = carry(PIPE, TINY)
    for figure in (*carried.latency.values(), *carried.throughput.values()):
        assert isinstance(figure, Sample)
        assert figure.throttled is throttled
