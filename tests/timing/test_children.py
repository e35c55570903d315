"""How many child processes there are."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from poolwise.timing.children import count_children

pytestmark = pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="the system does not tell"
)


def test_counts_children_of_all_threads_until_they_are_waited_for() -> None:
    before = count_children()
    programs: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        programs.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE))

    start()
    assert count_children() == before + 1
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert count_children() == before + 2
    for program in programs:
        program.communicate()
    assert count_children() == before
