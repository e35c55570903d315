"""The shortest programs do carry a message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from poolwise.machine.communication.channels import CHANNELS
from poolwise.machine.communication.programs import PROGRAMS, lines


def test_each_channel_has_one() -> None:
    assert list(PROGRAMS) == [channel.name for channel in CHANNELS]


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_carries_the_message(tmp_path: Path, name: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROGRAMS[name])
    done = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, timeout=50
    )
    assert (done.stderr, done.stdout) == ("", "SIGUSR1\n" if name == "signal" else "hello\n")


def test_blank_lines_do_not_count() -> None:
    assert lines("\nimport os\n\n  \nprint(os)\n") == 2
