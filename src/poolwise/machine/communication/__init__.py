"""Dimension 3: what it takes to send a message, to hold a lock, and what is lost without one.

`channels` are the ways to send, `messages` times them and who is at the other end;
`kernel` counts what the kernel does for it; `locks` and `races` speak for themselves.
"""

from __future__ import annotations

from poolwise.machine.communication import kernel, locks, races
from poolwise.machine.communication.channels import CHANNELS
from poolwise.machine.communication.messages import carry
from poolwise.machine.communication.programs import PROGRAMS, lines
from poolwise.machine.dimensions import Communication
from poolwise.timing.repeat import Effort
from poolwise.timing.sample import Sample

__all__ = ["measure_communication"]


def measure_communication(effort: Effort) -> Communication:
    """Measure dimension 3, in the main thread of a program that runs no other thread.

    It forks processes that it ends before it returns or raises. What cannot be had here is a gap.
    """
    carried = {channel.name: carry(channel, effort) for channel in CHANNELS}
    times = effort.least + 1  # at most: it is the same each time but for a queue with a thread
    lost = races.race(effort)
    return Communication(
        latency={name: each.latency for name, each in carried.items()},
        throughput={name: each.throughput for name, each in carried.items() if each.throughput},
        carries={name: each.carries for name, each in carried.items()},
        lines={name: Sample("1", (float(lines(program)),)) for name, program in PROGRAMS.items()},
        system_calls={each.name: kernel.system_calls(each, times) for each in CHANNELS},
        objects={channel.name: kernel.objects(channel) for channel in CHANNELS},
        lock={kind.name: locks.alone(kind, effort) for kind in locks.KINDS},
        contended={kind.name: locks.contended(kind, effort) for kind in locks.KINDS},
        rlock_reentered=locks.reentered(),
        lost_plain=lost.plain,
        lost_with_call=lost.with_call,
        lost_with_lock=lost.with_lock,
        increments=lost.increments,
        increments_with_lock=lost.increments_with_lock,
    )
