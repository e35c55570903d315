"""`poolwise wisdom`: shown, forgotten, exported, imported; wrong usage is one line and code 2."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from cli_command import Command, Finished, environment

from poolwise.machine import this_machine
from poolwise.machine.fingerprint import fingerprint_of
from poolwise.plan import Plan
from poolwise.probe import TaskProfile
from poolwise.wisdom import Entry, Subject, database

PROFILE = TaskProfile(14, 7.5e-3, 2.4e-3, 0.0, 2.1e-3, 2.4e-3)


def an_entry(name: str, at: float = 1.6e9, machine: str | None = None) -> Entry:
    machine = machine or fingerprint_of(this_machine().facts).short
    subject = Subject("work", name, "0123456789abcdef")
    return Entry(subject, machine, PROFILE, True, Plan("process", 2, 8), 1512, 2.0, at)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, for the command too."""
    monkeypatch.setenv("POOLWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def said(run: Finished) -> str:
    """The one line on standard error of a command that went well."""
    assert (run.code, run.out, run.err.count("\n")) == (0, "", 1)
    return run.err.removeprefix("poolwise: ").rstrip("\n")


def test_nothing_is_remembered_at_first(command: Command, cache: Path) -> None:
    run = command("wisdom", "show")
    assert (run.code, run.err) == (0, "")
    assert run.out.startswith("nothing is remembered\n")
    assert str(cache) in run.out
    assert said(command("wisdom", "forget")) == "forgot 0 plans"
    assert not cache.exists()


def test_what_is_shown(command: Command) -> None:
    entries = [an_entry("f"), an_entry("g"), an_entry("f", machine="another")]
    database.write(entries)
    run = command("wisdom", "show")
    assert (run.code, run.err) == (0, "")
    lines = run.out.splitlines()
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(1.6e9))
    figures = "process:2x8 5.1 ms 2.4 ms 1,512 2 s"
    assert " ".join(lines[1].split()) == f"work:f {figures} {when}"
    assert lines[2].startswith("work:g")
    assert "1 plan for other machines or other Pythons" in lines


@pytest.mark.parametrize("target", ["work:f", "work.py:f", "some/where/work.py:f"])
def test_forgetting_a_function(command: Command, target: str) -> None:
    database.write([an_entry("f"), an_entry("f", machine="another"), an_entry("g")])
    assert said(command("wisdom", "forget", target)) == "forgot 2 plans"
    assert [each.subject.name for each in database.read_all()] == ["g"]
    run = command("wisdom", "forget", target)
    assert run.code == 2
    assert run.err == f"poolwise: nothing is remembered of {target}; is it work:g?\n"
    assert said(command("wisdom", "forget")) == "forgot 1 plan"


def test_there_and_back(command: Command, tmp_path: Path) -> None:
    entries = [an_entry("f", at=2.0), an_entry("g", at=1.0, machine="another")]
    database.write(entries)
    assert said(command("wisdom", "export", "out.json")) == "exported 2 plans"
    piped = command("wisdom", "export", "-")
    assert (piped.code, piped.out) == (0, (tmp_path / "out.json").read_text())
    database.forget()
    other = "1 are for other machines or other Pythons, and of no use here"
    assert said(command("wisdom", "import", "out.json")) == f"imported 2 plans; {other}"
    assert database.read_all() == entries
    again = said(command("wisdom", "import", "-", stdin=piped.out))
    assert again.startswith("imported 0 plans; of 2 a run as late is remembered already")


def test_a_run_of_the_command_teaches_the_next(command: Command) -> None:
    env = environment(POOLWISE_WISDOM="on")
    arguments = ("map", "work:nap", "--expr", "[0.03] * 12", "--no-progress")
    first = command.finish(command.start(*arguments, env=env))
    assert first.code == 0
    assert "remembered for this function here" in first.err
    assert "from wisdom" not in first.err
    second = command.finish(command.start(*arguments, env=env))
    assert second.results == first.results
    assert "from wisdom: " in second.err
    assert "work:nap" in command("wisdom", "show").out


def _document(**changes: Any) -> str:
    return json.dumps({"format": 1, "kind": "wisdom", "entries": []} | changes)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "no action: give one of show, forget, export, import"),
        (("nonsense",), "there is no action nonsense: give one of show"),
        (("show", "work:f"), "show takes nothing more, not 'work:f'"),
        (("export",), "export takes a FILE"),
        (("import",), "import takes a FILE"),
        (("forget", "work:f", "work:g"), "unrecognized arguments: work:g"),
        (("forget", "work"), "'work' names no function; write package.module:function"),
        (("forget", ":f"), "':f' names no function"),
        (("forget", "work:h"), "nothing is remembered of work:h"),
        (("import", "absent.json"), "absent.json cannot be read (No such file or directory)"),
        (("import", "."), ". cannot be read (Is a directory)"),
        (("export", "absent/out.json"), "cannot write to absent/out.json"),
        (("import", "damaged.json"), "damaged.json cannot be imported: "),
        (("import", "huge.json"), "huge.json cannot be imported: Entry.at: 1000"),
        (("import", "-"), "standard input cannot be imported: "),
        (("import", "work.py"), "work.py cannot be imported: "),
        (("import", "later.json"), "its format is 99; this poolwise reads 2"),
        (("import", "binary"), "binary cannot be imported: "),
    ],
)
def test_wrong_usage_is_one_line(
    command: Command, folder: Path, arguments: tuple[str, ...], why: str
) -> None:
    (folder / "damaged.json").write_text(_document(entries=[{"at": 1.0}]))
    huge = an_entry("f").to_document() | {"at": 10**400}
    (folder / "huge.json").write_text(_document(format=2, entries=[huge]))
    (folder / "later.json").write_text(_document(format=99))
    (folder / "binary").write_bytes(b"\xff\x00\xfe")
    run = command("wisdom", *arguments)
    assert (run.code, run.out) == (2, ""), run
    assert run.err.startswith("poolwise: ")
    assert why in run.err
    assert run.err.count("\n") == 1


def test_an_import_that_fails_changes_nothing(command: Command, folder: Path) -> None:
    database.write([an_entry("f")])
    good = an_entry("g").to_document()
    (folder / "half.json").write_text(_document(entries=[good, good | {"calls": -1}]))
    assert command("wisdom", "import", "half.json").code == 2
    assert [each.subject.name for each in database.read_all()] == ["f"]


def test_a_file_that_cannot_be_used_is_one_line_and_exit_code_1(
    command: Command, cache: Path
) -> None:
    (cache / database.NAME).mkdir(parents=True)
    (cache / database.NAME / "inside").touch()
    for arguments in (("show",), ("forget",), ("export", "-")):
        run = command("wisdom", *arguments)
        assert (run.code, run.out, run.err.count("\n")) == (1, "", 1), run
        assert str(cache) in run.err


@pytest.mark.parametrize("where", ["/dev/null/x", "plain"])
def test_a_folder_that_cannot_be_one_is_one_line_and_exit_code_1(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    (folder / "plain").touch()
    monkeypatch.setenv("POOLWISE_CACHE", str(folder / where))
    for arguments in (("show",), ("forget",), ("forget", "work:f"), ("export", "-")):
        run = command("wisdom", *arguments)
        assert (run.code, run.out, run.err.count("\n")) == (1, "", 1), run
        assert where in run.err
