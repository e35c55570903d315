"""Where the command writes: results to standard output or a file, all else to standard error."""

from __future__ import annotations

import fcntl
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from poolwise.cli.errors import CommandError, ReaderGone
from poolwise.cli.signals import Signals

#: Lines are handed to the system when they are so many bytes, or sooner: see `Output.flush`.
#: What a pipe holds on Linux.
_BUFFER = 1 << 16


def complain(text: str, details: str = "") -> None:
    """Write one line to standard error, after the details."""
    if sys.stderr is not None:
        print(f"{details}poolwise: {text}", file=sys.stderr, flush=True)


@contextmanager
def own_stdout() -> Iterator[int]:
    """Keep standard output for results, as the descriptor that is the value.

    What user code prints, here and in workers, goes to standard error meanwhile; between result
    lines it would make the output unreadable. Where standard error is closed, it goes nowhere.
    """
    try:
        # Not `os.dup`: it would give 0 or 2 where these are closed, and what is meant for standard
        # error would stand between the lines.
        descriptor = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError as error:
        raise CommandError(f"standard output is not open ({error.strerror})") from None
    try:
        _keep_stderr_taken()
        _lead_stdout_to(2)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)
        yield descriptor
    finally:
        _lead_stdout_to(descriptor)
        os.close(descriptor)


def _lead_stdout_to(descriptor: int) -> None:
    with suppress(OSError, ValueError):  # nobody hears, or it was closed
        sys.stdout.flush()
    os.dup2(descriptor, 1)


def _keep_stderr_taken() -> None:
    """Have descriptor 2 lead nowhere if it is closed: no file that is opened later may become it,
    for the system, C code and workers write there.
    """
    try:
        os.fstat(2)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere == 2:
            os.set_inheritable(2, True)
        else:
            os.dup2(nowhere, 2)
            os.close(nowhere)


class Output:
    """Writes whole lines. The main thread's own.

    `flush` when the next line may take a while; it is one system call for all lines since the
    last one.
    """

    def __init__(self, path: str | None, stdout: int, signals: Signals) -> None:
        """Write to the file at `path`, or to `stdout` if it is ``None``.

        Raises:
            CommandError: the file cannot be written.
        """
        self._name = path or "standard output"
        self._signals = signals
        self._lines: list[str] = []
        self._size = 0
        self._opened: int | None = None
        if path is not None:
            try:
                self._opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            except OSError as error:
                raise CommandError(f"cannot write to {path}: {error.strerror}") from None
        self._descriptor = stdout if self._opened is None else self._opened

    def write(self, line: str) -> None:
        """Add a line, which ends with a newline."""
        self._lines.append(line)
        self._size += len(line)
        if self._size >= _BUFFER:
            self.flush()

    def flush(self) -> None:
        """Hand all lines to the system.

        Raises:
            ReaderGone: nobody reads the pipe any more.
            CommandError: they cannot be written, for example because the disk is full.
        """
        if not self._lines:
            return
        data = memoryview("".join(self._lines).encode("utf-8", "replace"))
        self._lines.clear()
        self._size = 0
        try:
            with self._signals.whole():
                while data:
                    data = data[self._write_some(data) :]
        except (BrokenPipeError, ConnectionResetError):
            raise ReaderGone from None
        except OSError as error:
            raise CommandError(f"cannot write to {self._name}: {error.strerror}", code=1) from None

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # whoever shares the pipe has made it non-blocking
            select.select([], [self._descriptor], [])
            return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if not isinstance(error, ReaderGone):
                self.flush()
        finally:
            if self._opened is not None:
                os.close(self._opened)
