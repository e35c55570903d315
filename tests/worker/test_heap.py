"""Memory that calls free: kept where they want it again, and given back by who is idle."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import poolwise
from _poolwise_worker import heap
from _poolwise_worker.heap import Heap
from programs import DEADLINE, run

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not sys.platform.startswith("linux"),
    reason="other C libraries go on as they are",
)

SIZE = 8 << 20
#: In a fork of this process glibc has learnt already from what other tests have freed.
ANEW: Any = {"start_method": "forkserver"}

PAGES = 3 * SIZE // resource.getpagesize()


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def fill(_: object) -> int:
    """Make three times 8 MB and let them go; return how many page faults that was.

    One block would stay: glibc learns how large it was, and keeps twice as much.
    """
    before, page = faults(), resource.getpagesize()
    blocks = [bytearray(SIZE) for _ in range(3)]
    for block in blocks:
        block[::page] = b"\1" * (SIZE // page)
    del block, blocks
    return faults() - before


def count(_: object) -> tuple[int, bool]:
    """Compute, and say whether ctypes is here."""
    until = time.thread_time() + 2e-3
    while time.thread_time() < until:
        pass
    return 0, "ctypes" in sys.modules


@pytest.mark.parametrize("plan", ["process:1", "process:1x4"])
def test_calls_that_free_memory_get_it_again(plan: str) -> None:
    counts = list(poolwise.map(fill, range(400), plan=plan, **ANEW))
    assert counts[0] > 0.9 * PAGES
    assert sum(counts[-100:]) < 100 * 0.1 * PAGES


def test_where_memory_is_limited_none_is_kept() -> None:
    counts = list(poolwise.map(fill, range(100), plan="process:1", memory_limit="1 GiB", **ANEW))
    assert min(counts) > 0.5 * PAGES


def test_who_is_idle_gives_back_what_is_free(tmp_path: Path) -> None:
    program = """
from _poolwise_worker.heap import Heap

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

heap = Heap()
heap.trim()  # nothing is kept: nothing happens
heap.keep()
data = bytearray(30 << 20)
data[::4096] = bytes(len(data[::4096]))
del data
before = resident()
assert before > 30 << 20
heap.trim()
assert resident() < before - (25 << 20)
"""
    run(tmp_path, program)


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_workers_of_an_open_pool_give_it_back_too_and_go_on() -> None:
    with poolwise.Executor(plan="process:1", **ANEW) as pool:
        assert pool.submit(fill, 0).result(DEADLINE) > 0.9 * PAGES  # imports what calls need
        pid = pool.submit(os.getpid).result(DEADLINE)
        without = resident(pid)
        for _ in range(2):
            assert list(pool.map(fill, range(100)))[-1] < 0.1 * PAGES
            until = time.monotonic() + DEADLINE
            # After a second, and nothing tells that it has happened.
            while resident(pid) > without + SIZE and time.monotonic() < until:
                time.sleep(0.02)
            assert resident(pid) < without + SIZE


def test_workers_whose_calls_have_few_faults_import_nothing() -> None:
    with poolwise.Executor(plan="process:1", start_method="forkserver") as pool:
        assert not any(there for _, there in pool.map(count, range(100)))


# ---- when it looks ------------------------------------------------------------------------------


class Looking(Heap):
    """Has no libc."""

    kept = False

    def keep(self) -> None:
        self.kept = True
        self._next = float("inf")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, int], None]:
    """Has CPU time pass, with so many faults."""
    now, count, looks = 5.0, 1_000, 0

    def read() -> int:
        nonlocal looks
        looks += 1
        return count

    def passes(seconds: float, faults: int) -> None:
        nonlocal now, count
        now, count = now + seconds, count + faults

    monkeypatch.setattr(heap, "process_time", lambda: now)
    monkeypatch.setattr(heap, "_page_faults", read)
    passes.looks = lambda: looks  # type: ignore[attr-defined]
    return passes


def test_what_a_fork_has_to_copy_is_no_fault_of_the_calls(
    world: Callable[[float, int], None],
) -> None:
    looking = Looking()
    world(heap.WARM / 2, 5_000)
    looking.look()
    world(heap.WARM / 2 + 1e-6, 0)
    looking.look()  # for the first time
    world(heap.LOOK, int(0.9 * heap.MANY * heap.LOOK))
    looking.look()
    assert not looking.kept
    world(heap.LOOK * 2, int(1.1 * heap.MANY * heap.LOOK * 2))
    looking.look()
    assert looking.kept


def test_looks_become_rare(world: Callable[[float, int], None]) -> None:
    looking = Looking()
    for _ in range(100_000):
        world(1e-4, 0)
        looking.look()
    assert 5 < world.looks() < 15  # type: ignore[attr-defined]
    assert not looking.kept


def test_without_proc_there_is_nothing_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise FileNotFoundError

    monkeypatch.setattr(heap, "WARM", 0.0)
    monkeypatch.setattr(heap, "_page_faults", fail)
    looking = Looking()
    for _ in range(3):
        looking.look()
    assert not looking.kept
