"""The clocks of this machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from poolwise.timing.clock import SystemClock

needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux'")


@needs_linux
def test_no_more_cpus_are_idle_than_there_are() -> None:
    assert 0 <= SystemClock().idle_cpus() <= (os.cpu_count() or 1)


@needs_linux
def test_cpus_are_not_known_to_be_idle_where_others_may_fill_those_that_are_ours() -> None:
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one CPU is all")
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from poolwise.timing.clock import SystemClock;"
        "assert SystemClock().idle_cpus() == 0"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
