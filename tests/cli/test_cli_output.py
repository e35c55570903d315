"""The lines, when they come, and what goes elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from cli_command import PATIENCE, Command, environment, read_lines

from thorough import thorough

PLANS = ["inline", "process:2", *thorough("thread:2", "process:1x2")]
#: For calls that another must not take into a batch.
ONE_BY_ONE = ["inline/1", "process:2/1", *thorough("thread:2/1", "process:1x2/1")]


@pytest.mark.parametrize("plan", PLANS)
def test_the_form_of_a_line(command: Command, plan: str) -> None:
    run = command("map", "work:fails_for_odd", "--expr", "range(3)", "--plan", plan, "-q")
    assert run.out == (
        '{"index": 0, "input": 0, "result": 0}\n'
        '{"index": 1, "input": 1, "error": {"type": "ValueError", "message": "1 is odd"}}\n'
        '{"index": 2, "input": 2, "result": 2}\n'
    )
    assert (run.code, run.err) == (1, "")


@pytest.mark.parametrize("plan", ["auto", *PLANS])
def test_lines_come_in_input_order(command: Command, plan: str) -> None:
    pin = () if plan == "auto" else ("--plan", plan)
    run = command("map", "work:slowest_first", "--expr", "range(10)", "-q", *pin)
    assert run.code == 0
    assert [line["index"] for line in run.lines] == list(range(10))
    assert run.results == [value * 10 for value in range(10)]


@pytest.mark.parametrize("plan", ["thread:4/1", "process:2x2/1"])
def test_out_of_order_every_line_has_its_own_input(command: Command, plan: str) -> None:
    run = command(
        "map", "work:slowest_first", "--expr", "range(10)", "-q", "--unordered", "--plan", plan
    )
    indices = [line["index"] for line in run.lines]
    assert sorted(indices) == list(range(10))
    assert indices != sorted(indices)
    assert all(line["result"] == 10 * line["input"] == 10 * line["index"] for line in run.lines)


@pytest.mark.parametrize("plan", ["inline", "process:2"])
@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("a_set", "a result of type set is not JSON: "),
        ("a_function", "a result of type function is not JSON: "),
        ("not_a_number", "a result of type float is not JSON: "),
    ],
)
def test_a_result_that_is_not_json_is_an_error(
    command: Command, plan: str, function: str, why: str
) -> None:
    run = command("map", f"work:{function}", "--expr", "[1]", "--plan", plan, "-q")
    (line,) = run.lines
    assert run.code == 1
    assert line["error"]["type"] == "TypeError"
    assert line["error"]["message"].startswith(why)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.fault
def test_a_call_that_exits_is_an_error_of_its_own_only(command: Command, plan: str) -> None:
    run = command("map", "work:exits", "--expr", "'ab'", "--plan", plan, "-q")
    assert run.code == 1
    assert [line["error"] for line in run.lines] == [
        {"type": "SystemExit", "message": "exit from a"},
        {"type": "SystemExit", "message": "exit from b"},
    ]


@pytest.mark.parametrize("order", [(), ("--unordered",)])
@pytest.mark.fault
def test_a_worker_that_dies_costs_one_input(command: Command, order: tuple[str, ...]) -> None:
    run = command(
        "map", "work:dies_at_5", "--expr", "range(9)", "--plan", "process:2", "-q", *order
    )
    assert run.code == 1
    assert sorted(line["index"] for line in run.lines) == list(range(9))
    (died,) = [line for line in run.lines if "error" in line]
    assert (died["index"], died["input"], died["error"]["type"]) == (5, 5, "WorkerCrashed")


@pytest.mark.parametrize("plan", PLANS)
def test_what_the_function_prints_is_no_output(command: Command, plan: str) -> None:
    run = command("map", "work:prints", "--expr", "range(2)", "--plan", plan, "-q")
    assert run.results == [0, 1]
    assert sorted(run.err.splitlines()) == ["printed 0", "printed 1"]


def test_output_to_a_file(command: Command) -> None:
    run = command("map", "work:same", "--expr", "range(3)", "-q", "-o", "out.jsonl")
    assert (run.code, run.out) == (0, "")
    assert (command.folder / "out.jsonl").read_text().count("\n") == 3


def test_a_file_that_cannot_be_written(command: Command) -> None:
    run = command("map", "work:same", "--expr", "[1]", "-o", "no/such/out")
    assert (run.code, run.out) == (2, "")
    assert run.err == "poolwise: cannot write to no/such/out: No such file or directory\n"


def test_the_inputs_are_not_overwritten(command: Command) -> None:
    (command.folder / "data.jsonl").write_text("1\n")
    run = command("map", "work:same", "--jsonl", "data.jsonl", "-o", "./data.jsonl")
    assert run.code == 2
    assert "-o ./data.jsonl would overwrite the inputs" in run.err
    assert (command.folder / "data.jsonl").read_text() == "1\n"


@pytest.mark.parametrize("output", ["b.txt", "./a.txt", "hard"])
def test_a_file_among_the_paths_is_not_overwritten(command: Command, output: str) -> None:
    for name in "ab":
        (command.folder / f"{name}.txt").write_text("precious\n")
    (command.folder / "hard").hardlink_to(command.folder / "a.txt")
    run = command("map", "work:size", "*.txt", "-o", output)
    assert (run.code, run.out) == (2, "")
    assert run.err == f"poolwise: -o {output} would overwrite the inputs; give another file\n"
    assert (command.folder / output).read_text() == "precious\n"


@pytest.mark.parametrize("inputs", [("--lines", "-"), ("--expr", "[1]")])
def test_what_standard_input_comes_from_is_not_overwritten(
    command: Command, inputs: tuple[str, ...]
) -> None:
    """With `--expr` it may be the function that reads it."""
    file = command.folder / "data.txt"
    file.write_text("precious\n")
    with file.open("rb") as stdin:
        process = command.start("map", "work:same", *inputs, "-o", "data.txt", stdin=stdin)
        run = command.finish(process)
    assert run.code == 2
    assert run.err == "poolwise: -o data.txt would overwrite the inputs; give another file\n"
    assert file.read_text() == "precious\n"


@pytest.mark.parametrize("target", ["work:same", "work.py:same"])
def test_the_file_of_the_function_is_not_overwritten(command: Command, target: str) -> None:
    before = (command.folder / "work.py").read_text()
    run = command("map", target, "--expr", "[1]", "-o", "work.py")
    assert run.code == 2
    assert run.err == (
        "poolwise: -o work.py would overwrite the file of TARGET; give another file\n"
    )
    assert (command.folder / "work.py").read_text() == before


def test_what_leads_nowhere_may_be_both(command: Command) -> None:
    run = command("map", "work:same", "--lines", "/dev/null", "-o", "/dev/null", "-q")
    assert (run.code, run.err) == (0, "")


@pytest.mark.parametrize("plan", ["inline", "process:2"])
@pytest.mark.parametrize("closed", [(2,), (0, 2)])
def test_with_standard_error_closed_what_is_meant_for_it_goes_nowhere(
    command: Command, plan: str, closed: tuple[int, ...]
) -> None:
    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    arguments = ("map", "work:prints", "--expr", "range(2)", "--plan", plan)
    process = command.start(*arguments, stdin=subprocess.DEVNULL, preexec_fn=close)
    run = command.finish(process)
    assert run.code == 0
    assert run.results == [0, 1]
    process = command.start(*arguments, "-o", "out", stdin=subprocess.DEVNULL, preexec_fn=close)
    run = command.finish(process)
    assert (run.code, run.out) == (0, "")
    lines = (command.folder / "out").read_text().splitlines()
    assert [json.loads(line)["result"] for line in lines] == [0, 1]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk(command: Command) -> None:
    run = command("map", "work:same", "--expr", "range(99)", "-q", "-o", "/dev/full")
    assert run.code == 1
    assert run.err == "poolwise: cannot write to /dev/full: No space left on device\n"


def test_standard_error_has_the_explanation_and_the_failures(command: Command) -> None:
    run = command("map", "work:fails_for_odd", "--expr", "range(4)", "--plan", "thread:2")
    *explanation, summary = run.err.splitlines()
    assert "4 inputs" in explanation[0]
    assert explanation[-1] == "pin --plan thread:2"
    assert summary == "poolwise: 2 of 4 inputs failed; the first: input 1, ValueError: 1 is odd"
    run = command("map", "work:fails_for_odd", "--expr", "range(4)", "--no-explain")
    assert run.err.count("\n") == 1


def test_of_a_message_without_end_the_summary_has_the_beginning(command: Command) -> None:
    run = command("map", "work:long_winded", "--expr", "range(2)", "--plan", "inline")
    assert run.code == 1
    summary = run.err.splitlines()[-1]
    assert summary.startswith("poolwise: 2 of 2 inputs failed; the first: input 0, ValueError: xxx")
    assert summary.endswith("x… (10,000,021 characters)")
    assert len(summary) < 2_000
    assert [len(line["error"]["message"]) for line in run.lines] == [10_000_000] * 2


@pytest.mark.parametrize("plan", PLANS)
def test_fail_fast_stops_at_the_first_error(command: Command, plan: str) -> None:
    endless = "__import__('itertools').count()"
    run = command("map", "work:fails_for_odd", "--expr", endless, "--plan", plan, "--fail-fast")
    assert run.code == 1
    *_, last = run.err.splitlines()
    assert last == "poolwise: --fail-fast ended it after 2 lines: input 1, ValueError: 1 is odd"
    assert [line["index"] for line in run.lines] == [0, 1]
    assert "error" in run.lines[-1]


@pytest.mark.parametrize("plan", ONE_BY_ONE)
@pytest.mark.parametrize("order", [(), ("--unordered",)])
def test_a_line_does_not_wait_for_the_next_call(
    command: Command, plan: str, order: tuple[str, ...]
) -> None:
    os.mkfifo(command.folder / "gate")
    process = command.start(
        "map", "work:through_gate", "--expr", "range(2)", "-q", "--plan", plan, *order
    )
    read = read_lines(process, 1)
    (command.folder / "gate").write_text("go")  # returns when the call has opened the other end
    run = command.finish(process, read)
    assert run.results == [0, 1]


@pytest.mark.parametrize("plan", ["auto", "inline", "process:2"])
def test_many_tiny_results(command: Command, plan: str) -> None:
    pin = () if plan == "auto" else ("--plan", plan)
    run = command("map", "work:same", "--expr", "range(100_000)", "-q", *pin)
    assert run.code == 0
    assert run.out.count("\n") == 100_000
    assert run.lines[-1] == {"index": 99_999, "input": 99_999, "result": 99_999}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.fault
def test_head_ends_it_quietly(command: Command, plan: str) -> None:
    pipeline = (
        f'"{sys.executable}" -m poolwise map work:briefly '
        f"--expr '__import__(\"itertools\").count()' --plan {plan} 2>err; echo $? >code"
    )
    run = subprocess.run(
        ["sh", "-c", f"({pipeline}) | head -n 3"],
        cwd=command.folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert run.stdout.count("\n") == 3
    assert (run.stderr, (command.folder / "err").read_text()) == ("", "")
    assert (command.folder / "code").read_text() == "0\n"


@pytest.mark.fault
def test_calls_that_hang_or_kill_their_worker_are_lines_of_their_own(command: Command) -> None:
    guards = ("--timeout", "1", "--retries", "1", "--memory-limit", "2GB", "-q")
    run = command("map", "work:dies_at_5", "--expr", "range(8)", *guards)
    assert run.code == 1
    assert [line["index"] for line in run.lines] == list(range(8))
    failed = [line for line in run.lines if "error" in line]
    assert [line["index"] for line in failed] == [5]
    assert failed[0]["error"]["type"] == "WorkerCrashed"
    assert "started 2 times" in failed[0]["error"]["message"]
    run = command("map", "work:double", "--expr", "range(8)", "--isolate", *guards)
    assert run.results == [value * 2 for value in range(8)]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (("--timeout", "0"), "takes seconds above 0"),
        (("--retries", "-1"), "takes a whole number"),
        (("--memory-limit", "2 parsecs"), "2 parsecs"),
        (("--timeout", "1", "--plan", "thread:2"), "task_timeout needs worker processes"),
    ],
)
def test_limits_that_cannot_be_are_refused(
    command: Command, options: tuple[str, ...], wrong: str
) -> None:
    run = command("map", "work:double", "--expr", "range(8)", *options)
    assert run.code == 2
    assert wrong in run.err
