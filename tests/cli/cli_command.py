"""Runs the real command in a process of its own."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Seconds within which everything here ends.
PATIENCE = 30.0


@dataclass(frozen=True)
class Finished:
    """What a command has left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The output, which must be whole lines of JSON."""
        assert self.out == "" or self.out.endswith("\n")
        return [json.loads(line, parse_constant=refuse) for line in self.out.splitlines()]

    @property
    def results(self) -> list[Any]:
        """The results, in the order of the lines; every input must have one."""
        return [line["result"] for line in self.lines]


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


class Command:
    """`poolwise`, run in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[bytes]] = []

    def __call__(
        self, *arguments: str, stdin: str | bytes | None = None, cwd: Path | None = None
    ) -> Finished:
        """Run it to its end."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        run = subprocess.run(
            [sys.executable, "-m", "poolwise", *arguments],
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            cwd=cwd or self.folder,
            env=environment(),
            timeout=PATIENCE,
            check=False,
        )
        return Finished(run.returncode, run.stdout.decode(), run.stderr.decode())

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start it, with pipes for everything that `options` does not say otherwise."""
        options = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "cwd": self.folder,
            "env": environment(),
            **options,
        }
        before = options.pop("before", [])
        command = [*before, sys.executable, "-m", "poolwise", *arguments]
        process = subprocess.Popen(command, **options)
        self._started.append(process)
        return process

    def finish(self, process: subprocess.Popen[bytes], read: bytes = b"") -> Finished:
        """Wait for its end; `read` is what has been read of its output already."""
        assert process.stdout is not None
        assert process.stderr is not None
        # Not `communicate`, which does not see what `readline` has buffered.
        out, err = process.stdout.read(), process.stderr.read()
        return Finished(process.wait(PATIENCE), (read + out).decode(), err.decode())

    def close(self) -> None:
        """End what a failed test has left, and close the pipes."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait(PATIENCE)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


def environment(**more: str) -> Mapping[str, str]:
    """The environment without what steers poolwise, but with the cache of the tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if "POOLWISE" not in name or name in ("POOLWISE_CACHE", "POOLWISE_WISDOM")
    }
    return kept | more


def read_lines(process: subprocess.Popen[bytes], count: int) -> bytes:
    """Read so many lines of its output."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(count)]
    if not lines[-1].endswith(b"\n"):
        assert process.stderr is not None
        raise AssertionError(process.stderr.read().decode())
    return b"".join(lines)


def wait_for_line(process: subprocess.Popen[bytes], line: bytes) -> None:
    """Read its standard error up to a line."""
    assert process.stderr is not None
    while (read := process.stderr.readline()) != line:
        assert read, f"ended without {line!r}"


def wait_until_gone(pid: int) -> None:
    """Wait for the end of a process that is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], PATIENCE)[0], f"{pid} lives"
    finally:
        os.close(descriptor)
