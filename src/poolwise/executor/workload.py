"""Where calls come from: the inputs of a map, drawn only when asked for."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Protocol, cast

from poolwise.task import Columns, Task
from poolwise.timing.clock import Clock
from poolwise.units import Seconds

#: Drawing from a generator pauses after this long, so that results which are there can go out.
DRAW_FOR: Seconds = 1e-3


class Workload(Protocol):
    """Calls, in order. Used by the owner only."""

    @property
    def exhausted(self) -> bool:
        """Whether no more calls will come."""
        ...

    @property
    def remaining(self) -> int | None:
        """Calls not yet drawn, if that is known."""
        ...

    @property
    def pace(self) -> Seconds:
        """How long the latest draw waited for one call; 0 if calls come faster than they are
        asked for.
        """
        ...

    @property
    def at_hand(self) -> tuple[Task, tuple[Sequence[object], ...]] | None:
        """All calls, where they can be looked at before any is drawn: the arguments of a map that
        lie in lists and the like.
        """
        ...

    def draw(self, limit: int, mechanism: str) -> tuple[Task, Columns] | None:
        """Return up to `limit` calls of one task that may run under `mechanism`.

        Fewer if more are not there now, ``None`` if there are none.
        """
        ...


class Inputs:
    """The inputs of a map: one iterable for each argument, as `zip` would pair them.

    An exception that an iterator raises ends the inputs; `error` keeps it for its place in the
    output. Ctrl-C while inputs are drawn is not held back.
    """

    def __init__(
        self, task: Task, iterables: tuple[Iterable[object], ...], clock: Clock, total: int | None
    ) -> None:
        self._task = task
        self._clock = clock
        self._hint = _common_length(iterables) if total is None else total
        self._at_once = all(type(each) in (list, tuple, range, str) for each in iterables)
        self._several = len(iterables) > 1
        self._iterables: tuple[Iterable[object], ...] | None = iterables
        self._iterator: object = None
        self.drawn = 0
        self.pace: Seconds = 0.0
        self.exhausted = False
        self.error: BaseException | None = None

    @property
    def remaining(self) -> int | None:
        """The length that the iterables claim, less what was drawn."""
        if self.exhausted:
            return 0
        return None if self._hint is None else max(0, self._hint - self.drawn)

    @property
    def at_hand(self) -> tuple[Task, tuple[Sequence[object], ...]] | None:
        """All calls, as long as none has been drawn from lists, tuples, ranges and strings."""
        if self._iterables is None or not self._at_once:
            return None
        return self._task, cast(tuple[Sequence[object], ...], self._iterables)

    def draw(self, limit: int, mechanism: str = "") -> tuple[Task, Columns] | None:
        """Draw up to `limit` inputs: at once from sequences, else until a millisecond is spent."""
        rows: list[object] = []
        try:
            if self._iterables is not None:
                iterables, self._iterables = self._iterables, None
                self._iterator = (
                    zip(*iterables, strict=False) if self._several else iter(iterables[0])
                )
            self._draw_into(rows, limit)
        except KeyboardInterrupt:  # the user wants an end now, not at its place in the output
            self.close()
            raise
        except BaseException as error:
            self.error = error
            self.close()
        self.drawn += len(rows)
        if not rows:
            return None
        if self._several:
            columns = zip(*rows, strict=True)
            return self._task, tuple(list(column) for column in columns)
        return self._task, (rows,)

    def close(self) -> None:
        """Let go of the iterators; nothing more is drawn."""
        self.exhausted = True
        self._iterator = self._iterables = None

    def _draw_into(self, rows: list[object], limit: int) -> None:
        if self.exhausted:
            return
        step = limit if self._at_once else 1
        began = self._clock.now()
        self.pace = 0.0
        while len(rows) < limit:
            wanted = min(step, limit - len(rows))
            before = len(rows)
            rows.extend(islice(self._iterator, wanted))  # type: ignore[call-overload]
            if len(rows) - before < wanted:
                self.close()
                return
            elapsed = self._clock.now() - began
            if not self._at_once and elapsed >= DRAW_FOR:
                self.pace = elapsed if len(rows) == 1 else 0.0
                return
            step *= 2


def _common_length(iterables: tuple[Iterable[object], ...]) -> int | None:
    try:
        hints = [operator.length_hint(each, -1) for each in iterables]
    except Exception:  # the user's own __len__ or __length_hint__; it is only a hint
        return None
    return None if min(hints) < 0 else min(hints)
