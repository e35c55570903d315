"""How many calls go into one message, and how many messages are under way."""

from __future__ import annotations

from poolwise.plan import Plan
from poolwise.units import Seconds

#: A batch lasts about this long. Handing it to a thread and back costs some 15 µs; longer makes
#: results late and stragglers long. ``benchmarks/bench_overhead.py`` prints the throughput by batch
#: length.
_BATCH_FOR: Seconds = 4e-3

#: The same for processes. Where these keep all CPUs busy, a batch costs some 0.15 ms there and as
#: much in the caller, with the CPU that it has to get first: of 4 ms that is 4 to 7 %.
_SENT_FOR: Seconds = 8e-3

#: Before anything is known of the calls.
_FIRST_BATCH = 1

#: The largest batch: its size in memory is bounded by it.
_LARGEST = 50_000

#: The largest of a plain loop: what lies in lists of 50,000 has left the CPU's caches when it is
#: read again, which took calls of 50 ns a tenth longer.
_LARGEST_INLINE = 8_000

#: Calls longer than this make up for the round trip to a worker that waits for its next one; for
#: shorter ones the next batch is sent ahead. Where the workers keep all CPUs busy, the caller has
#: to get one first: 0.8 ms on a slow machine, 6 % of calls of 13 ms.
_LONG_CALL: Seconds = 80e-3

#: So many batches for each thread lie in a queue that all of them share. Where they compute in
#: turn, the owner waits for the GIL while as many calls start as there are threads, now and then
#: twice or thrice as many; with one for each, 32 threads stood idle for 30 ms.
AHEAD_FOR_ALL = 3

#: The same while something is learnt, where at least so many calls are left for each thread. Others
#: may run them next, and what is sent says that nothing is left to decide. With none ahead, 17
#: threads of calls that wait for 5 ms and compute for 0.5 stood idle for a third of the time.
AHEAD_MEANWHILE, PLENTY = 1, 4

#: Submitted calls shorter than this go to a thread several at a time, so many as take
#: `_CROWD_FOR`: handing over costs some 15 µs. Longer ones go one by one, so that none waits for
#: another while a thread is idle.
_SHORT_CALL: Seconds = 1e-4
_CROWD_FOR: Seconds = 5e-4


def batch_size(plan: Plan, service: Seconds | None, remaining: int | None) -> int:
    """Return the size of the next batch, for calls that last `service` seconds each.

    Towards the end batches shrink (guided self-scheduling, Polychronopoulos and Kuck 1987), so
    that no worker is left with a long batch while others are idle.
    """
    if service is None:
        return _FIRST_BATCH
    largest = _LARGEST_INLINE if plan.mechanism == "inline" else _LARGEST
    lasts = _SENT_FOR if plan.mechanism == "process" else _BATCH_FOR
    size = largest if service <= 0.0 else int(lasts / service)
    if remaining is not None and plan.mechanism != "inline":
        size = min(size, remaining // (2 * plan.concurrency))
    return max(1, min(size, largest))


def crowd_size(service: Seconds | None) -> int:
    """Return how many submitted calls that last `service` seconds go to a thread together."""
    if service is None or not 0.0 < service <= _SHORT_CALL:
        return 1
    return int(_CROWD_FOR / service)


def in_flight_batches(
    plan: Plan,
    slots: int,
    service: Seconds | None,
    *,
    for_each_call: bool = True,
    ahead_for_all: int = 0,
) -> int:
    """Return how many batches may be sent and not ended, for `slots` calls at once.

    One ahead hides the time to send it: for each worker, or `for_each_call` that it runs at once.
    Not before the duration of calls is known, nor for long ones, if what is sent ahead has to wait
    for the worker that it was sent to. Of what goes to the first that is free, `ahead_for_all` for
    each call at once: it waits for nobody.
    """
    if plan.mechanism == "inline":
        return slots
    if ahead_for_all:
        return (1 + ahead_for_all) * slots
    # Handing over within a process takes some µs.
    long_call = _BATCH_FOR if plan.mechanism == "thread" else _LONG_CALL
    if service is None or service > long_call:
        return slots
    return slots + (slots if for_each_call else max(1, slots // plan.threads_per_worker))
