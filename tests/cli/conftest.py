"""Each test runs the command in a folder of its own, with the same few modules in it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_command import Command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `work.py` and `sibling.py`."""
    for source in (Path(__file__).parent / "work").glob("*.py"):
        shutil.copy(source, tmp_path)
    return tmp_path


@pytest.fixture
def command(folder: Path) -> Iterator[Command]:
    """The command, to be run in that folder."""
    command = Command(folder)
    yield command
    command.close()
