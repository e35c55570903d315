"""`poolwise measure`: JSON, text in two languages, single claims; signals leave nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from cli_command import Command, environment, wait_for_line, wait_until_gone

from poolwise import MachineProfile
from thorough import thorough

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The cache folder that a quick measurement has left, and what it wrote."""
    cache = tmp_path_factory.mktemp("measured")
    command = Command(cache)
    process = command.start(
        "measure", "--quick", "--json", env=environment(POOLWISE_CACHE=str(cache))
    )
    run = command.finish(process)
    command.close()
    assert run.code == 0, run.err
    return cache, run.out, run.err


def finish(command: Command, cache: Path, *arguments: str, **more: str) -> tuple[int, str, str]:
    env = environment(POOLWISE_CACHE=str(cache), **more)
    run = command.finish(command.start("measure", *arguments, env=env))
    return run.code, run.out, run.err


def test_the_json_is_a_profile_with_all_dimensions(measured: tuple[Path, str, str]) -> None:
    cache, out, err = measured
    profile = MachineProfile.from_json(out)
    document = json.loads(out)
    assert all(document.values())
    assert len(document["claims"]) == len(profile.claims) > 40
    assert [line.split()[2] for line in err.splitlines()] == [
        "isolation", "resources", "communication", "concurrency", "suitability", "implementation"
    ]  # fmt: skip
    (file,) = cache.glob("*.json")
    assert MachineProfile.from_json(file.read_text()).isolation == profile.isolation


def test_a_claim_is_shown_from_the_profile_that_was_kept(
    command: Command, measured: tuple[Path, str, str]
) -> None:
    code, out, err = finish(command, measured[0], "--claim", "3.t.2", "--lang", "en")
    assert (code, err) == (0, "")
    assert out.startswith("3.T.2")
    code, out, err = finish(command, measured[0], "--claim", "3.T.2", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["id"] == "3.T.2"


@pytest.mark.parametrize(
    ("options", "variables", "chinese"),
    [
        (("--lang", "zh"), {"LC_ALL": "C.UTF-8"}, True),
        ((), {"LC_ALL": "zh_CN.UTF-8"}, True),
        ((), {"LC_ALL": "C.UTF-8"}, False),
        (("--lang", "en"), {"LC_ALL": "zh_CN.UTF-8"}, False),
    ],
)
def test_the_language_is_what_was_asked_for_or_that_of_the_locale(
    command: Command,
    measured: tuple[Path, str, str],
    options: tuple[str, ...],
    variables: dict[str, str],
    chinese: bool,
) -> None:
    code, out, _ = finish(command, measured[0], "--claim", "1.P.1", *options, **variables)
    assert code == 0
    assert any("\u4e00" <= letter <= "\u9fff" for letter in out.splitlines()[0]) is chinese


def test_the_program_of_a_claim_is_printed_and_run(command: Command, tmp_path: Path) -> None:
    code, source, err = finish(command, tmp_path, "--claim", "3.T.2", "--code")
    assert (code, err) == (0, "")
    compile(source, "3.T.2", "exec")
    code, out, err = finish(command, tmp_path, "--claim", "3.T.2", "--run")
    assert (code, err) == (0, "")
    assert out
    assert not list(tmp_path.glob("*.json"))  # nothing was measured


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--claim", "9.X.9"), "there is no claim '9.X.9'"),
        (("--run",), "--claim"),
        (("--code",), "--claim"),
        (("--claim", "3.T.2", "--code", "--run"), "not allowed with"),
        (("--lang", "fr"), "invalid choice"),
        (("what",), "unrecognized"),
    ],
)
def test_wrong_usage_is_one_line(command: Command, arguments: tuple[str, ...], said: str) -> None:
    run = command("measure", *arguments)
    assert (run.code, run.out) == (2, "")
    assert said in run.err
    assert run.err.startswith("poolwise: ")
    assert run.err.count("\n") == 1


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, listing.read_text().split()):
            found |= {child} | _descendants(child)
    return found


@pytest.mark.parametrize("whom", ["command", "group"])
@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("step", ["isolation", "resources", *thorough("concurrency")])
def test_a_signal_leaves_no_worker_and_no_profile(
    command: Command, tmp_path: Path, step: str, number: signal.Signals, code: int, whom: str
) -> None:
    cache = tmp_path / "cache"
    process = command.start(
        "measure",
        "--quick",
        "--json",
        env=environment(POOLWISE_CACHE=str(cache)),
        start_new_session=True,
    )
    _wait_for_step(process, step)
    left = _descendants(process.pid)
    if whom == "group":
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    run = command.finish(process)
    assert (run.code, run.out) == (code, "")
    assert "Traceback" not in run.err
    for pid in left:
        wait_until_gone(pid)
    assert not cache.exists()


def _wait_for_step(process: subprocess.Popen[bytes], step: str) -> None:
    names = ("isolation", "resources", "communication", "concurrency")
    number = names.index(step) + 1
    wait_for_line(process, f"poolwise: measuring {step} ({number} of 6)\n".encode())
