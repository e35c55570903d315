"""What the command runs the function on: paths, lines, JSON lines, or a Python expression."""

from __future__ import annotations

import glob
import json
import os
import stat
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import BinaryIO, NoReturn

from poolwise.cli.call import NOT_JSON, encode, text_of
from poolwise.cli.errors import CommandError, Stopped, cut
from poolwise.cli.signals import Signals
from poolwise.units import plural

#: An input as the output shows it, in JSON, and as the function gets it.
Item = tuple[str, object]

#: The lines of larger files are not counted beforehand, which would delay the work: counting
#: takes some 0.1 s for so many bytes.
_COUNT_BELOW = 1 << 26

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Inputs:
    """Iterates over the inputs, once and lazily, until a signal comes.

    `total` is their number, ``None`` if that is not known. `files` are those they come from, by
    path or descriptor. `error` is what ended them early; it is also raised.
    """

    def __init__(
        self,
        items: Iterable[Item],
        total: int | None,
        signals: Signals,
        files: Sequence[str | int] = (),
    ) -> None:
        self.files = files
        self._items = items
        self._signals = signals
        self.total = total
        self.error: CommandError | None = None

    def __iter__(self) -> Iterator[Item]:
        signals = self._signals
        try:
            for item in self._items:
                if signals.received is not None:
                    return
                yield item
        except CommandError as error:
            self.error = error
            raise


def open_inputs(arguments: Namespace, names: Mapping[str, object], signals: Signals) -> Inputs:
    """Return the inputs that the arguments ask for; an expression may use `names`.

    Raises:
        CommandError: there are none, a file cannot be read, the expression is wrong.
    """
    items: Iterable[Item]
    total: int | None
    files: Sequence[str | int] = ()
    if arguments.paths:
        files = paths = [path for pattern in arguments.paths for path in expand(pattern)]
        items, total = ((encode(path), path) for path in paths), len(paths)
    elif arguments.expr is not None:
        values = _evaluate(arguments.expr, names)
        items, total = _shown(_iterate(values)), _length(values)
    else:
        json_lines = arguments.lines is None
        name = arguments.jsonl if json_lines else arguments.lines
        file = _open(name)
        files = [0 if name == "-" else name]
        name = "standard input" if name == "-" else name
        total = _count(file, skip_blank=json_lines)
        lines = _lines(file, name, signals)
        items = _json_values(lines, name) if json_lines else _texts(lines)
    if arguments.spread:
        items = _only_objects(items)
    if arguments.limit is not None:
        items = islice(items, arguments.limit)
        total = None if total is None else min(total, arguments.limit)
    return Inputs(items, total, signals, files)


# ---- paths --------------------------------------------------------------------------------


def expand(pattern: str) -> list[str]:
    """Return the path itself, or the files that match it as a pattern, sorted.

    Raises:
        CommandError: it is a folder, or there is no such file.
    """
    if os.path.isdir(pattern):
        within = os.path.join(pattern, "**", "*")
        raise CommandError(f"{pattern} is a folder; give a pattern for files in it: '{within}'")
    if os.path.lexists(pattern):
        return [pattern]
    if not glob.has_magic(pattern):
        raise CommandError(f"there is no file {pattern}")
    files = [path for path in glob.iglob(pattern, recursive=True) if not os.path.isdir(path)]
    if not files:
        raise CommandError(f"no file matches '{pattern}' (** also looks into folders)")
    return sorted(files)


# ---- lines --------------------------------------------------------------------------------


def _open(name: str) -> BinaryIO:
    try:
        # Standard input stays open, so that nothing else becomes descriptor 0.
        return open(os.dup(0) if name == "-" else name, "rb", buffering=1 << 16)
    except OSError as error:
        name = "standard input" if name == "-" else name
        raise CommandError(f"cannot read {name}: {error.strerror}") from None


def _count(file: BinaryIO, *, skip_blank: bool) -> int | None:
    """Return the number of lines of a file that is not too large; ``None`` for a pipe."""
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > _COUNT_BELOW:
            return None
        start = file.tell()
        count = sum(1 for line in file if not (skip_blank and line.isspace()))
        file.seek(start)
    except OSError:
        return None
    return count


def _lines(file: BinaryIO, name: str, signals: Signals) -> Iterator[bytes]:
    """Yield each line as soon as it is there, without its newline."""
    with file:
        while True:
            signals.reading = True
            try:
                # In this order: a signal is either seen here, or it ends the read.
                line = b"" if signals.received is not None else file.readline()
            except Stopped:
                return
            except OSError as error:
                raise CommandError(f"cannot read {name}: {error.strerror}") from None
            finally:
                signals.reading = False
            if not line:
                return
            yield line.removesuffix(b"\n").removesuffix(b"\r")


def _texts(lines: Iterator[bytes]) -> Iterator[Item]:
    """Decode lines; what is not UTF-8 survives, as it does in paths."""
    for number, line in enumerate(lines):
        if number == 0:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        text = line.decode("utf-8", "surrogateescape")
        yield encode(text), text


def _json_values(lines: Iterator[bytes], name: str) -> Iterator[Item]:
    decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line or line.isspace():
            continue
        try:
            value = decode(line.decode())
            text = encode(value)  # also what the call may change in it does not show
        except json.JSONDecodeError as error:
            why = f"{error.msg}, at column {error.colno}"
            raise _not_json(name, number, why) from None
        except NOT_JSON as error:  # UnicodeDecodeError too
            raise _not_json(name, number, str(error)) from None
        yield text, value


def _not_json(name: str, number: int, why: str) -> CommandError:
    later = "the lines after it are not read"
    return CommandError(f"{name}, line {number} is not JSON: {why}; {later}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is none of its values")


# ---- an expression ------------------------------------------------------------------------


def _evaluate(expression: str, names: Mapping[str, object]) -> Iterable[object]:
    try:
        values = eval(expression, dict(names))
    except SyntaxError as error:
        raise CommandError(f"--expr is not a Python expression: {error.msg}") from None
    except (Exception, SystemExit) as error:
        raise CommandError(f"--expr {_what_it_did(error)}") from None
    if not hasattr(values, "__iter__") and not hasattr(values, "__getitem__"):
        kind = type(values).__name__
        raise CommandError(f"--expr gives one value of type {kind}; it takes an iterable of inputs")
    result: Iterable[object] = values
    return result


def _length(values: Iterable[object]) -> int | None:
    try:
        return len(values)  # type: ignore[arg-type]
    except Exception:  # none, or one too large to be an int
        return None


def _iterate(values: Iterable[object]) -> Iterator[object]:
    count = 0
    try:
        for value in values:
            yield value
            count += 1
    except (Exception, SystemExit) as error:
        what = _what_it_did(error, f" after {plural(count, 'input')}")
        raise CommandError(f"--expr {what}") from None


def _what_it_did(error: BaseException, when: str = "") -> str:
    if isinstance(error, SystemExit):
        return f"ends the program{when} (exit code {error.code}); it is to give inputs"
    name = type(error).__name__
    return f"raised{when}{':' if when else ''} {cut(f'{name}: {text_of(error)}')}"


def _shown(values: Iterable[object]) -> Iterator[Item]:
    """Add the JSON of each; of what is not JSON, the text that `repr` writes, if it does."""
    for value in values:
        yield _as_json(value), value


def _as_json(value: object) -> str:
    # Whatever they raise: both may run code of the value's own class.
    with suppress(Exception):
        return encode(value)
    with suppress(Exception):
        return encode(repr(value))
    return encode(f"<{type(value).__name__} that neither JSON nor repr can write>")


def _only_objects(items: Iterable[Item]) -> Iterator[Item]:
    for number, item in enumerate(items):
        value = item[1]
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            what = f"a {type(value).__name__}"
            raise CommandError(
                f"input {number} is {what}; --spread passes a JSON object's names; "
                "the inputs after it are not run"
            )
        yield item
