"""The command line: what may be written, and the help that says so."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from poolwise.units import parse_size

_ABOUT = "Run a function over many inputs the way that is fastest and safe, and see why."

_TARGET = "package.module:function or path/to/file.py:function"

_COMMANDS = """\
commands:
  map       run a function over inputs, print a line of JSON for each
  advise    find the plan for a function and its inputs on a sample, and say why
  measure   compare threads and processes on this machine, in numbers
  wisdom    show, forget, export or import what earlier runs have taught

'poolwise COMMAND --help' tells more.
"""

_MAP = """\
Run TARGET on every input and print a line of JSON for each, in input order:

  {"index": 0, "input": "a.txt", "result": 17}
  {"index": 1, "input": "b.txt", "error": {"type": "OSError", "message": "..."}}

"index" counts from 0. A result that is not JSON is an error, and so are NaN and infinity; an
input that is not JSON (--expr can make one) is shown as Python's repr writes it. Lines are ASCII.
Everything else goes to standard error, also what TARGET prints.
"""

_MAP_END = """\
Ctrl-C and SIGTERM: no new input is taken; what runs has --grace seconds to end; a second one
ends it now. Lines are always written whole.

exit codes: 0 all well (or the reader of the output has gone), 1 some inputs failed, 2 wrong
usage, 130 interrupted, 143 terminated

examples:
  poolwise map hash.py:digest 'data/**/*.bin' -o digests.jsonl
  poolwise map package.module:fetch --lines urls.txt --unordered --max-concurrency 8
  seq 1000 | poolwise map math:sqrt --jsonl - --plan process:2
"""

_ADVISE = """\
Run TARGET on a bounded sample of the inputs, each at most once, and print which plan to take for
all of them, what every other would do, and why.
"""

_ADVISE_END = """\
exit codes: 0 all well, 1 every sampled call raised, 2 wrong usage, 130 interrupted,
143 terminated

example:
  poolwise advise fetch.py:fetch_and_count --lines urls.txt --verify
"""

_MEASURE = """\
Measure this machine in six dimensions: isolation, resource cost, communication, concurrency,
suitable work, implementation; say of each statement of an article on processes and threads
whether it holds here. Takes about 20 s. The profile is kept, and forecasts use it.
"""

_MEASURE_END = """\
With --claim, the profile that was kept is used if it was measured on this very machine.

exit codes: 0 all well, 1 the program of a claim failed, 2 wrong usage, 130 interrupted,
143 terminated

examples:
  poolwise measure
  poolwise measure --quick --json > machine.json
  poolwise measure --claim 3.T.2 --run
"""


_WISDOM = """\
What runs have taught of functions, for the next run of each:

  show             list it: which function, which plan, from which run
  forget [TARGET]  forget all, or one function: package.module:function or path/to/file.py:function
  export FILE      write it as JSON, to be imported elsewhere; - is standard output
  import FILE      add what was exported; - is standard input. What is known of a later run stays
"""

_WISDOM_END = """\
It is kept in POOLWISE_CACHE, or in the platform's cache folder. With POOLWISE_WISDOM=off runs
neither use it nor add to it. A plan is for one kind of machine and one build of Python: import it
where these are the same.

exit codes: 0 all well, 1 it cannot be read or written now, 2 wrong usage

examples:
  poolwise wisdom show
  poolwise wisdom export wisdom.json
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as the rest of the command does."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"poolwise: {message}; see {self.prog} --help\n")

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Say which arguments there are not, and which option was meant instead."""
        from poolwise.executor.naming import option_meant

        # As options of the library are called, so that names of other libraries are understood.
        known = {_plain(option): option for option in self._option_string_actions}
        for each in unknown:
            name = each.partition("=")[0]
            if name.startswith("--") and (meant := option_meant(_plain(name), known.keys())):
                hint = f"did you mean {known[meant]!r}?"
                self.exit(2, f"poolwise: {self.prog} has no option {name!r}; {hint}\n")
        self.error(f"unrecognized arguments: {' '.join(unknown)}")


def _plain(option: str) -> str:
    return option.lstrip("-").replace("-", "_")


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print("poolwise", version("poolwise"))
        parser.exit(0)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the arguments as a namespace; `command` is the name of one.

    Raises:
        SystemExit: they are wrong, or ask for help; either has been printed.
    """
    if not argv or argv[0] not in _PARSERS:
        _parse_no_command(argv)
    parser = _PARSERS[argv[0]]()
    # Intermixed: options may stand between TARGET and the paths.
    arguments, unknown = parser.parse_known_intermixed_args([*argv[1:]])
    if unknown:
        parser.refuse(unknown)
    arguments.command = argv[0]
    if argv[0] == "measure":
        _check_claim(parser, arguments)
        return arguments
    if argv[0] == "wisdom":
        _check_operand(parser, arguments)
        return arguments
    if arguments.target is None:
        parser.error(f"no TARGET: give {_TARGET}")
    _check_inputs(parser, arguments)
    return arguments


def _parse_no_command(argv: Sequence[str]) -> NoReturn:
    parser = _parser("poolwise", "poolwise COMMAND ...", _ABOUT, _COMMANDS)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    if argv and not argv[0].startswith("-"):
        parser.error(f"there is no command {argv[0]}; there are {', '.join(_PARSERS)}")
    _, unknown = parser.parse_known_args([*argv])
    if unknown:
        parser.refuse(unknown)
    parser.print_help(sys.stderr)
    parser.exit(2)


def _map_parser() -> _Parser:
    parser = _command_parser("map", _MAP, _MAP_END)
    _add_inputs(parser)
    how = parser.add_argument_group("how to run (by default the plan is found while working)")
    how.add_argument("--plan", metavar="SPEC", help="pin a plan: thread:8, process:4x8/16")
    how.add_argument(
        "--mechanism", default="auto", metavar="M", help="auto, inline, thread or process"
    )
    _add_limits(how)
    how.add_argument("--chunksize", type=_count, metavar="N", help="calls sent in one message")
    how.add_argument("--buffersize", type=_count, metavar="N", help="inputs drawn ahead, at most")
    _add_guards(parser.add_argument_group("when something goes wrong"))
    output = parser.add_argument_group("output")
    output.add_argument("-o", "--output", metavar="FILE", help="write the lines to FILE")
    output.add_argument("--unordered", action="store_true", help="write lines as calls end")
    output.add_argument("--fail-fast", action="store_true", help="stop at the first error")
    output.add_argument(
        "--grace",
        type=_seconds,
        default=5.0,
        metavar="S",
        help="seconds that running calls may take to end after Ctrl-C or SIGTERM (default 5)",
    )
    output.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show how far it is: a bar, or a line every 10 s where standard error is no "
        "terminal; default: unless the lines go to a terminal",
    )
    output.add_argument(
        "--explain",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="say at the end what was done and why (default)",
    )
    output.add_argument(
        "-q", "--quiet", action="store_true", help="no progress, no explanation, no summary"
    )
    return parser


def _advise_parser() -> _Parser:
    parser = _command_parser("advise", _ADVISE, _ADVISE_END)
    parser.set_defaults(grace=0.0)
    _add_inputs(parser)
    _add_limits(parser.add_argument_group("what a plan may use"))
    output = parser.add_argument_group("output")
    output.add_argument(
        "--verify",
        action="store_true",
        help="run each leading plan on a slice of inputs of its own; show what it reached",
    )
    form = output.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the advice as JSON")
    form.add_argument(
        "--code", action="store_true", help="print only the same in standard library code"
    )
    return parser


def _measure_parser() -> _Parser:
    parser = _parser("poolwise measure", "poolwise measure [options]", _MEASURE, _MEASURE_END)
    parser.set_defaults(grace=0.0)
    parser.add_argument(
        "--quick", action="store_true", help="take a few seconds; figures differ more"
    )
    parser.add_argument("--json", action="store_true", help="print the profile as JSON")
    parser.add_argument(
        "--lang", choices=("en", "zh"), help="language of the text; default: as the locale says"
    )
    parser.add_argument("--claim", metavar="ID", help="show one statement only, such as 3.T.2")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--code", action="store_true", help="with --claim: print its program")
    form.add_argument("--run", action="store_true", help="with --claim: run its program")
    return parser


#: What each action takes, and whether it must be given.
_OPERANDS = {
    "show": ("", False),
    "forget": ("TARGET", False),
    "export": ("FILE", True),
    "import": ("FILE", True),
}


def _wisdom_parser() -> _Parser:
    usage = "poolwise wisdom show | forget [TARGET] | export FILE | import FILE"
    parser = _parser("poolwise wisdom", usage, _WISDOM, _WISDOM_END)
    parser.set_defaults(grace=0.0)
    parser.add_argument("action", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("operand", nargs="?", help=argparse.SUPPRESS)
    return parser


def _check_operand(parser: argparse.ArgumentParser, arguments: Any) -> None:
    action, operand = arguments.action, arguments.operand
    if action not in _OPERANDS:
        given = "no action" if action is None else f"there is no action {action}"
        parser.error(f"{given}: give one of {', '.join(_OPERANDS)}")
    what, needed = _OPERANDS[action]
    if needed and operand is None:
        parser.error(f"{action} takes a {what}: poolwise wisdom {action} {what}")
    if not what and operand is not None:
        parser.error(f"{action} takes nothing more, not {operand!r}")


def _check_claim(parser: argparse.ArgumentParser, arguments: Any) -> None:
    for option in ("code", "run"):
        if getattr(arguments, option) and arguments.claim is None:
            parser.error(f"--{option} takes --claim ID too")


def _command_parser(command: str, about: str, end: str) -> _Parser:
    name = f"poolwise {command}"
    return _parser(name, f"{name} TARGET [PATH ...] [options]", about, end)


def _parser(name: str, usage: str, about: str, end: str) -> _Parser:
    return _Parser(
        name,
        usage=usage,
        description=about,
        epilog=end,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", nargs="?", metavar="TARGET", help=_TARGET)
    inputs = parser.add_argument_group("inputs, of one kind")
    inputs.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="a file, or a quoted pattern of files ('src/**/*.py'); TARGET gets the path",
    )
    inputs.add_argument("--lines", metavar="FILE", help="TARGET gets each line; - is stdin")
    inputs.add_argument(
        "--jsonl",
        metavar="FILE",
        help="TARGET gets the value of each line of JSON; - is stdin. A line that is none ends the "
        "command: it finishes those before it, reads no more, and exits with 2",
    )
    inputs.add_argument(
        "--expr",
        metavar="EXPR",
        help="TARGET gets each value of a Python expression, such as 'range(1000)'; names are "
        "those of TARGET's module",
    )
    inputs.add_argument("--limit", type=_count, metavar="N", help="take only the first N inputs")
    inputs.add_argument(
        "--spread", action="store_true", help="pass a JSON object as keyword arguments"
    )


def _add_limits(group: argparse._ArgumentGroup) -> None:
    for name, text in (
        ("--max-workers", "threads of a thread plan, processes of a process plan"),
        ("--threads-per-worker", "calls at once inside each process"),
        ("--max-concurrency", "calls at once over all workers, under every plan"),
    ):
        group.add_argument(name, type=_count, metavar="N", help=text)


def _add_guards(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--retries",
        type=_whole,
        default=0,
        metavar="N",
        help="run a call up to N times again whose worker died under it",
    )
    group.add_argument(
        "--timeout",
        type=_above_zero,
        metavar="S",
        help="seconds that one call may take; then its worker is ended, and the call fails",
    )
    group.add_argument(
        "--memory-limit",
        type=_size,
        metavar="SIZE",
        help="what a worker may grow by, such as 2GB; then it is ended, and the call fails",
    )
    group.add_argument("--isolate", action="store_true", help="run TARGET in worker processes only")


_PARSERS: dict[str, Callable[[], _Parser]] = {
    "map": _map_parser,
    "advise": _advise_parser,
    "measure": _measure_parser,
    "wisdom": _wisdom_parser,
}


def _check_inputs(parser: argparse.ArgumentParser, arguments: Any) -> None:
    given = {
        "PATH": bool(arguments.paths),
        "--lines": arguments.lines is not None,
        "--jsonl": arguments.jsonl is not None,
        "--expr": arguments.expr is not None,
    }
    kinds = [name for name, is_given in given.items() if is_given]
    if not kinds:
        parser.error("no inputs: give PATH..., --lines, --jsonl or --expr")
    if len(kinds) > 1:
        parser.error(f"inputs of one kind only, not {' and '.join(kinds)}")
    if arguments.spread and kinds[0] in ("PATH", "--lines"):
        parser.error(f"--spread passes JSON objects, which {kinds[0]} does not give")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"takes a whole number of at least 1, not {text!r}")
    return int(text)


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"takes a whole number, not {text!r}")
    return int(text)


def _above_zero(text: str) -> float:
    seconds = _seconds(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"takes seconds above 0, not {text!r}")
    return seconds


def _size(text: str) -> int:
    try:
        size = parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if size < 1:
        raise argparse.ArgumentTypeError(f"takes a size above 0, not {text!r}")
    return size


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds < 1e6:
        raise argparse.ArgumentTypeError(f"takes seconds, not {text!r}")
    return seconds
