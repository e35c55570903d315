"""The clocks of this machine."""

from __future__ import annotations

import _thread
import hashlib
import os
import subprocess
import sys
import threading
import time

import pytest

from poolwise.timing.clock import SystemClock, queued_of

needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux'")


@needs_linux
def test_the_queue_that_is_watched_is_that_of_the_thread_that_watches() -> None:
    clock = SystemClock()
    before = clock.queued()
    with clock.watch_queue() as queued:
        watched = queued()
    assert before <= watched <= clock.queued()


@needs_linux
def test_what_another_process_queues_for_is_known() -> None:
    """Both on one CPU: each keeps the other from it."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(ours)})
    try:
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            end = time.monotonic() + 30
            while (queued_of(other.pid) or 0.0) < 20e-3:
                assert time.monotonic() < end
        finally:
            other.kill()
            other.wait()
    finally:
        os.sched_setaffinity(0, ours)
    assert queued_of(other.pid) is None


@needs_linux
def test_a_cpu_that_computes_is_not_idle() -> None:
    """Of one CPU: it cannot have been idle for longer than nobody computed on it."""
    clock, ours = SystemClock(), os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(ours)})
    try:
        idle, began, used = clock.idle_cpu(), clock.now(), clock.thread_cpu()
        while clock.thread_cpu() - used < 0.2:
            pass
        computed, took = clock.thread_cpu() - used, clock.now() - began
        tick = 1 / os.sysconf("SC_CLK_TCK")
        assert 0.0 <= clock.idle_cpu() - idle <= took - computed + 2 * tick
        end = clock.now() + 30
        while clock.idle_cpu() - idle < 5 * tick:
            assert clock.now() < end
            time.sleep(tick)
    finally:
        os.sched_setaffinity(0, ours)


@needs_linux
def test_a_thread_that_has_ended_queues_no_more() -> None:
    clock, taken = SystemClock(), []

    def watch() -> None:
        context = clock.watch_queue()
        taken.append((context, context.__enter__()))

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    ((context, queued),) = taken
    assert queued() == queued()
    context.__exit__(None, None, None)


@needs_linux
def test_what_a_running_thread_has_used_is_known_at_any_time() -> None:
    """Not only at the ticks of the system, in looks much shorter than the time between two."""
    clock, data = SystemClock(), bytes(1 << 20)
    goes_on = True

    def compute() -> None:  # without the GIL
        while goes_on:
            hashlib.sha256(data)

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        shares = []
        for _ in range(100):
            began, mine, used = clock.now(), clock.thread_cpu(), clock.process_cpu()
            time.sleep(1e-3)
            used = clock.process_cpu() - used - (clock.thread_cpu() - mine)
            shares.append(used / (clock.now() - began))
    finally:
        goes_on = False
        thread.join()
    # One thread cannot use two CPUs; where other load had its own, it used less.
    assert 0.0 < max(shares) < 1.2


@needs_linux
def test_other_threads_count_while_they_run_and_not_while_they_wait() -> None:
    clock, begun, data = SystemClock(), threading.Event(), bytes(1 << 20)
    goes_on = True

    def compute() -> None:  # without the GIL
        while goes_on:
            hashlib.sha256(data)
            begun.set()

    woken = threading.Event()
    threads = [threading.Thread(target=compute), threading.Thread(target=woken.wait)]
    for thread in threads:
        thread.start()
    try:
        begun.wait()
        # Between two hashes it may wait for the GIL.
        assert any(clock.others_running() == 1 for _ in range(1_000))
        goes_on = False
        threads[0].join()
        # Python 3.11 lets `join` return while the thread is still on its way out.
        assert any(clock.others_running() == 0 for _ in range(1_000))
    finally:
        goes_on = False
        woken.set()
        for thread in threads:
            thread.join()


@needs_linux
def test_what_threads_of_libraries_use_is_told_from_what_pythons_do() -> None:
    clock, data = SystemClock(), bytes(1 << 20)
    ended = _thread.allocate_lock()

    def compute() -> None:
        for _ in range(20):  # without the GIL
            hashlib.sha256(data)

    def compute_unknown() -> None:  # by a thread that `threading` has not started
        compute()
        ended.release()

    done, hold = threading.Event(), threading.Event()

    def compute_and_stay() -> None:  # what a thread has used that is gone is nobody's any more
        compute()
        done.set()
        hold.wait()

    before = clock.foreign_cpu()
    compute()
    thread = threading.Thread(target=compute_and_stay)
    thread.start()
    done.wait()
    known = clock.foreign_cpu() - before
    hold.set()
    thread.join()
    before = clock.foreign_cpu()
    ended.acquire()
    _thread.start_new_thread(compute_unknown, ())
    ended.acquire()
    unknown = clock.foreign_cpu() - before
    assert known < 0.2 * unknown
