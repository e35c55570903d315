"""The command `poolwise`: the only room that prints.

Importing it loads nothing; a command loads what it needs when it runs, so that ``--help`` and a
worker that imports `poolwise.cli.call` stay fast.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0 all well, 1 some inputs failed, 2 wrong usage, 130 interrupted, 143 terminated.
    """
    try:
        from poolwise.cli.arguments import parse

        try:
            arguments = parse(sys.argv[1:] if argv is None else argv)
        except SystemExit as end:  # help was printed, or what is wrong with the arguments
            return end.code if isinstance(end.code, int) else 2
        return _run(arguments)
    except KeyboardInterrupt:  # Ctrl-C before `Signals` handles it, or after
        return 130


def _run(arguments: Namespace) -> int:
    from importlib import import_module

    from poolwise.cli.errors import CommandError, ReaderGone, Stopped
    from poolwise.cli.output import complain, own_stdout
    from poolwise.cli.signals import Signals

    signals = Signals(arguments.grace)
    try:
        with signals, own_stdout() as stdout:
            command = import_module(f"poolwise.cli.{arguments.command}_command")
            code: int = command.run(arguments, signals, stdout)
    except CommandError as error:
        complain(str(error), error.details)
        code = error.code
    except ReaderGone:
        code = 0
    except Stopped:
        code = signals.exit_code
    return code
