"""Running calls again: those whose worker died under them, and those that raised what is to be
tried again.

A call that was lost may have killed its worker. So it goes singly from then on, to a worker with
one thread: should that one die, it is the call alone that was there. A call that raised has done
no such harm, and runs wherever calls run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from poolwise.plan import check_count

#: What limits that are met are also instances of.
_WIDE = (BaseException, Exception, OSError)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a call is run again: `most` times, after a death or an exception of these types."""

    most: int = 0
    on: tuple[type[BaseException], ...] = ()

    def matches(self, error: BaseException) -> bool:
        """Whether this exception is a reason, as far as the user says."""
        return isinstance(error, self.on)

    def matches_limit(self, error: BaseException) -> bool:
        """The same of one that says that a limit was met, which is for good: not by what it is in
        the widest sense. A `TaskTimeout` is an `OSError`, but not one to be tried again with them.
        """
        return isinstance(error, tuple(each for each in self.on if each not in _WIDE))


def retries_of(
    retries: int, retry_on: type[BaseException] | tuple[type[BaseException], ...]
) -> Retries:
    """Check what the user asks for.

    Raises:
        TypeError: `retries` is no whole number, or `retry_on` holds no exception types.
        ValueError: `retries` is negative, or `retry_on` is given and nothing may run again.
    """
    most = check_count("retries", retries, least=0)
    types = retry_on if isinstance(retry_on, tuple) else (retry_on,)
    if not all(isinstance(each, type) and issubclass(each, BaseException) for each in types):
        raise TypeError(f"retry_on takes an exception type or a tuple of them, not {retry_on!r}")
    if types and not most:
        raise ValueError("retry_on says when to run a call again: give retries, too, how often")
    return Retries(most, types)


class Again:
    """Which calls may run again, and how often they have. Used by the owner only."""

    def __init__(self, retries: Retries) -> None:
        self.retries = retries
        self.count = 0
        self._tries: dict[int, int] = {}  # of calls that have no end yet

    def takes(self, number: int) -> bool:
        """Whether this call, by its place in the output, may run once more; then it is counted."""
        tries = self._tries.get(number, 0)
        if tries >= self.retries.most:
            return False
        self._tries[number] = tries + 1
        self.count += 1
        return True

    def tries(self, number: int) -> int:
        """How often the call has been started, if it has no end yet."""
        return 1 + self._tries.get(number, 0)

    def wanted(self, first: int, errors: Mapping[int, BaseException]) -> list[int]:
        """Return the positions, after call `first`, of those that raised and run again."""
        if not self.retries.on:
            return []
        return [
            position
            for position, error in sorted(errors.items())
            if self.retries.matches(error) and self.takes(first + position)
        ]

    def forget(self, first: int, count: int) -> None:
        """Take note that these calls have their end."""
        if self._tries:
            ended = range(first, first + count)
            for number in [each for each in self._tries if each in ended]:
                del self._tries[number]


def runs(positions: list[int], count: int) -> Iterator[tuple[int, int, bool]]:
    """Divide ``range(count)`` into runs that are in `positions` and runs that are not.

    >>> list(runs([1, 2], 4))
    [(0, 1, False), (1, 3, True), (3, 4, False)]
    """
    inside = set(positions)
    start = 0
    for position in range(1, count + 1):
        if position == count or (position in inside) != (start in inside):
            yield start, position, start in inside
            start = position
