"""A fault of poolwise itself, as whoever waits for a future hears of it."""

from __future__ import annotations

from poolwise.errors import PoolFailed


def own_fault(cause: BaseException) -> PoolFailed:
    """Return an error that keeps the cause, with its traceback, and says what to do with it.

    >>> error = own_fault(KeyError("batch 7"))
    >>> print(error)  # doctest: +ELLIPSIS
    the executor failed under this call: KeyError: 'batch 7'; if this is a fault of poolwise, ...
    >>> error.__cause__
    KeyError('batch 7')
    """
    error = PoolFailed(
        f"the executor failed under this call: {type(cause).__name__}: {cause}; if this is a fault "
        "of poolwise, please report it, with the traceback that is the cause of this error"
    )
    error.__cause__ = cause
    return error
