"""What a channel asks of the kernel: system calls for a message, objects for its being there."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from poolwise.machine.communication.channels import Channel, Ends
from poolwise.machine.partner import Partner
from poolwise.machine.pinning import one_cpu
from poolwise.timing.repeat import Unmeasurable, gap, gather
from poolwise.timing.sample import Figure

#: So many messages are counted, and some before that: the first may start a thread.
_MESSAGES, _BEFORE = 16, 2

#: Of the kernel's interface for tracing; the same on every machine.
_TRACEME, _SYSCALL, _SETOPTIONS = 0, 24, 0x4200
_TRACESYSGOOD, _TRACECLONE, _EXITKILL = 1, 1 << 3, 1 << 20
_WALL, _PDEATHSIG = 0x40000000, 1

#: How a stop at a system call differs from one by a signal.
_AT_CALL = signal.SIGTRAP | 0x80

#: The exit code of a process that could not have itself traced.
_REFUSED = 77


def system_calls(channel: Channel, times: int) -> Figure:
    """Return how many system calls carry one byte to somebody who need not wait for it.

    One process sends and receives, so nobody sleeps and nobody is woken, which would be counted
    now and then only. The kernel tells of each of its system calls: it is traced.
    """
    try:
        if sys.platform != "linux":
            raise Unmeasurable("system calls are counted on Linux only")
        part = {"count": lambda times, _: _counts(channel, times)}
        with one_cpu(), Partner("process", **part) as tracer:
            tracer.begin("count", times)
            return gather(tracer.end(), "1")
    except Exception as error:
        return gap(error)


def objects(channel: Channel) -> Figure:
    """Return how many descriptors and shared mappings it needs, to go one way if it can."""

    def readings() -> Iterator[float]:
        with _opened(channel):
            pass  # what the first one imports is not counted
        before = _held()
        with _opened(channel):
            if channel.partner == "process":
                _fork_and_end()  # some need what they need only now
            yield (_held() - before) / channel.one_ways

    return gather(readings(), "1")


@contextmanager
def _opened(channel: Channel) -> Iterator[Ends]:
    ends = channel.open(1)
    try:
        yield ends
    finally:
        ends.here.close()
        ends.there.close()


def _held() -> int:
    """Return how many descriptors and shared mappings this process has."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            mappings = sum(line.split(maxsplit=2)[1].endswith("s") for line in maps)
        return mappings + len(os.listdir("/proc/self/fd"))
    except OSError as error:
        raise Unmeasurable(f"there is no list of descriptors and mappings here: {error}") from error


def _fork_and_end() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def _counts(channel: Channel, times: int) -> list[float]:
    """Return system calls for a message, time by time; in a process that has no other children.

    Twice the same is what it always is, for no thread of the channel's chose its own time.
    """
    counts: list[float] = []
    for _ in range(times):
        counts.append((_count(channel, _BEFORE + _MESSAGES) - _count(channel, _BEFORE)) / _MESSAGES)
        if len(counts) == 2 and counts[0] == counts[1]:
            break
    return counts


def _count(channel: Channel, messages: int) -> float:
    """Return how many system calls a process makes that carries so many, from its start to end."""
    ptrace = _ptrace()
    with _opened(channel) as ends:
        pid = os.fork()
        if not pid:
            try:
                _end_with_parent()
                ptrace(_TRACEME, 0, 0)
            except BaseException:
                os._exit(_REFUSED)
            try:
                os.kill(os.getpid(), signal.SIGSTOP)
                _carry(ends, messages)
            finally:
                os._exit(0)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            raise Unmeasurable("the kernel does not let a process be traced here")
        ptrace(_SETOPTIONS, pid, _TRACESYSGOOD | _TRACECLONE | _EXITKILL)
        return _stops_at_calls(ptrace, pid) / 2  # at its begin and its end


def _carry(ends: Ends, messages: int) -> None:
    ends.meet(os.getpid())
    for _ in range(messages):
        ends.here.send(b"\1")
        assert ends.there.receive() == b"\1"


def _stops_at_calls(ptrace: Callable[[int, int, int], None], pid: int) -> int:
    stops, passed_on = 0, 0
    who = pid
    while True:
        ptrace(_SYSCALL, who, passed_on)
        who, status = os.waitpid(-1, _WALL)
        while not os.WIFSTOPPED(status):  # a thread has ended, or all
            if who == pid:
                return stops
            who, status = os.waitpid(-1, _WALL)
        why = os.WSTOPSIG(status)
        stops += why == _AT_CALL
        # A stop of the kernel's own, as of a new thread, is none of a signal.
        ours = why in (_AT_CALL, signal.SIGTRAP, signal.SIGSTOP)
        passed_on = 0 if ours else why


def _end_with_parent() -> None:
    """Ask for SIGKILL when the tracer ends before it has made the kernel see to that."""
    from ctypes import CDLL

    CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def _ptrace() -> Callable[[int, int, int], None]:
    from ctypes import CDLL, c_long, get_errno

    function = CDLL(None, use_errno=True)["ptrace"]
    function.restype = c_long
    function.argtypes = [c_long, c_long, c_long, c_long]

    def ptrace(request: int, pid: int, data: int) -> None:
        if function(request, pid, 0, data) < 0:
            raise OSError(get_errno(), "ptrace: " + os.strerror(get_errno()))

    return ptrace
