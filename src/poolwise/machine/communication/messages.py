"""Latency and throughput of a channel, by message size.

Both sides are on one CPU. There a message takes the work of both and a switch between them, the
same in every run. On two, the most of a short one would be the other CPU's waking up, which takes
14 µs or 30 µs, by what else the machine, or the host of a virtual one, has been doing; of a long
one, as much runs at the same time as the scheduler lets: anything between half and all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from poolwise.machine.communication.channels import Channel, End
from poolwise.machine.deadline import deadline
from poolwise.machine.facts import read_facts
from poolwise.machine.partner import Partner
from poolwise.machine.pinning import one_cpu
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

#: So many times its size a message takes on its way: on both sides, pickled, and on its way back.
_COPIES = 8

#: A reading is at least so long: the clock and the order to the partner are little beside it.
_READING: Seconds = 5e-4

#: And has at most so many messages.
_MOST = 4000


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
            parts = {"echo": _echo, "answer": _answer, "drain": _drain}
            bound = {name: partial(part, ends.there) for name, part in parts.items()}
            # Before the partner, and before a queue starts a thread that sends: they begin here.
            with one_cpu(), Partner(channel.partner, **bound) as partner:
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

    Caches and clocks change how they are every few milliseconds. So readings that follow each other
    agree with each other, and not with those of the next run.
    """

    def __init__(self, read: Callable[[int], Seconds], shortest: Seconds) -> None:
        self.values: list[Seconds] = []
        self._read = read
        self._shortest = shortest
        self._rounds = 0

    def go_on(self, seconds: Seconds, clock: Clock) -> None:
        """Read for so long, at least once."""
        if not self._rounds:
            self._rounds = self._enough()
        until = clock.now() + seconds
        while True:
            self.values.append(self._read(self._rounds))
            if clock.now() >= until:
                return

    def _enough(self) -> int:
        """Return how many make a reading that is long enough.

        Of few messages the order to the partner is the most, so it takes several steps.
        """
        rounds = 1
        self._read(rounds)  # the first is slow and tells nothing
        while (took := rounds * self._read(rounds)) < self._shortest / 2 and rounds < _MOST:
            rounds = min(_MOST, 8 * rounds, max(rounds + 1, int(rounds * self._shortest / took)))
        return max(1, min(_MOST, int(rounds * self._shortest / took)))


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
            for size in reversed(large):  # the largest brings the memory that the others need
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
        """Return how long the way there and the way back are, of one message or a few.

        After one that brings the memory: what was never touched, or not of late, takes four times
        as long on a virtual machine.
        """
        self._there_and_back(size)
        until = self._clock.now() + self._effort.seconds
        ways = [*self._there_and_back(size)]
        while self._clock.now() < until:
            ways += self._there_and_back(size)
        return ways

    def _there_and_back(self, size: Bytes) -> tuple[Seconds, Seconds]:
        message = _message(size)
        self._partner.begin("answer")
        with deadline():
            begin = self._clock.now()
            self._end.send(message)
            answer = self._end.receive()
            end = self._clock.now()
        arrived = self._partner.end()
        self._whole = self._whole and answer == message
        return arrived - begin, end - arrived


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


@lru_cache(len(SIZES))
def _message(size: Bytes) -> bytes:
    """Return a message that shows if a part of it is missing, or zero."""
    pattern = bytes(range(1, 252))
    return (pattern * (size // len(pattern) + 1))[:size]
