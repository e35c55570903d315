"""What it means that the system gives no worker, in words."""

from __future__ import annotations

import errno

_FILES = "close files, raise the limit, or ask for fewer workers"

_ADVICE = {
    errno.EAGAIN: "this user, or this container, has as many processes and threads as it may "
    "(`ulimit -u`): end some, raise the limit, or ask for fewer workers",
    errno.EMFILE: f"a process may open no more files (`ulimit -n`): {_FILES}",
    errno.ENFILE: f"the whole system may open no more files: {_FILES}",
    errno.ENOMEM: "there is not enough memory: use less, or ask for fewer workers",
}


def explained(error: BaseException) -> str:
    """Return the error with what is short, if that is known, and what to do.

    >>> explained(OSError(errno.EMFILE, "Too many open files"))
    '[Errno 24] Too many open files; a process may open no more files (`ulimit -n`): close files, \
raise the limit, or ask for fewer workers'
    """
    advice = _ADVICE.get(_number(error))
    return f"{error}; {advice}" if advice else str(error)


def _number(error: BaseException) -> int:
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return errno.EAGAIN
    return (error.errno or 0) if isinstance(error, OSError) else 0
