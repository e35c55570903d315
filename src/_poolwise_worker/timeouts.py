"""What every wait agrees on: how a time-out is given, and how a wrong one is refused."""

from __future__ import annotations

from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Every wait looks up this often, in seconds. Three things need it: a signal may come between
#: Python's last look and the system call; the C library takes up its own waits again after a
#: signal; and who is killed between a change and the wake-up wakes nobody. Ctrl-C shall be
#: answered within 0.1 s, so half of that; looking costs some 10 µs, 0.02 % of a CPU.
LOOK_UP = 0.05

#: Whoever waits longer than 30 years waits for ever; the clocks of some C functions end at 300.
_FOR_EVER = 1e9

#: The largest number that a word of shared memory holds.
_MOST = (1 << 63) - 1


def until(timeout: Any, default: float | None = None) -> float | None:
    """Turn `timeout` in seconds into a moment of the monotonic clock; `default` means for ever.

    Raises:
        TypeError, ValueError: naming the argument, what was given and what is accepted.
    """
    if timeout == default or timeout is None:
        return None
    check(timeout)
    if timeout > _FOR_EVER:
        return None
    # One of NumPy's may have no digits left for the clock.
    return monotonic() + float(timeout)


def check(timeout: Any) -> None:
    """Refuse what is no time-out."""
    if isinstance(timeout, bool) or not (isinstance(timeout, int | float) or _is_real(timeout)):
        raise TypeError(f"timeout={timeout!r}: a number of seconds or None, not {kind(timeout)}")
    if not timeout >= 0:  # so that nan is refused too
        raise ValueError(f"timeout={timeout!r}: at least 0 seconds; to wait for ever, give None")


def _is_real(value: object) -> bool:
    """Whether it is a real number of another type, such as one of NumPy's."""
    from numbers import Real  # which only such a number needs

    return isinstance(value, Real)


def acquiring(blocking: Any, timeout: Any) -> float | None:
    """Turn the two arguments of ``Lock.acquire`` into the moment until which it waits."""
    if not blocking:
        if timeout not in (-1, None):
            raise ValueError(f"timeout={timeout!r} with blocking=False: a wait that does not wait")
        return 0.0
    return until(timeout, -1)


def count(name: str, value: Any, least: int) -> int:
    """Return `value` if it is a whole number of at least `least`, and fits into a word.

    Raises:
        TypeError, ValueError: naming the argument, what was given and what is accepted.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}={value!r}: a whole number, not {kind(value)}")
    number: int = value.__index__()
    if number < least:
        raise ValueError(f"{name}={value!r}: at least {least}")
    if number > _MOST:
        raise ValueError(f"{name}={value!r}: at most {_MOST:,}")
    return number


def kind(value: object) -> str:
    """Return the name of the type of `value`, with its article."""
    name = type(value).__qualname__
    return f"an {name}" if name[0] in "AEIOUaeiou" else f"a {name}"
