"""What it costs to have workers and to send them something."""

from __future__ import annotations

from dataclasses import dataclass

from poolwise.units import Seconds


@dataclass(frozen=True, slots=True)
class PoolCosts:
    """Start-up and dispatch of the mechanisms, in seconds.

    `server_start` is a server that is a new interpreter; one that is a fork of this process costs
    little more than a worker. `process_start` is a worker from either, `process_reuse` one that
    waits idle from an earlier run. `call_overhead` is what a worker's loop adds to each call while
    it holds the GIL.

    The defaults are what ``benchmarks/bench_overhead.py`` printed on a machine with two CPUs.
    Too low opens pools that do not pay; too high stays in the loop for longer than is good. Both
    errors are bounded by the start-up itself.
    """

    thread_start: Seconds = 1e-4
    server_start: Seconds = 45e-3
    process_start: Seconds = 2e-3
    process_reuse: Seconds = 2e-4
    thread_dispatch: Seconds = 25e-6
    process_dispatch: Seconds = 60e-6
    call_overhead: Seconds = 1.5e-7
