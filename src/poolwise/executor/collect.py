"""What goes out: outcomes put into order, handed on in parts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from _poolwise_worker.errors import TransferError
from poolwise.task import Outcomes


class Collector(Protocol):
    """Takes outcomes as they come; gives parts as they may go out."""

    delivered: int

    @property
    def ready(self) -> bool:
        """Whether `pop` would return a part."""
        ...

    def add(self, first: int, outcomes: Outcomes) -> None:
        """Take the outcomes of calls `first`, `first` + 1, and so on."""
        ...

    def pop(self) -> Iterator[object] | None:
        """Return the next part, or ``None`` if it is not there yet."""
        ...


class Unordered:
    """Hands outcomes on as they come. Used by the owner only. `name` is that of the function."""

    def __init__(self, *, return_errors: bool, name: str = "") -> None:
        self._return_errors = return_errors
        self._name = name
        self._parts: deque[Outcomes] = deque()
        self.delivered = 0

    @property
    def ready(self) -> bool:
        """Whether there is any part."""
        return bool(self._parts)

    def add(self, first: int, outcomes: Outcomes) -> None:
        """Queue the outcomes."""
        self._parts.append(_numbered(first, outcomes, self._name))

    def pop(self) -> Iterator[object] | None:
        """Return the oldest part."""
        if not self._parts:
            return None
        outcomes = self._parts.popleft()
        self.delivered += len(outcomes.values)
        return _part(outcomes, return_errors=self._return_errors)


class Ordered:
    """Hands outcomes on in input order. Used by the owner only. `name` is that of the function."""

    def __init__(self, *, return_errors: bool, name: str = "") -> None:
        self._return_errors = return_errors
        self._name = name
        self._parts: dict[int, Outcomes] = {}
        self.delivered = 0

    @property
    def ready(self) -> bool:
        """Whether the part that is next in order is there."""
        return self.delivered in self._parts

    def add(self, first: int, outcomes: Outcomes) -> None:
        """Keep the outcomes until all before them have gone out."""
        self._parts[first] = _numbered(first, outcomes, self._name)

    def pop(self) -> Iterator[object] | None:
        """Return the part that is next in order."""
        outcomes = self._parts.pop(self.delivered, None)
        if outcomes is None:
            return None
        self.delivered += len(outcomes.values)
        return _part(outcomes, return_errors=self._return_errors)


def _numbered(first: int, outcomes: Outcomes, name: str) -> Outcomes:
    """Say which call it was whose arguments or result could not be sent: where that is found out,
    only its place in a batch is known.
    """
    if not outcomes.errors:
        return outcomes
    told = dict(outcomes.errors)
    for position, error in told.items():
        text = str(error) if isinstance(error, TransferError) else ""
        if text.startswith(f"a call of {name} failed: "):
            other = TransferError(f"call {first + position} of {text.removeprefix('a call of ')}")
            other.__cause__ = error.__cause__
            told[position] = other
    return replace(outcomes, errors=told)


def _part(outcomes: Outcomes, *, return_errors: bool) -> Iterator[object]:
    values, errors = outcomes.values, outcomes.errors
    raised: dict[int, BaseException] = {}
    for position, error in errors.items():
        # SystemExit and KeyboardInterrupt are never a value: a loop would end by them.
        if return_errors and isinstance(error, Exception):
            values[position] = error
        else:
            raised[position] = error
    return iter(values) if not raised else _Raising(values, raised)


class _Raising(Iterator[object]):
    """Raises each exception at its place; iteration may go on after it."""

    def __init__(self, values: list[object], raised: dict[int, BaseException]) -> None:
        self._values = values
        self._raised = raised
        self._position = -1

    def __next__(self) -> object:
        self._position += 1
        if self._position >= len(self._values):
            raise StopIteration
        error = self._raised.pop(self._position, None)
        if error is None:
            return self._values[self._position]
        if isinstance(error, StopIteration):
            # Raised as it is, it would end the iteration and hide the results after it.
            raise RuntimeError("a call raised StopIteration") from error
        raise error
