"""Which child processes there are, and what they compute."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from poolwise.timing.children import children, cpu_of_families, used_between
from poolwise.timing.clock import SystemClock

pytestmark = pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="the system does not tell"
)


def test_there_are_children_of_all_threads_until_they_are_waited_for() -> None:
    before = children()
    programs: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        programs.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE))

    start()
    assert children() == before | {programs[0].pid}
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert children() == before | {program.pid for program in programs}
    for program in programs:
        program.communicate()
    assert children() == before


def test_what_children_of_children_compute_is_theirs_as_well() -> None:
    burn = "sum(range(300_000)); print(flush=True); input()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {burn!r}])"
    program = subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert program.stdout is not None
    program.stdout.readline()
    used = cpu_of_families([program.pid])
    program.communicate(b"\n")
    assert len(used) == 2
    assert all(cpu > 0.0 for cpu in used.values())
    assert cpu_of_families([program.pid]) == {}  # it is gone


def test_who_has_come_counts_and_who_has_gone_does_not() -> None:
    assert used_between({1: 0.5, 2: 3.0}, {1: 0.75, 3: 0.125}) == pytest.approx(0.375)
    assert used_between({}, {}) == 0.0


def test_children_that_were_waited_for_have_used_what_they_have() -> None:
    """Counted in ticks of 10 ms, most of these would have used nothing."""
    clock = SystemClock()
    grown: list[float] = []
    for _ in range(4):
        before = clock.children_cpu()
        subprocess.run(["cat"], stdin=subprocess.DEVNULL, check=True)
        grown.append(clock.children_cpu() - before)
    assert all(used > 0.0 for used in grown)
