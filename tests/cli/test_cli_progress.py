"""Progress on a real terminal, and where there is none."""

from __future__ import annotations

import os
import pty
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl

import pytest
from cli_command import Command


@contextmanager
def _terminal(columns: int = 120) -> Iterator[tuple[int, int]]:
    """A pseudo-terminal: the end that shows, and the end that programs write to."""
    screen, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        yield screen, terminal
    finally:
        os.close(screen)
        os.close(terminal)


def _shown(command: Command, *arguments: str, columns: int = 120, **streams: bool) -> str:
    """Run a map with some streams on a terminal; return what it shows."""
    with _terminal(columns) as (screen, terminal):
        options = {name: terminal for name, wanted in streams.items() if wanted}
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options
        process = command.start(
            "map",
            "work:fails_for_odd",
            "--expr",
            "range(40)",
            "--plan",
            "inline",
            *arguments,
            **options,
        )
        # What is shown here fits into the terminal's buffer.
        process.wait(30)
        os.set_blocking(screen, False)
        try:
            return os.read(screen, 1 << 16).decode()
        except BlockingIOError:
            return ""


def test_a_bar_on_the_terminal(command: Command) -> None:
    shown = _shown(command, "--no-explain", stderr=True)
    assert "40/40" in shown
    assert "inputs/s" in shown
    assert "20 failed, plain loop" in shown


def test_a_terminal_without_a_size_shows_the_bar_too(command: Command) -> None:
    assert "40/40" in _shown(command, "--no-explain", columns=0, stderr=True)


def test_no_bar_between_lines_on_the_same_terminal(command: Command) -> None:
    shown = _shown(command, "--no-explain", stdout=True, stderr=True)
    assert '"index": 39' in shown
    assert "40/40" not in shown
    assert "40/40" in _shown(command, "--progress", "--no-explain", stdout=True, stderr=True)
    assert "40/40" in _shown(command, "-o", "out", "--no-explain", stdout=True, stderr=True)


@pytest.mark.parametrize("option", ["--quiet", "--no-progress"])
def test_no_bar_if_it_is_not_wanted(command: Command, option: str) -> None:
    assert "40/40" not in _shown(command, option, "--no-explain", stderr=True)


def test_no_bar_in_a_log(command: Command) -> None:
    run = command("map", "work:same", "--expr", "range(40)", "--no-explain")
    assert run.err == ""
