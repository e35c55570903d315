"""Help, and what is said about wrong usage: one line, exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_command import PATIENCE, Command, environment

from poolwise import __version__


def test_the_script_and_the_module_are_the_same_command(command: Command) -> None:
    script = [str(Path(sys.executable).with_name("poolwise")), "--help"]
    run = subprocess.run(script, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (run.returncode, run.stdout) == (0, command("--help").out)


def test_help_names_the_commands_that_exist(command: Command) -> None:
    help = command("--help")
    assert help.code == 0
    assert "map" in help.out
    assert "advise" in help.out
    assert "measure" in help.out
    assert "wisdom" in help.out


@pytest.mark.parametrize("name", ["map", "advise"])
def test_help_of_a_command_tells_inputs_and_exit_codes(command: Command, name: str) -> None:
    help = command(name, "--help")
    assert (help.code, help.err) == (0, "")
    for word in ("TARGET", "PATH", "--lines", "--jsonl", "--expr", "--limit", "exit codes"):
        assert word in help.out


def test_help_loads_nothing_heavy() -> None:
    program = """
import sys
from poolwise.cli import main
main(["map", "--help"])
print("loaded:", *sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.partition("loaded:")[2].split())
    # Not dataclasses: argparse itself loads them from 3.14 on.
    heavy = "cloudpickle tqdm asyncio multiprocessing concurrent poolwise.api"
    assert loaded.isdisjoint(heavy.split())


def test_version(command: Command) -> None:
    assert command("--version").out == f"poolwise {__version__}\n"


def test_without_a_command_the_help_goes_to_standard_error(command: Command) -> None:
    run = command()
    assert (run.code, run.out) == (2, "")
    assert "commands:" in run.err


MAP = ("map", "work:same")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("wsidom",), "there is no command wsidom; there are map, advise, measure, wisdom"),
        (("--nonsense",), "unrecognized arguments: --nonsense"),
        (("map",), "no TARGET: give package.module:function"),
        (MAP, "no inputs: give PATH..., --lines, --jsonl or --expr"),
        ((*MAP, "--expr", "[1]", "--lines", "-"), "inputs of one kind only, not --lines and"),
        ((*MAP, "work.py", "--jsonl", "-"), "inputs of one kind only, not PATH and --jsonl"),
        ((*MAP, "--lines", "-", "--spread"), "--spread passes JSON objects, which --lines does"),
        ((*MAP, "--expr", "[1]", "--nonsense"), "unrecognized arguments: --nonsense"),
        (
            (*MAP, "--expr", "[1]", "--max-concurency", "2"),
            "map has no option '--max-concurency'; did you mean '--max-concurrency'?",
        ),
        ((*MAP, "--expr", "[1]", "--n-jobs=2"), "'--n-jobs'; did you mean '--max-workers'?"),
        ((*MAP, "--expr", "[1]", "--no-explian"), "did you mean '--no-explain'?"),
        (("measure", "--quik"), "did you mean '--quick'?"),
        (("--versoin",), "poolwise has no option '--versoin'; did you mean '--version'?"),
        ((*MAP, "--expr", "[1]", "--max-workers", "0"), "--max-workers: takes a whole number"),
        ((*MAP, "--expr", "[1]", "--limit", "x"), "--limit: takes a whole number of at least 1"),
        ((*MAP, "--expr", "[1]", "--grace", "-1"), "--grace: takes seconds, not '-1'"),
        ((*MAP, "--expr", "[1]", "--plan", "procces:2"), "did you mean 'process'?"),
        ((*MAP, "--expr", "[1]", "--plan", "2 processes"), "write MECHANISM[:WORKERS"),
        ((*MAP, "--expr", "[1]", "--mechanism", "gpu"), "mechanism takes one of auto, inline"),
        ((*MAP, "--expr", "[1]", "--plan", "thread:2", "--max-workers", "3"), "give one or the"),
        (("advise", "work:same", "--expr", "[1]", "--json", "--code"), "not allowed with"),
    ],
)
def test_wrong_usage_is_said_in_one_line(
    command: Command, arguments: tuple[str, ...], why: str
) -> None:
    run = command(*arguments)
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("poolwise: ")
    assert why in run.err
    assert run.err.count("\n") == 1


def test_an_environment_that_says_no_plan_is_wrong_usage(command: Command) -> None:
    env = environment(POOLWISE_PLAN="nonsense!")
    run = command.finish(command.start(*MAP, "--expr", "[1]", env=env))
    assert run.code == 2
    assert run.err.startswith("poolwise: the environment variable POOLWISE_PLAN: ")


def test_options_may_stand_between_target_and_paths(command: Command) -> None:
    run = command("map", "work:size", "--plan", "thread:2", "work.py", "-q", "sibling.py")
    assert [line["input"] for line in run.lines] == ["work.py", "sibling.py"]


@pytest.mark.parametrize("module", ["argparse", "poolwise.cli.output", "poolwise.cli.signals"])
def test_ctrl_c_before_anything_has_begun(command: Command, module: str) -> None:
    """The signal comes while the command imports what it needs itself."""
    program = f"""
import os, signal, sys
from poolwise.cli import main

class Interrupts:
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts)
assert {module!r} not in sys.modules
raise SystemExit(main(["map", "work:same", "--expr", "[1]", "--limit", "1"]))
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=command.folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")
