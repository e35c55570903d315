"""Paths, lines, JSON lines, expressions."""

from __future__ import annotations

import os
import signal

import pytest
from cli_command import Command, read_lines

SAME = ("map", "work:same", "--quiet")


# ---- paths --------------------------------------------------------------------------------


def test_patterns_are_expanded_sorted_and_without_folders(command: Command) -> None:
    deep = command.folder / "a" / "b"
    deep.mkdir(parents=True)
    for path in (deep / "z.txt", deep.parent / "y.txt", command.folder / "x.txt"):
        path.write_text("text")
    run = command(*SAME, "**/*.txt", "work.py", "a/**")
    assert run.results == ["a/b/z.txt", "a/y.txt", "x.txt", "work.py", "a/b/z.txt", "a/y.txt"]


def test_an_existing_path_is_not_a_pattern(command: Command) -> None:
    (command.folder / "a[1].txt").write_text("text")
    (command.folder / "a1.txt").write_text("text")
    assert command(*SAME, "a[1].txt").results == ["a[1].txt"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (".", ". is a folder; give a pattern for files in it: './**/*'"),
        ("nothing.txt", "there is no file nothing.txt"),
        ("*.nothing", "no file matches '*.nothing'"),
    ],
)
def test_a_path_that_gives_nothing_is_wrong_usage(command: Command, path: str, why: str) -> None:
    run = command(*SAME, "work.py", path)
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"poolwise: {why}")
    assert run.err.count("\n") == 1


# ---- lines --------------------------------------------------------------------------------


def test_lines_come_without_their_newlines_and_empty_ones_count(command: Command) -> None:
    text = b"\xef\xbb\xbfone\r\n\ntwo\xff\n  three "
    expected = ["one", "", "two\udcff", "  three "]
    assert command(*SAME, "--lines", "-", stdin=text).results == expected
    (command.folder / "lines.txt").write_bytes(text)
    assert command(*SAME, "--lines", "lines.txt").results == expected


def test_no_lines_are_no_inputs_and_no_failure(command: Command) -> None:
    run = command(*SAME, "--lines", "-", stdin="")
    assert (run.code, run.out) == (0, "")


def test_a_file_that_cannot_be_read(command: Command) -> None:
    run = command(*SAME, "--lines", "nothing.txt")
    assert run.code == 2
    assert run.err == "poolwise: cannot read nothing.txt: No such file or directory\n"


def test_the_first_result_comes_before_the_second_line(command: Command) -> None:
    process = command.start(*SAME, "--lines", "-", "--plan", "inline")
    assert process.stdin is not None
    process.stdin.write(b"first\n")
    process.stdin.flush()
    read = read_lines(process, 1)
    process.stdin.write(b"second\n")
    process.stdin.close()
    run = command.finish(process, read)
    assert run.results == ["first", "second"]


@pytest.mark.parametrize("plan", ["inline", "thread:2", "process:1"])
def test_lines_without_an_end(command: Command, plan: str) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as lines:
        process = command.start(
            *SAME, "--lines", "-", "--limit", "3", "--plan", plan, stdin=reading
        )
        os.close(reading)
        lines.write(b"a\nb\nc\n")
        lines.flush()
        run = command.finish(process)
    assert (run.code, run.results) == (0, ["a", "b", "c"])


# ---- JSON lines ---------------------------------------------------------------------------


def test_json_lines_are_values_and_blank_ones_do_not_count(command: Command) -> None:
    text = '{"a": [1, null]}\n\n  \n"ä"\r\n3.5'
    run = command(*SAME, "--jsonl", "-", stdin=text)
    assert run.results == [{"a": [1, None]}, "ä", 3.5]
    assert [line["index"] for line in run.lines] == [0, 1, 2]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{oops", "Expecting property name enclosed in double quotes, at column 2"),
        ("[1, NaN]", "NaN is none of its values"),
        (b'"\xff"', "can't decode byte 0xff"),
    ],
)
def test_a_bad_line_is_named_after_the_results_before_it(
    command: Command, line: str | bytes, why: str
) -> None:
    data = b"1\n2\n\n" + (line if isinstance(line, bytes) else line.encode()) + b"\n5\n"
    (command.folder / "data.jsonl").write_bytes(data)
    run = command(*SAME, "--jsonl", "data.jsonl")
    assert (run.code, run.results) == (2, [1, 2])
    assert run.err.startswith("poolwise: data.jsonl, line 4 is not JSON: ")
    assert why in run.err
    assert run.err.endswith("; the lines after it are not read\n")
    assert run.err.count("\n") == 1


@pytest.mark.parametrize("plan", ["inline", "thread:2", "process:2"])
def test_a_bad_line_far_away_is_not_found_before_it_is_needed(command: Command, plan: str) -> None:
    lines = [*map(str, range(500_000)), "bad"]
    (command.folder / "data.jsonl").write_text("\n".join(lines))
    data = (*SAME, "--jsonl", "data.jsonl", "--plan", plan)
    assert command(*data, "--limit", "9").results == list(range(9))
    process = command.start(*data)
    read = read_lines(process, 1)  # the pipe is full long before the bad line
    process.send_signal(signal.SIGTERM)
    assert command.finish(process, read).code == 143


def test_an_object_may_be_spread_over_keywords(command: Command) -> None:
    run = command(
        "map", "work:keywords", "-q", "--spread", "--jsonl", "-", stdin='{"a": 1}\n{"a":2,"b":3}'
    )
    assert run.results == [1, 5]
    assert [line["input"] for line in run.lines] == [{"a": 1}, {"a": 2, "b": 3}]


def test_only_an_object_can_be_spread(command: Command) -> None:
    run = command("map", "work:keywords", "-q", "--spread", "--jsonl", "-", stdin='{"a": 1}\n[2]')
    assert (run.code, run.results) == (2, [1])
    assert "input 1 is a list; --spread passes a JSON object" in run.err


# ---- expressions --------------------------------------------------------------------------


def test_an_expression_knows_the_names_of_the_targets_module(command: Command) -> None:
    assert command(*SAME, "--expr", "range(LIMIT)").results == [0, 1, 2]
    assert command(*SAME, "--expr", "(doubled(n) for n in range(LIMIT))").results == [0, 2, 4]


def test_an_endless_expression(command: Command) -> None:
    endless = "__import__('itertools').count()"
    assert command(*SAME, "--expr", endless, "--limit", "4").results == [0, 1, 2, 3]


def test_an_input_that_is_not_json_is_shown_as_repr(command: Command) -> None:
    run = command("map", "builtins:len", "-q", "--expr", "[{1, 2}, b'abc']")
    assert [(line["input"], line["result"]) for line in run.lines] == [("{1, 2}", 2), ("b'abc'", 3)]


@pytest.mark.parametrize(
    ("expression", "kind"), [("[10**5000]", "int"), ("[Mute()]", "Mute"), ("[Odd(a=1)]", "Odd")]
)
def test_an_input_that_even_repr_cannot_write_is_named_by_its_type(
    command: Command, expression: str, kind: str
) -> None:
    run = command("map", "work:no_value", "-q", "--expr", expression)
    assert (run.code, run.results, run.err) == (0, [None], "")
    shown = f"<{kind} that neither JSON nor repr can write>"
    assert run.lines[0]["input"] == shown


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("exit(3)", "--expr ends the program (exit code 3); it is to give inputs"),
        ("[{}[7 * 'a' * 10_000]]", "--expr raised KeyError: 'aaaaaaa"),
        ("range(", "--expr is not a Python expression: "),
        ("nothing", "--expr raised NameError: name 'nothing' is not defined"),
        ("5", "--expr gives one value of type int; it takes an iterable of inputs"),
    ],
)
def test_a_wrong_expression_is_said_in_one_line(
    command: Command, expression: str, why: str
) -> None:
    run = command(*SAME, "--expr", expression)
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"poolwise: {why}")
    assert run.err.count("\n") == 1
    assert len(run.err) < 2_000


def test_an_expression_that_ends_the_program_midway(command: Command) -> None:
    run = command(*SAME, "--expr", "(exit(4) if n else n for n in range(9))")
    assert (run.code, run.results) == (2, [0])
    assert "--expr ends the program after 1 input (exit code 4)" in run.err


def test_an_expression_that_raises_midway(command: Command) -> None:
    run = command(*SAME, "--expr", "(6 // (3 - n) for n in range(9))")
    assert (run.code, run.results) == (2, [2, 3, 6])
    assert run.err.startswith("poolwise: --expr raised after 3 inputs: ZeroDivisionError: ")


def test_an_input_that_cannot_be_sent_is_a_failure_at_its_place(command: Command) -> None:
    expression = "[1, (n for n in ()), 'ab', 4]"
    for order in ((), ("--unordered",)):
        run = command(*SAME, "--expr", expression, "--plan", "process:2", *order)
        assert run.code == 1
        failed = [line["index"] for line in run.lines if "error" in line]
        assert failed == [1]
        assert sorted(line["index"] for line in run.lines) == [0, 1, 2, 3]
