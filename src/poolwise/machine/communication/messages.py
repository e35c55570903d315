"""Latency and throughput of a channel, by message size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import NamedTuple

from poolwise.machine.communication.channels import Channel, End
from poolwise.machine.deadline import deadline
from poolwise.machine.facts import read_facts
from poolwise.machine.partner import Partner
from poolwise.timing.cgroups import times_throttled
from poolwise.timing.clock import Clock, SystemClock
from poolwise.timing.repeat import NORMAL, Effort, gap
from poolwise.timing.sample import Figure, Gap, Sample
from poolwise.units import Bytes, Seconds
from poolwise.units import size as written

SIZES: tuple[Bytes, ...] = (1, 1 << 10, 1 << 16, 1 << 20, 1 << 24, 1 << 26)

#: From this size on a message to a process takes up to 0.2 s, most of it for memory that is made
#: anew for each. There is time for few: each way is a reading, and throughput is read from it.
_LARGE: Bytes = 1 << 24

#: Up to this size it matters more than all else whether both sides are on one CPU: 3 µs there,
#: 20 µs between two, and the scheduler chooses differently from run to run. So they are kept apart.
#: Larger ones gain by moving, because a queue may have a thread that sends; but not between
#: threads, which copy nothing.
_APART: Bytes = 1 << 16

#: So many times its size a message takes on its way: on both sides, pickled, and on its way back.
_COPIES = 8

#: A reading is at least so long: the clock and the order to the partner are nothing beside it.
_READING: Seconds = 5e-4


class Carried(NamedTuple):
    """What was measured of one channel."""

    latency: dict[Bytes, Figure]
    throughput: dict[Bytes, Figure]
    carries: Figure


def sizes_for(channel: Channel, effort: Effort) -> list[Bytes]:
    """Return the sizes of messages that are sent."""
    if channel.small:
        return [1]
    sizes = [size for size in SIZES if size <= effort.largest]
    return sizes if effort.least >= NORMAL.least else [size for size in sizes if size != 1 << 10]


def carry(channel: Channel, effort: Effort) -> Carried:
    """Send messages of all sizes there and back, and one way."""
    sizes = sizes_for(channel, effort)
    too_large = _too_large(sizes)
    try:
        ends = channel.open(max(size for size in sizes if size not in too_large))
        try:
            parts = {"echo": _echo, "answer": _answer, "drain": _drain, "stand": _stand}
            bound = {name: partial(part, ends.there) for name, part in parts.items()}
            with _as_before(), Partner(channel.partner, **bound) as partner:
                ends.meet(partner.pid)
                conversation = _Conversation(channel, ends.here, partner, effort)
                return conversation.about(sizes, too_large)
        finally:
            ends.here.close()
            ends.there.close()
    except Exception as error:
        nothing: Figure = gap(error)
        throughput = {} if channel.small else dict.fromkeys(sizes, nothing)
        return Carried(dict.fromkeys(sizes, nothing), throughput, nothing)


def _too_large(sizes: Sequence[Bytes]) -> dict[Bytes, Gap]:
    """Return why some sizes are left out: who runs out of memory is killed, and says nothing."""
    free = read_facts().free_memory
    if free is None:
        return {}
    return {
        size: Gap(f"a message takes {written(_COPIES * size)}; {written(free)} of memory are free")
        for size in sizes[1:]
        if _COPIES * size > free
    }


class _Series:
    """Readings of one quantity, some now and some later.

    Caches, clocks and sleeping CPUs change how they are every few milliseconds. So readings that
    follow each other agree with each other, and not with those of the next run.
    """

    def __init__(self, read: Callable[[int], Seconds], shortest: Seconds) -> None:
        self.values: list[Seconds] = []
        self._read = read
        self._shortest = shortest
        self._rounds = 0

    def go_on(self, seconds: Seconds, clock: Clock) -> None:
        """Read for so long, at least once."""
        if not self._rounds:
            for rounds in (1, self._enough(self._read(1))):  # the first is slow and tells little
                self._rounds = self._enough(self._read(rounds))
        until = clock.now() + seconds
        while True:
            self.values.append(self._read(self._rounds))
            if clock.now() >= until:
                return

    def _enough(self, took: Seconds) -> int:
        return max(1, min(1000, int(self._shortest / took)))


class _Conversation:
    """With one partner, through one channel."""

    def __init__(self, channel: Channel, end: End, partner: Partner, effort: Effort) -> None:
        self._channel = channel
        self._end = end
        self._partner = partner
        self._effort = effort
        self._clock = SystemClock()
        self._whole = True

    def about(self, sizes: Sequence[Bytes], too_large: Mapping[Bytes, Gap]) -> Carried:
        """Measure all sizes, but for those that are too large.

        The first failure makes a gap of all that has no reading yet: what is left in the channel
        would be taken for an answer.
        """
        fit = [size for size in sizes if size not in too_large]
        large = [size for size in fit if size >= _LARGE and self._channel.partner == "process"]
        shortest = max(_READING, self._effort.seconds / 100)
        there_and_back = {size: _Series(partial(self._echo, size), shortest) for size in fit}
        one_way = {size: _Series(partial(self._stream, size), shortest) for size in fit}
        failed = Gap("it was not sent")
        before = times_throttled()
        try:
            for size in [size for size in fit if size not in large] * self._effort.least:
                self._take_turns(size, there_and_back[size], one_way[size])
            for size in large:
                there_and_back[size].values = one_way[size].values = self._each_way(size)
        except Exception as error:
            failed = gap(error)
        throttled = times_throttled() > before

        def figure(unit: str, values: list[float]) -> Figure:
            return Sample(unit, tuple(values), throttled) if values else failed

        latency = {size: figure("s", each.values) for size, each in there_and_back.items()}
        throughput = {
            size: figure("B/s", [size / took for took in each.values])
            for size, each in one_way.items()
            if not self._channel.small
        }
        arrived: Figure = Sample("yes", (float(self._whole),))
        if isinstance(latency[sizes[0]], Gap):
            arrived = latency[sizes[0]]
        also = too_large if not self._channel.small else {}
        return Carried({**latency, **too_large}, {**throughput, **also}, arrived)

    def _take_turns(self, size: Bytes, there_and_back: _Series, one_way: _Series) -> None:
        self._stand(size)
        seconds = self._effort.seconds / 6 / self._effort.least
        there_and_back.go_on(seconds, self._clock)
        if not self._channel.small:
            one_way.go_on(seconds, self._clock)

    def _echo(self, size: Bytes, rounds: int) -> Seconds:
        """Return how long a message takes that goes there and back, halved."""
        message = _message(size)
        self._partner.begin("echo", rounds)
        with deadline():
            begin = self._clock.now()
            for _ in range(rounds):
                self._end.send(message)
                answer = self._end.receive()
            took = self._clock.now() - begin
        self._partner.end()
        self._whole = self._whole and answer == message
        return took / rounds / 2

    def _stream(self, size: Bytes, rounds: int) -> Seconds:
        """Return how long a message takes among others that go the same way."""
        message = _message(size)
        self._partner.begin("drain", rounds)
        with deadline():
            begin = self._clock.now()
            for _ in range(rounds):
                self._end.send(message)
            self._partner.end()
            return (self._clock.now() - begin) / rounds

    def _each_way(self, size: Bytes) -> list[Seconds]:
        """Return how long the way there and the way back are, of one message or a few."""
        self._stand(size)
        message, until = _message(size), self._clock.now() + self._effort.seconds
        ways: list[Seconds] = []
        while True:
            self._partner.begin("answer")
            with deadline():
                begin = self._clock.now()
                self._end.send(message)
                answer = self._end.receive()
                end = self._clock.now()
            arrived = self._partner.end()
            self._whole = self._whole and answer == message
            ways += [arrived - begin, end - arrived]
            if end >= until:
                return ways

    def _stand(self, size: Bytes) -> None:
        """Have both on CPUs of their own, if there are two, or wherever the scheduler likes."""
        apart = size <= _APART or self._channel.partner == "thread"
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, _CPUS[:1] if apart else _CPUS)
            self._partner.play("stand", apart)


def _echo(end: End, count: int, told: object) -> None:
    for _ in range(count):
        end.send(end.receive())


def _answer(end: End, count: int, told: object) -> Seconds:
    """Send one message back; return when it came, by a clock that all processes share."""
    message = end.receive()
    arrived = SystemClock().now()
    end.send(message)
    return arrived


def _drain(end: End, count: int, told: object) -> None:
    for _ in range(count):
        end.receive()


def _stand(end: End, apart: int, told: object) -> None:
    os.sched_setaffinity(0, _CPUS[1:2] or _CPUS if apart else _CPUS)


#: Those that this process may use, when it is first asked.
_CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@contextmanager
def _as_before() -> Iterator[None]:
    """Let this thread run wherever it might, afterwards."""
    try:
        yield
    finally:
        if _CPUS:
            os.sched_setaffinity(0, _CPUS)


@lru_cache(len(SIZES))
def _message(size: Bytes) -> bytes:
    """Return a message that shows if a part of it is missing, or zero."""
    pattern = bytes(range(1, 252))
    return (pattern * (size // len(pattern) + 1))[:size]
