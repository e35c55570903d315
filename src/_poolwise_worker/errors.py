"""Errors that a worker raises as well as the caller; `poolwise.errors` shows them to users.

Their `__module__` says so, so a pickle names them where users import them from.
"""

from __future__ import annotations

from _pickle import PicklingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

__all__ = ["ChannelClosed", "OwnerDied", "PoolwiseError", "TransferError"]


class PoolwiseError(Exception):
    """The root: whatever poolwise itself has to complain about."""

    __module__ = "poolwise.errors"

    def __repr__(self) -> str:
        # What it is made of says less than its text, which is what a list of results shows.
        return f"{type(self).__name__}({str(self)!r})"

    def again(self) -> Self:
        """Return another of the same: one that several raise would collect all their tracebacks,
        and with them what their frames hold.
        """
        made = self.__reduce__()
        other: Self = made[0](*made[1])  # type: ignore[operator]
        other.__cause__ = self.__cause__
        return other


class TransferError(PoolwiseError, PicklingError):
    """A function, argument, result or message could not be sent to or from another process.

    Whose fault: the object's. Threads or a plain loop can carry it.
    """

    #: Where several messages were to be read at once: those that could be.
    readable: Sequence[object] = ()

    __module__ = "poolwise.errors"


class OwnerDied(PoolwiseError):
    """Whoever held a lock, a permit or a place ended without giving it back.

    Raised in those who waited for it at that time; if nobody did, in the next who asks. What it
    guarded may be half changed. The lock itself is free again: look after the data, then go on.
    """

    __module__ = "poolwise.errors"


class ChannelClosed(PoolwiseError, EOFError):
    """A queue or a pipe was used after it was closed, or read after its last message.

    Also an `EOFError`. Iterating ends instead of raising it.
    """

    __module__ = "poolwise.errors"
