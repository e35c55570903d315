"""How objects that rest on descriptors travel: a pickle, and its descriptors beside it.

Who pickles says what the descriptors travel by; the objects do not know::

    with Parcel() as parcel:                      # sender
        with collecting(parcel):
            payload = dumps(value)                # a lock in it calls carry(descriptor)
        send_with_descriptors(payload, parcel.descriptors)

    with providing(descriptors):                  # receiver; it now owns the descriptors
        value = loads(payload)                    # the lock calls claim(...)

`multiprocessing` has ways of its own, for a process that it starts and for its connections; they
work too. A pickle that nothing carries descriptors for is refused.
"""

from __future__ import annotations

import os
import sys
from _thread import _local

from _poolwise_worker.errors import TransferError
from _poolwise_worker.timeouts import kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType, TracebackType
    from typing import Any, Self, TypeAlias

    #: What stands for a descriptor in a pickle: its place in the parcel, or an object of
    #: multiprocessing with a method `detach`.
    Token: TypeAlias = Any

#: The most descriptors that Linux passes with one message (SCM_MAX_FD).
MOST = 253


class _Carriers(_local):
    """What carries descriptors now, in this thread; pickling does not change threads."""

    carry: Callable[[int], Token] | None = None
    refusing = False
    looking = False
    received: list[int] | None = None


_carriers = _Carriers()


class Parcel:
    """The descriptors that go with one pickle. Owns duplicates, so the pickle may be kept.

    The object that was pickled may be gone by the time that the pickle is sent, and its
    descriptor may then be something else.
    """

    def __init__(self) -> None:
        self.descriptors: list[int] = []
        self._places: dict[int, int] = {}

    def add(self, descriptor: int) -> int:
        """Take a duplicate along; return its place. The same descriptor travels once."""
        place = self._places.get(descriptor)
        if place is None:
            if len(self.descriptors) == MOST:
                raise TransferError(
                    f"more than {MOST} descriptors in one message: each lock, event or pipe takes "
                    f"one, a queue two; send fewer of them at once"
                )
            self.descriptors.append(os.dup(descriptor))
            place = self._places[descriptor] = len(self.descriptors) - 1
        return place

    def close(self) -> None:
        """Let go of the duplicates; a second call does nothing."""
        self._places.clear()
        while self.descriptors:
            os.close(self.descriptors.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self.descriptors:
            self.close()


class _Carrying:
    """Within the block, this thread's pickles hand their descriptors to `carry`."""

    def __init__(self, carry: Callable[[int], Token]) -> None:
        self._carry = carry

    def __enter__(self) -> None:
        self._before = _carriers.carry
        _carriers.carry = self._carry

    def __exit__(self, *_: object) -> None:
        _carriers.carry = self._before


class refusing:
    """Within the block, what this thread pickles goes where no descriptor can follow."""

    def __enter__(self) -> None:
        self._before = _carriers.refusing
        _carriers.refusing = True

    def __exit__(self, *_: object) -> None:
        _carriers.refusing = self._before


def collecting(parcel: Parcel) -> _Carrying:
    """Within the block, what this thread pickles puts its descriptors into `parcel`."""
    return _Carrying(parcel.add)


class providing:  # reads as a verb
    """Within the block, what this thread unpickles finds its descriptors.

    Owns `descriptors`, and closes them at the end; objects keep duplicates.
    """

    def __init__(self, descriptors: Iterable[int]) -> None:
        self._descriptors = list(descriptors)

    def __enter__(self) -> None:
        self._before = _carriers.received
        _carriers.received = self._descriptors

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _carriers.received = self._before
        while self._descriptors:
            os.close(self._descriptors.pop())


def dump(dumps: Callable[..., bytes], *arguments: object) -> tuple[bytes, list[int]]:
    """Call `dumps` and return its pickle with the descriptors to send along, which the caller owns.

    Raises whatever `dumps` raises.
    """
    parcel, before = Parcel(), _carriers.carry
    _carriers.carry = parcel.add
    try:
        payload = dumps(*arguments)
    except BaseException:
        parcel.close()
        raise
    finally:
        _carriers.carry = before
    descriptors, parcel.descriptors = parcel.descriptors, []
    return payload, descriptors


class only_looking:
    """Within the block, this thread pickles to see whether and how; nothing of it is ever sent."""

    def __enter__(self) -> None:
        self._before = _carriers.carry, _carriers.looking
        _carriers.carry, _carriers.looking = _nothing, True

    def __exit__(self, *_: object) -> None:
        _carriers.carry, _carriers.looking = self._before


def _nothing(descriptor: int) -> Token:
    return 0


def are_only_looked_at() -> bool:
    """Whether what is being pickled will not be sent, so that it need not change for that."""
    return _carriers.looking


def require_carrier(owner: object) -> None:
    """Refuse to pickle `owner` where nothing would carry its descriptors.

    Raises:
        TransferError: saying what would.
    """
    if _carriers.refusing or (_carriers.carry is None and not _multiprocessing_pickles()):
        raise TransferError(
            f"{kind(owner)} cannot become plain bytes: it lives in memory and descriptors that "
            f"another process has to be handed. Pass it to a worker of poolwise (as an argument, "
            f"in a closure, to an initializer), through poolwise.Pipe, or to "
            f"multiprocessing.Process"
        )


def carry(descriptor: int) -> Token:
    """Send `descriptor` along with what is being pickled; return what `claim` takes.

    Call `require_carrier` first.
    """
    if _carriers.carry is not None:
        return _carriers.carry(descriptor)
    return _duplicate_for_multiprocessing(descriptor)


def claim(token: Token) -> int:
    """Return the descriptor that `carry` sent along; the caller owns it.

    Raises:
        TransferError: if it did not arrive.
    """
    if not isinstance(token, int):
        try:
            descriptor: int = token.detach()
        except Exception as error:  # of sockets, of authentication, or the end of the other side
            raise TransferError(
                f"multiprocessing does not hand over what an object of poolwise lives in "
                f"({type(error).__name__}): its pickle can be read once, by a process of the same "
                f"program, while the process that pickled it runs"
            ) from error
        os.set_inheritable(descriptor, False)
        return descriptor
    if _carriers.received is None or not 0 <= token < len(_carriers.received):
        raise TransferError(
            "an object of poolwise arrived without its descriptors: it was read by something "
            "that does not carry them"
        )
    return os.dup(_carriers.received[token])


# ---- multiprocessing -----------------------------------------------------------------------------


def _duplicate_for_multiprocessing(descriptor: int) -> Token:
    from multiprocessing.reduction import DupFd

    return DupFd(descriptor)


def _multiprocessing_pickles() -> bool:
    """Whether it starts a process, or its pickler is at work for a connection or a queue of its.

    The pickler can be told of classes, but only once it is loaded, which may be long after they
    are; loading it would take 10 ms and more. So it is looked for among those who called.
    """
    reduction = sys.modules.get("multiprocessing.reduction")
    if reduction is None:
        return False
    if sys.modules["multiprocessing.context"].get_spawning_popen() is not None:
        return True
    picklers = (reduction.ForkingPickler.dumps.__func__.__code__, reduction.dump.__code__)
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code in picklers:
            return True
        frame = frame.f_back
    return False
