"""The lines of the output: each input remembered until its result comes, and both put together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from poolwise.cli.call import encode
from poolwise.cli.errors import CallFailed, NotBegun, cut
from poolwise.cli.inputs import Item
from poolwise.errors import WorkerCrashed


class Records:
    """Knows which inputs were drawn and have no line yet.

    A result carries its index, as `poolwise.cli.call.Call` returns it, so that no line can get
    the wrong input, whatever the order in which results come.
    """

    def __init__(self, inputs: Iterable[Item], *, ordered: bool) -> None:
        self._inputs = inputs
        self._ordered = ordered
        self._open: dict[int, str] = {}
        self._unplaced: list[Exception] = []
        self.lines = 0
        self.failed = 0
        self.first_failure = ""

    def draw(self) -> Iterator[tuple[int, object]]:
        """Yield what the call takes: index and value."""
        for index, (text, value) in enumerate(self._inputs):
            self._open[index] = text
            yield index, value

    def line(self, outcome: object) -> str:
        """Return the line for what a call returned or raised; ``""`` if its place is unknown, or it
        never began.
        """
        if isinstance(outcome, tuple):
            index, result = outcome
            return self._start_line(index) + f'"result": {result}}}\n'
        assert isinstance(outcome, Exception)
        if isinstance(outcome, NotBegun):
            del self._open[outcome.index]
            return ""
        place = self._place_of(outcome)
        if place is None:
            self._unplaced.append(outcome)
            return ""
        return self._error_line(place, outcome)

    def rest(self) -> Iterator[str]:
        """Yield the lines of failures whose place is known only when all others have their line.

        They are rare: inputs that could not be sent to a worker.
        """
        if len(self._open) == len(self._unplaced):
            for index, error in zip(sorted(self._open), self._unplaced, strict=True):
                yield self._error_line(index, error)

    def _start_line(self, index: int) -> str:
        self.lines += 1
        return f'{{"index": {index}, "input": {self._open.pop(index)}, '

    def _error_line(self, index: int, error: Exception) -> str:
        if isinstance(error, CallFailed):
            kind, message = error.kind, error.message
        else:
            kind, message = type(error).__name__, str(error)
        self.failed += 1
        self.first_failure = self.first_failure or cut(f"input {index}, {kind}: {message}")
        content = f'{{"type": {encode(kind)}, "message": {encode(message)}}}'
        return self._start_line(index) + f'"error": {content}}}\n'

    def _place_of(self, error: Exception) -> int | None:
        if isinstance(error, CallFailed):
            return error.index
        if isinstance(error, WorkerCrashed) and (call := re.match(r"call (\d+) of ", error.call)):
            return int(call[1])
        # In order, everything before it has its line.
        return next(iter(self._open), None) if self._ordered else None
