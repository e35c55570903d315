"""`docs/options.md` lists every option, whose it is, its default and its name in commands."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import poolwise
from poolwise.cli import arguments

PAGE = (Path(__file__).parent.parent / "docs" / "options.md").read_text()

#: Each row: option, default, whose it is, its name in commands.
ROWS = {
    name: (default, whose, command)
    for name, default, whose, command in re.findall(
        r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \| .+ \|$", PAGE, re.MULTILINE
    )
}

TAKERS: dict[str, Callable[..., Any]] = {
    "map": poolwise.map,
    "Executor": poolwise.Executor,
    "advise": poolwise.advise,
}


def options_of(taker: Callable[..., Any]) -> dict[str, object]:
    return {
        name: each.default
        for name, each in inspect.signature(taker).parameters.items()
        if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)
    }


OPTIONS = {name: options_of(taker) for name, taker in TAKERS.items()}


def test_every_option_has_one_row_and_there_are_no_others() -> None:
    assert sorted(ROWS) == sorted({name for options in OPTIONS.values() for name in options})
    assert PAGE.count("\n| `") - PAGE.count("| `POOLWISE_") == len(ROWS)


def test_each_row_says_whose_it_is_and_the_default() -> None:
    for name, (default, whose, _) in ROWS.items():
        defaults = {taker: each[name] for taker, each in OPTIONS.items() if name in each}
        assert whose == ", ".join(f"`{taker}`" for taker in defaults), name
        texts = {taker: repr(value).replace("'", '"') for taker, value in defaults.items()}
        if len(set(texts.values())) == 1:
            assert default == f"`{next(iter(texts.values()))}`", name
        else:
            assert default == ", ".join(f"`{text}` ({taker})" for taker, text in texts.items())


def test_names_in_commands_are_those_of_the_commands() -> None:
    known = {
        each
        for parser in (arguments._map_parser(), arguments._advise_parser())
        for each in parser._option_string_actions
    }
    named = {command.strip("`") for _, _, command in ROWS.values()} - {"–"}
    assert named <= known
    # What both the command and the functions have by the same name is named.
    same = {name for name in ROWS if f"--{name.replace('_', '-')}" in known}
    assert {name for name in same if ROWS[name][2] == "–"} == set()


def test_what_it_says_of_the_environment_is_what_is_read() -> None:
    sources = "".join(
        file.read_text() for file in Path(os.path.dirname(poolwise.__file__)).rglob("*.py")
    )
    read = set(re.findall(r'"(POOLWISE_[A-Z]+)"', sources))
    own = {"POOLWISE_MEASURES"}  # is set for a process of ours, and nobody else's business
    assert set(re.findall(r"\| `(POOLWISE_\w+)`", PAGE)) == read - own
