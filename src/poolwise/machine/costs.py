"""What it costs to have workers and to send them something."""

from __future__ import annotations

from dataclasses import dataclass

from poolwise.units import Seconds


@dataclass(frozen=True, slots=True)
class PoolCosts:
    """Start-up and dispatch of the mechanisms, in seconds.

    `call_overhead` is what a worker's loop adds to each call while it holds the GIL.

    The defaults are what ``benchmarks/bench_overhead.py`` printed on a machine with two CPUs.
    Too low opens pools that do not pay; too high stays in the loop for longer than is good. Both
    errors are bounded by the start-up itself.
    """

    thread_start: Seconds = 1e-4
    server_start: Seconds = 45e-3
    process_start: Seconds = 5e-3
    thread_dispatch: Seconds = 25e-6
    process_dispatch: Seconds = 60e-6
    call_overhead: Seconds = 1.5e-7
