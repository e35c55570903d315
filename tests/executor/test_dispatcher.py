"""The thread of an executor looks again whenever something may have become possible."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

import poolwise
from executor.calls import DEADLINE
from poolwise.executor import executor as executor_module
from poolwise.executor.dispatch import Dispatch
from poolwise.executor.functions import Seen
from poolwise.executor.routing import Pinned
from poolwise.plan import Plan


class Split(Pinned):
    """Threads and processes share one slot; `getpid` goes to a process, all else to a thread."""

    def __init__(self) -> None:
        super().__init__(Plan("thread", 1), None)
        self.mechanisms = ("thread", "process")
        self._getpid: Seen | None = None

    def begin(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._lanes = {name: dispatch.open(Plan(name, 1)) for name in ("thread", "process")}

    def met(self, seen: Seen, function: Callable[..., object]) -> None:
        if function is os.getpid:
            self._getpid = seen

    def route(self, seen: Seen) -> str:
        return "process" if seen is self._getpid else "thread"

    def free(self) -> int | None:
        return 1 - self._dispatch.in_flight

    def has_room(self, mechanism: str) -> bool:
        return self._lanes[mechanism].room > 0


def test_a_cancelled_call_gives_its_turn_to_the_other_lane(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The call for a thread waits for the older one for a process, which turns out cancelled."""
    monkeypatch.setattr(executor_module, "make_router", lambda machine, options: Split())
    with poolwise.Executor() as pool:
        while pool.submit(os.getpid).result(DEADLINE) == os.getpid():
            pass  # until the process is there, a thread does its work
        for _ in range(20):
            release = threading.Event()
            blocked = pool.submit(release.wait)
            cancelled = pool.submit(os.getpid)
            last = pool.submit(pow, 2, 5)
            assert cancelled.cancel()
            release.set()
            assert blocked.result(DEADLINE)
            assert last.result(DEADLINE) == 32
