"""What real runs teach, and what a run in a new process makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from poolwise.machine import this_machine
from poolwise.wisdom import Entry, database

#: Prints what came of a map, as JSON.
PROGRAM = """
import json, sys, time
import poolwise
from poolwise.mechanisms import servers

def nap(seconds):
    time.sleep(seconds)
    return seconds

def is_prime(number):
    return all(number % by for by in range(2, int(number**0.5) + 1))

def primes(limit):
    return sum(map(is_prime, range(2, limit)))

seen = []

def count(number):
    seen.append(number)
    time.sleep(2e-3)
    return len(seen)

def refuse(number):
    time.sleep(2e-3)
    raise OSError("the server is down")

def mislead(function):
    from dataclasses import replace
    from poolwise.wisdom import database, keep, subject_of
    (entry,) = database.read_all()
    keep(replace(entry, subject=subject_of(function)), at_once=True)

values = eval(sys.argv[1])
document = json.loads(poolwise.last_run().explain().to_json())
loaded = [name for name in ("_sqlite3", "poolwise.wisdom.database") if name in sys.modules]
print(json.dumps([values, document, loaded, str(poolwise.last_run().explain())]))
"""

Ran = tuple[list[Any], dict[str, Any], list[str], str]


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs an expression in a process of its own, with a cache of this test's own."""
    monkeypatch.setenv("POOLWISE_CACHE", str(tmp_path / "cache"))
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)

    def run(expression: str, **environment: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script), expression],
            env={**os.environ, "POOLWISE_WISDOM": "on", **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        values, document, loaded, text = json.loads(done.stdout)
        return values, document, loaded, text

    return run


def remembered() -> list[Entry]:
    return database.read_all()


NAPS = "list(poolwise.map(nap, [0.03] * 12))"


def undisturbed(run: Callable[[], Ran], key: str) -> Ran:
    """Run until the explanation has something under a key.

    On a busy machine a nap may last several times as long as it should: then the calls are not
    those that are remembered, or there is nothing to be learnt from them, and rightly so.
    """
    for _ in range(20):
        result = run()
        if result[1][key]:
            return result
    pytest.fail(f"nothing is {key} after twenty runs; of the last: {result[1]}")


def test_the_next_process_goes_on_from_it_and_says_so(ran: Callable[..., Ran]) -> None:
    values, document, _, text = undisturbed(lambda: ran(NAPS), "kept")
    assert "remembered for this function here" in text
    entries = remembered()

    def next_run() -> Ran:
        entries[:] = remembered()
        return ran(NAPS)

    again, document, _, text = undisturbed(next_run, "remembered")
    (entry,) = entries
    assert str(entry.subject) == "program:nap"
    assert entry.calls == 12
    assert again == values
    assert document["remembered"]["calls"] == 12
    assert document["remembered"]["plan"]["spec"] == entry.plan.spec
    assert f"from wisdom: {entry.plan}, by {entry.run}" in text
    assert any("remembered from" in phase["text"] for phase in document["phases"])


FEW = "[list(poolwise.map(primes, {inputs})), servers.there_is()]"


BESIDE = pytest.mark.skipif(
    this_machine().facts.usable_cpus < 2.0, reason="one CPU: nothing is forked for the other calls"
)


@BESIDE
def test_a_few_short_calls_fork_the_program_once_and_then_no_more(ran: Callable[..., Ran]) -> None:
    short = FEW.format(inputs=[100, 101, 102])
    (values, forked), *_ = undisturbed(lambda: ran(short), "kept")
    assert forked
    (again, forked), *_ = undisturbed(lambda: ran(short), "remembered")
    assert again == values
    assert not forked


@BESIDE
def test_who_was_short_once_may_be_long_the_next_time(ran: Callable[..., Ran]) -> None:
    undisturbed(lambda: ran(FEW.format(inputs=[100, 101, 102])), "kept")
    (values, _), document, *_ = ran(FEW.format(inputs=[70_000] * 3))
    assert values == [6_935] * 3
    assert sum(each["calls"] for each in document["uses"]) == 3


def test_nothing_is_remembered_at_first(ran: Callable[..., Ran]) -> None:
    assert ran(NAPS)[1]["remembered"] is None


def test_the_same_process_does_too(ran: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    nowhere = str(tmp_path / "taken" / "cache")  # so that it can come from nowhere else
    twice = f"[{NAPS}, {NAPS}][1]"
    _, document, _, _ = undisturbed(lambda: ran(twice, POOLWISE_CACHE=nowhere), "remembered")
    assert document["remembered"]["calls"] == 12


@pytest.mark.parametrize(
    "expression",
    [
        "list(poolwise.map(abs, range(1000)))",  # over at once
        "list(poolwise.map(nap, [0.03] * 12, plan='thread:4'))",  # chosen by the user
        "list(poolwise.map(count, range(12)))",  # only a loop will do: there is no choice
        "list(map(str, poolwise.map(refuse, range(20), on_error='return')))",
        "next(run := poolwise.map(nap, [0.03] * 200)) and run.close() or []",  # left at once
        f"[run := {NAPS[5:-1]}, run._drive.teach_nothing(), run.results()][2]",
    ],
)
def test_what_teaches_nothing_is_not_kept(ran: Callable[..., Ran], expression: str) -> None:
    _, document, loaded, text = ran(expression)
    assert (document["remembered"], document["kept"]) == (None, False)
    assert "remembered" not in text
    assert "_sqlite3" not in loaded
    assert remembered() == []


def test_switched_off_it_is_neither_used_nor_added_to(ran: Callable[..., Ran]) -> None:
    _, document, loaded, _ = ran(f"[{NAPS}, {NAPS}][1]", POOLWISE_WISDOM="off")
    assert (document["remembered"], document["kept"], loaded) == (None, False, [])
    assert remembered() == []


def test_a_word_that_is_neither_on_nor_off_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import poolwise

    monkeypatch.setenv("POOLWISE_WISDOM", "perhaps")
    with pytest.raises(ValueError, match=r"POOLWISE_WISDOM takes on or off, not 'perhaps'"):
        poolwise.map(abs, [1])


def test_a_habit_is_seen_though_the_function_is_known(ran: Callable[..., Ran]) -> None:
    """With the entry of another function under its name."""
    undisturbed(lambda: ran(NAPS), "kept")
    values, document, _, _ = ran("[mislead(count), list(poolwise.map(count, range(30)))][1]")
    assert values == list(range(1, 31))
    assert document["plan"]["spec"] == "inline"
    assert len(remembered()) == 2


def test_an_unusable_cache_is_nobodys_error(ran: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    nowhere = str(tmp_path / "taken" / "cache")
    values, _, _, _ = undisturbed(lambda: ran(NAPS, POOLWISE_CACHE=nowhere), "kept")  # in memory
    assert values == [0.03] * 12


def test_workers_that_began_before_the_first_call_have_the_others(ran: Callable[..., Ran]) -> None:
    """Results, and their order, are those of a loop, whatever was begun and for whom."""
    counts = "list(poolwise.map(primes, [9_000] * 40))"
    undisturbed(lambda: ran(counts), "kept")
    values, document, _, _ = undisturbed(lambda: ran(counts), "remembered")
    assert values == [1117] * 40
    assert document["remembered"]["plan"]["mechanism"] in ("process", "thread")
    # Small ones are another kind, which nothing is begun for.
    assert ran("list(poolwise.map(primes, [10] * 40))")[0] == [4] * 40
