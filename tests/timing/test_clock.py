"""The clocks of this machine."""

from __future__ import annotations

import sys
import threading

import pytest

from poolwise.timing.clock import SystemClock

needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux'")


@needs_linux
def test_the_queue_that_is_watched_is_that_of_the_thread_that_watches() -> None:
    clock = SystemClock()
    before = clock.queued()
    with clock.watch_queue() as queued:
        watched = queued()
    assert before <= watched <= clock.queued()


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
