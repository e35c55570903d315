"""Which programs calls have started, and what these compute."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import poolwise
from poolwise.timing.children import cpu_of_programs, ours, programs
from poolwise.timing.clock import SystemClock, cpu_of

pytestmark = pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="the system does not tell"
)


CLOCK = SystemClock()


def test_there_are_programs_of_all_threads_until_they_are_waited_for() -> None:
    before = programs()
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        started.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE))

    start()
    assert programs() == before | {started[0].pid}
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert programs() == before | {program.pid for program in started}
    for program in started:
        program.communicate()
    assert programs() == before


def test_processes_of_this_package_are_no_programs() -> None:
    with poolwise.Executor(plan="process:1") as pool:
        assert pool.submit(abs, -1).result() == 1
        assert not programs() & ours
        assert ours


def test_what_programs_of_programs_compute_is_theirs_as_well() -> None:
    burn = "sum(range(300_000)); print(flush=True); input()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {burn!r}])"
    before, others = cpu_of_programs(CLOCK, programs()), programs()
    program = subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert program.stdout is not None
    program.stdout.readline()
    alone = cpu_of(program.pid)
    used = cpu_of_programs(CLOCK, others) - before
    assert used > alone > 0.0
    assert cpu_of_programs(CLOCK, others | {program.pid}) == pytest.approx(before)
    program.communicate(b"\n")
    assert cpu_of_programs(CLOCK, others) - before >= used  # nothing is lost when it is gone


def test_children_that_were_waited_for_have_used_what_they_have() -> None:
    """Counted in ticks of 10 ms, most of these would have used nothing."""
    grown: list[float] = []
    for _ in range(4):
        before = CLOCK.children_cpu()
        subprocess.run(["cat"], stdin=subprocess.DEVNULL, check=True)
        grown.append(CLOCK.children_cpu() - before)
    assert all(used > 0.0 for used in grown)
