"""What ends a command, or a call, other than a result."""

from __future__ import annotations

#: Characters of a text that a message quotes. In the lines of the output it is whole.
_LONGEST = 1000


class CommandError(Exception):
    """Ends the command with one line that says what is wrong and what to do.

    `code` is the exit code; `details`, such as the traceback of a user's module, come before
    the line.
    """

    def __init__(self, text: str, *, code: int = 2, details: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.details = details


def cut(text: str) -> str:
    """Return a text that somebody else made, as one of our messages quotes it: its beginning, where
    it is so long that nothing else could be seen beside it.
    """
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}… ({len(text):,} characters)"


class ReaderGone(Exception):
    """Nobody reads the results any more, as after ``| head``: the command ends quietly."""


class Stopped(BaseException):
    """Raised in the main thread, wherever it is, when a signal says that it is time to end.

    Not an `Exception`, so that neither poolwise nor the user's function takes it for a failure.
    """


class NotBegun(Exception):
    """The call at this index was held back: a signal had come before it began."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class CallFailed(Exception):
    """What one call raised, by name and text, or that its result is not JSON.

    In place of the original, because that might not pickle. `index` is the input's position.
    """

    def __init__(self, index: int, kind: str, message: str) -> None:
        super().__init__(index, kind, message)
        self.index = index
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"
