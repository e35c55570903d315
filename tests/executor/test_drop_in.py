"""A program runs unchanged but for the import: with standard executors and with this one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import poolwise
from thorough import thorough

PROGRAM = Path(__file__).with_name("drop_in_program.py").read_text()

STANDARD = [("ThreadPoolExecutor", "thread"), ("ProcessPoolExecutor", "process")]

#: ``"auto"`` begins in threads, and so it is what a program with a thread pool may expect.
OURS = [("thread", "thread"), ("process", "process"), ("auto", "thread")]


def run(imported: str, kind: str, newest: bool, folder: Path) -> list[str]:
    """Run the program with another import; return what it printed."""
    program = PROGRAM
    for start, other in (
        ("from concurrent.futures import ", imported),
        ("KIND = ", f"KIND = {kind!r}"),
        ("NEWEST = ", f"NEWEST = {newest}"),
    ):
        (line,) = (each for each in PROGRAM.splitlines() if each.startswith(start))
        program = program.replace(line, other)
    script = folder / "program.py"
    script.write_text(program)
    ended = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


@pytest.mark.parametrize(("mechanism", "kind"), OURS)
def test_it_runs_with_this_executor(mechanism: str, kind: str, tmp_path: Path) -> None:
    imported = (
        "import functools, poolwise; "
        f"Pool = functools.partial(poolwise.Executor, mechanism={mechanism!r})"
    )
    printed = run(imported, kind, True, tmp_path)
    assert printed[-2:] == ["beside_a_loop", "finished at exit"]
    assert len(printed) == 10


# Whether the program is one that the standard executors run is asked when everything is.
@pytest.mark.parametrize(("name", "kind"), thorough(*STANDARD))
def test_it_runs_with_the_standard_executors(name: str, kind: str, tmp_path: Path) -> None:
    imported = f"from concurrent.futures import {name} as Pool"
    assert len(run(imported, kind, False, tmp_path)) == 10


def test_asyncio_takes_it_for_a_call_but_not_as_its_default() -> None:
    async def program() -> int:
        loop = asyncio.get_running_loop()
        with poolwise.Executor(2) as pool:
            with pytest.raises(TypeError, match="ThreadPoolExecutor"):
                loop.set_default_executor(pool)  # type: ignore[arg-type]
            there = await loop.run_in_executor(pool, abs, -1)
            return there + await asyncio.wrap_future(pool.submit(abs, -2))

    assert asyncio.run(program()) == 3
