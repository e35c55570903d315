"""What calls say on the way to the caller: lines, log records, warnings.

Lines go out whole, so that those of several workers never mix (`whole`). Where the
caller's own stream is the one that it was started with, they go straight there; where it is
another (a notebook's, a test's, a buffer), they are sent to be written by the caller. Records and
warnings are always sent, so that the caller's handlers and filters have them.
"""

from __future__ import annotations

import sys
from _thread import get_ident

from _poolwise_worker import forks, surroundings, transfer, wire
from _poolwise_worker.whole import Outlet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType
    from typing import Any

#: Sends a frame; ``None`` outside a worker, and in processes that calls have forked.
_send: Callable[[bytes], None] | None = None

_outlet = Outlet()

#: Whether this process, or the server that it was forked from, has done `stand_between`.
_stands_between = False


class Lines:
    """Stands for standard output or error; otherwise like the stream that it stands for.

    `_begun` holds the beginning of a line by thread, because one ``print`` is several writes; each
    thread touches its own. A line is let out when it is complete, or flushed as it is.
    """

    def __init__(self, original: Any, number: int) -> None:
        self._original = original
        self._number = number
        self._begun: dict[int, str] = {}

    def write(self, text: str) -> int:
        """Take text."""
        here = get_ident()
        whole, newline, rest = (self._begun.pop(here, "") + text).rpartition("\n")
        if rest:
            self._begun[here] = rest
        if newline:
            self._let_out(whole + newline)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Take several."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Let out what this thread has begun, and what was written past this object."""
        rest = self._begun.pop(get_ident(), "")
        if rest:
            self._let_out(rest)
        if self._original is not None:
            self._original.flush()

    def _let_out(self, text: str) -> None:
        if _send is not None and not surroundings.plain_output[self._number - 1]:
            data = text.encode("utf-8", "surrogatepass")
            _send(wire.pack(wire.SAID, self._number, data))
            return
        if self._original is None:
            return
        self._original.flush()  # what was written to its buffer comes first
        data = text.encode(self._original.encoding or "utf-8", self._original.errors or "strict")
        _outlet.write(self._original.fileno(), data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def __reduce__(self) -> Any:
        return _standard, (self._number,)


def _standard(number: int) -> Any:
    """Return the stream that has this place where it is read."""
    return sys.stdout if number == 1 else sys.stderr


def begin(send: Callable[[bytes], None]) -> None:
    """Send what calls say from here on."""
    global _send
    if not _stands_between:
        stand_between()
    _send = send


def stand_between() -> None:
    """Stand between what calls say and where it would go, in a worker, or in the server that it is
    forked from: what that has done already, no worker copies pages for. Nothing is sent yet.
    """
    global _stands_between
    _stands_between = True
    sys.stdout = Lines(sys.stdout, 1)
    sys.stderr = Lines(sys.stderr, 2)
    import warnings

    warnings.showwarning = _show_warning
    logging = sys.modules.get("logging")
    if logging is not None:
        _take_over(logging)
    else:
        sys.meta_path.insert(0, _WhenImported())


def _stop() -> None:
    """In a process that a call has forked: the socket is not its own, nor is what others began."""
    global _send, _outlet, _stands_between
    _send = None
    _outlet = Outlet()
    _stands_between = False  # the next to stand there has not what these have begun


forks.in_child(_stop)


# ---- warnings ------------------------------------------------------------------------------------


def _show_warning(
    message: Any,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    import warnings

    if file is not None or _send is None:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        (file or sys.stderr).write(text)
        return
    try:
        data = transfer.to_caller.dumps((message, category, filename, lineno))
    except Exception:  # of a class that only this process has
        data = transfer.dumps((str(message), UserWarning, filename, lineno))
    _send(wire.pack(wire.WARNED, 0, data))


# ---- log records ---------------------------------------------------------------------------------


class _WhenImported:
    """Takes `logging` over as soon as a call imports it: no worker has to, before that."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _take_over(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


#: Handlers of the caller, in a fork of it. They are not closed here.
_held: list[object] = []


def _take_over(logging: Any) -> None:
    """Have records sent that no handler takes which calls have added.

    The caller's handlers, of which a fork has copies, are in the caller: there all records come
    together, and what a handler counts or keeps is counted and kept.
    """
    for logger in [logging.root, *list(logging.root.manager.loggerDict.values())]:
        if getattr(logger, "handlers", None):
            _held.append(logger.handlers)
            logger.handlers = []

    # Without any, `logging.warning` and its like would set up one that prints here.
    stand_in = logging.NullHandler()
    logging.root.handlers = [stand_in]

    def call_handlers(logger: Any, record: Any) -> None:
        found, each = False, logger
        while each is not None:
            for handler in each.handlers:
                if handler is stand_in:
                    continue
                found = True
                if record.levelno >= handler.level:
                    handler.handle(record)
            each = each.parent if each.propagate else None
        if not found and _send is not None:
            _send(wire.pack(wire.LOGGED, 0, _packed(logging, record)))

    logging.Logger.callHandlers = call_handlers


def _packed(logging: Any, record: Any) -> bytes:
    """Return a record as it can travel: its message made, its traceback as text."""
    fields = dict(vars(record))
    fields["msg"], fields["args"] = record.getMessage(), None
    if record.exc_info:
        fields["exc_text"] = record.exc_text or logging.Formatter().formatException(record.exc_info)
        fields["exc_info"] = None
    try:
        return transfer.to_caller.dumps(fields)
    except Exception:  # of what the call has added
        return transfer.dumps(
            {
                name: value if value is None or isinstance(value, str | int | float) else str(value)
                for name, value in fields.items()
            }
        )
