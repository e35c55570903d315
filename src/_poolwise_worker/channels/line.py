"""The messages of a queue that no other process has: references, in line."""

from __future__ import annotations

from _queue import Empty, SimpleQueue
from itertools import count
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Word:
    """What stands in a line and is no message. Each has one instance, compared by identity."""

    __slots__ = ()


#: Behind the last message of a closed queue.
END = Word()

#: The line has been given up; what is asked of it is to be asked of the queue again. It stays the
#: last in line for ever, so that everybody who waits there hears of it.
MOVED = Word()


class Line:
    """A `SimpleQueue` of messages, and one of tokens for the room that was left again.

    Both are of the standard library and written in C: putting and getting is one call each, and
    signals, time-outs and the GIL are its business. Room that nobody has had yet is counted, not
    queued: `maxsize` may be large. To count is atomic.
    """

    __slots__ = ("_had", "_maxsize", "get", "messages", "put", "room")

    def __init__(self, maxsize: int) -> None:
        self.messages: SimpleQueue[Any] = SimpleQueue()
        self.put = self.messages.put
        self.get = self.messages.get
        self.room: SimpleQueue[Any] | None = SimpleQueue() if maxsize else None
        self._maxsize = maxsize
        self._had = count()

    def enter(self, until: float | None) -> object:
        """Get room for one message; false if there was none until `until`; or `MOVED`."""
        if self.room is None:
            return True
        token: Any
        try:
            token = self.room.get_nowait()
        except Empty:
            if next(self._had) < self._maxsize:
                return True
            left = None if until is None else max(0.0, until - monotonic())
            try:
                token = self.room.get(timeout=left)
            except Empty:
                return False
        if token is MOVED:
            self.room.put(MOVED)
            return MOVED
        return True

    def leave(self) -> None:
        """Give back the room of one message."""
        if self.room is not None:
            self.room.put(None)

    def next(self, until: float | None) -> Any:
        """Return the first in line, a message or a `Word`, waiting until `until`.

        Raises:
            Empty: if there was none.
        """
        if until is None:
            return self.messages.get()
        return self.messages.get(timeout=max(0.0, until - monotonic()))

    def give_up(self, into: list[Any]) -> None:
        """Empty the line, and have all who wait there, and who will, told that it has moved."""
        self.drain(into)
        if self.room is not None:
            self.room.put(MOVED)

    def drain(self, into: list[Any]) -> None:
        """Take all messages, to a list that its owner keeps if this is interrupted; leave `MOVED`
        as the last in line.
        """
        while True:
            try:
                message = self.messages.get_nowait()
            except Empty:
                break
            if not isinstance(message, Word):
                into.append(message)
        self.messages.put(MOVED)
