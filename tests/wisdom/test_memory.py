"""What a process remembers, and when it reaches the file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from wisdom_entries import PROFILE

from explain.explain_records import a_record
from poolwise.executor.record import PlanUse
from poolwise.executor.remember import Memory
from poolwise.machine import this_machine
from poolwise.machine.fingerprint import fingerprint_of
from poolwise.plan import Plan
from poolwise.task import Task
from poolwise.wisdom import Entry, database, drop, flush, keep, memory, recall, spent, subject_of

FACTS = this_machine().facts


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and nothing in memory; nothing is left to be written at the end."""
    monkeypatch.setenv("POOLWISE_CACHE", str(tmp_path / "cache"))
    memory.forget_all()
    yield tmp_path / "cache" / database.NAME
    memory.forget_all()


def work(x: int) -> int:
    return x


def entry_of(function: object, at: float = 1.0) -> Entry:
    subject = subject_of(function)  # type: ignore[arg-type]
    machine = fingerprint_of(FACTS).short
    return Entry(subject, machine, PROFILE, True, Plan("process", 2), 100, 2.0, at)


def test_what_is_kept_is_recalled_at_once_and_reaches_the_file_when_asked(file: Path) -> None:
    assert recall(work, FACTS) is None
    entry = entry_of(work)
    keep(entry, at_once=False)
    assert recall(work, FACTS) is entry
    assert not file.exists()
    flush()
    assert database.read_all() == [entry]
    later = entry_of(work, at=2.0)
    keep(later, at_once=True)
    assert database.read_all() == [later]


def test_what_a_function_has_used_in_this_process_adds_up() -> None:
    entry = entry_of(work)
    assert spent(entry) == 0.0
    keep(entry, at_once=False)
    keep(entry_of(work, at=2.0), at_once=False)
    assert spent(entry) == pytest.approx(200 * PROFILE.cpu)
    memory.forget_all()
    assert spent(entry) == 0.0


@pytest.mark.parametrize(("times", "stays"), [(1.0, True), (2.5, True), (0.1, False), (10, False)])
def test_what_has_turned_out_to_be_wrong_is_not_gone_on_from_again(
    times: float, stays: bool
) -> None:
    """Even if the run that shows it is too short to tell what would be right."""
    entry = entry_of(work)
    keep(entry, at_once=False)
    used = PlanUse(entry.plan, 20, 10e-3, 10e-3, 20 * times * PROFILE.cpu)
    record = replace(
        a_record(PROFILE, function=work), uses=(used,), remembered=entry, elapsed=10e-3, done=20
    )
    assert not Memory(Task(work), FACTS).keep(record, learned=True)
    assert recall(work, FACTS) == (entry if stays else None)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another process"])
def test_what_such_inputs_have_taught_is_recalled_and_else_the_latest(elsewhere: bool) -> None:
    small, large = (replace(entry_of(work, at), inputs=f"int {at}") for at in (1.0, 2.0))
    keep(small, at_once=True)
    keep(large, at_once=True)
    if elsewhere:
        memory.forget_all()
    assert recall(work, FACTS, small.inputs) == small
    assert recall(work, FACTS, large.inputs) == large
    assert recall(work, FACTS, "str 3") == large
    drop(large)
    assert recall(work, FACTS, large.inputs) == small
    for number in range(10):
        keep(replace(small, inputs=f"str {number}"), at_once=False)
    assert len(memory._known[small.key]) == 4


def test_a_new_process_recalls_it() -> None:
    entry = entry_of(work)
    keep(entry, at_once=True)
    memory.forget_all()
    assert recall(work, FACTS) == entry


def test_another_machine_does_not() -> None:
    keep(entry_of(work), at_once=True)
    memory.forget_all()
    assert recall(work, replace(FACTS, usable_cpus=FACTS.usable_cpus + 1)) is None
    assert recall(work, replace(FACTS, gil=not FACTS.gil)) is None


def test_what_has_no_file_is_remembered_for_this_process_only(file: Path) -> None:
    entry = entry_of(work)
    entry = replace(entry, subject=replace(entry.subject, module=""))
    keep(entry, at_once=True)
    assert memory._known[entry.key] == (entry,)
    assert not file.exists()


def test_a_child_of_a_fork_writes_nothing_of_its_parents(file: Path) -> None:
    keep(entry_of(work), at_once=False)
    pid = os.fork()
    if not pid:
        try:
            flush()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert not file.exists()
    flush()
    assert file.exists()


def test_what_cannot_be_written_now_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    (tmp_path / "taken").touch()
    monkeypatch.setenv("POOLWISE_CACHE", str(tmp_path / "taken" / "cache"))
    entry = entry_of(work)
    keep(entry, at_once=True)
    assert recall(work, FACTS) is entry
    monkeypatch.setenv("POOLWISE_CACHE", str(file.parent))
    flush()
    assert database.read_all() == [entry]


def test_what_is_remembered_is_bounded() -> None:
    for number in range(1000):
        entry = entry_of(work)
        keep(replace(entry, subject=replace(entry.subject, name=f"f{number}")), at_once=False)
    assert len(memory._known) <= 256
    assert len(memory._pending) <= 256


def test_a_no_does_not_load_sqlite(file: Path) -> None:
    keep(entry_of(work), at_once=True)
    program = """
import sys
from poolwise.machine import this_machine
from poolwise.wisdom import recall
assert recall(len, this_machine().facts) is None
assert not {"sqlite3", "_sqlite3"} & {*sys.modules}
"""
    subprocess.run([sys.executable, "-c", program], check=True)
