"""`Pipe`: two ends, and what is sent into one comes out of the other."""

from __future__ import annotations

import os
import select
from _socket import (
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    SCM_RIGHTS,
    SO_RCVTIMEO,
    SO_SNDTIMEO,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
)
from _struct import iter_unpack, pack
from time import monotonic

from _poolwise_worker import descriptors, sockets, timeouts
from _poolwise_worker.channels.heap import Heap
from _poolwise_worker.channels.messages import PLAIN, Codec, is_beside
from _poolwise_worker.channels.mutex import LOOK_UP
from _poolwise_worker.descriptors import Parcel, collecting, providing
from _poolwise_worker.errors import ChannelClosed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn, Self

#: Bytes that a packet has at most; what is larger lies in shared memory, and the packet says where.
#: Below what a socket takes at once on every Linux (its send buffer, 208 KiB by default).
_PACKET = 1 << 16

#: What a large message takes up of the socket's buffer, though its packet could be shorter: so only
#: some six are on their way at a time, and the memory that they lie in is soon used again.
_LARGE_TAKES = 1 << 15

_ROOM_FOR_DESCRIPTORS = CMSG_SPACE(descriptors.MOST * 4)


class PipeEnd:
    """One of the two ends that `Pipe` returns; may be used by several threads and processes.

    Each message is a packet of its own, so several that send or receive never mix theirs. Locks,
    queues and other ends may be sent too: descriptors travel along.
    """

    __slots__ = ("__weakref__", "_codec", "_heap", "_socket")

    def __init__(self, sock: socket, heap: Heap) -> None:
        self._socket = sock
        self._heap = heap
        self._codec = Codec(heap, _PACKET)

    def __reduce__(self) -> tuple[Any, ...]:
        descriptors.require_carrier(self)
        return _arrived, (descriptors.carry(self.fileno()), self._heap.carry())

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"descriptor {self._socket.fileno()}"
        return f"<poolwise.PipeEnd {state} at {id(self):#x}>"

    def send(self, item: Any) -> None:
        """Send a copy of `item`; waits while the other end is many messages behind.

        Raises:
            ChannelClosed: if this end is closed, or nobody has the other one any more.
            TransferError: if `item` cannot be pickled; with the path to what cannot.
        """
        if item.__class__ in PLAIN:
            self._send(self._codec.encode(item), [])
            return
        with Parcel() as parcel:
            with collecting(parcel):
                message = self._codec.encode(item)
            self._send(message, parcel.descriptors)

    def recv(self, timeout: float | None = None) -> Any:
        """Receive the next message.

        Args:
            timeout: Seconds to wait at most; ``None`` for ever.

        Raises:
            ChannelClosed: if this end is closed, or nobody has the other one and all that was
                sent has been received.
            TimeoutError: if nothing came in time.
            TransferError: if the message cannot be read here; it is gone then.
        """
        until = timeouts.until(timeout)
        flags = 0 if until is None else MSG_DONTWAIT
        while True:
            if until is not None and not self._poll(until):
                raise TimeoutError(f"nothing was received for {timeout} s")
            try:
                message, carried = self._receive(flags)
                break
            except BlockingIOError:
                continue  # another took it; or nothing came yet, and nobody has closed this end
        if not message:
            for descriptor in carried:
                os.close(descriptor)
            self._refuse("the other end is closed, and all that was sent has been received")
        with providing(carried):
            return self._codec.decode(message)

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Return whether `recv` would not have to wait, because of a message or the end.

        Args:
            timeout: Seconds to wait at most; ``None`` for ever.

        Raises:
            ChannelClosed: if this end is closed.
        """
        return self._poll(timeouts.until(timeout))

    def fileno(self) -> int:
        """Return the descriptor, to wait for with `select` and its kind.

        Raises:
            ChannelClosed: if this end is closed.
        """
        descriptor = self._socket.fileno()
        if descriptor < 0:
            self._refuse("this end is closed")
        return descriptor

    @property
    def closed(self) -> bool:
        """Whether this end is closed in this process."""
        return self._socket.fileno() < 0

    def close(self) -> None:
        """Close this end, in this process; a second time it does nothing.

        Threads that wait here get `ChannelClosed`, within 0.05 s.
        """
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._socket.close()

    def __iter__(self) -> Iterator[Any]:
        """Receive messages until the other end is closed."""
        while True:
            try:
                item = self.recv()
            except ChannelClosed:
                return
            yield item

    def _send(self, message: bytes, carried: list[int]) -> None:
        if is_beside(message):
            message = message.ljust(_LARGE_TAKES)  # what follows a pickle is not read
        rights = []
        if carried:
            rights = [(SOL_SOCKET, SCM_RIGHTS, pack(f"{len(carried)}i", *carried))]
        try:
            while True:
                try:
                    self._socket.sendmsg([message], rights, MSG_NOSIGNAL)
                    break
                except BlockingIOError:
                    continue  # the other end is many messages behind, and nobody has closed this
        except OSError as error:
            self._codec.discard(message)
            if self.closed:
                self._refuse("this end is closed")
            if isinstance(error, ConnectionError):
                self._refuse("nobody has the other end any more")
            raise

    def _receive(self, flags: int) -> tuple[bytes, list[int]]:
        try:
            message, extras, _, _ = self._socket.recvmsg(
                _PACKET, _ROOM_FOR_DESCRIPTORS, flags | MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            raise
        except OSError as error:
            if self.closed:
                self._refuse("this end is closed")
            if isinstance(error, ConnectionError):
                return b"", []
            raise
        carried = [
            descriptor
            for level, kind, data in extras
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS)
            for (descriptor,) in iter_unpack("i", data[: len(data) & ~3])
        ]
        return message, carried

    def _poll(self, until: float | None) -> bool:
        while True:
            poll = select.poll()
            poll.register(self.fileno(), select.POLLIN)
            left = LOOK_UP if until is None else max(0.0, until - monotonic())
            if poll.poll(min(left, LOOK_UP) * 1000):
                self.fileno()  # what was closed is ready, too
                return True
            if left <= LOOK_UP and until is not None:
                return False

    def _refuse(self, why: str) -> NoReturn:
        raise ChannelClosed(f"{why}: {self!r}")


def Pipe() -> tuple[PipeEnd, PipeEnd]:
    """Return two ends; what is sent into one comes out of the other, as a copy.

    Messages are in order. An end that a process inherited or was passed is one more copy of it:
    the other side sees the end of the pipe when all copies are closed or their processes gone.

    Raises:
        NotImplementedError: if this system is not Linux.
    """
    heap = Heap.create()
    ours, theirs = sockets.pair(SOCK_SEQPACKET)
    for each in ours, theirs:  # to see whether another thread has closed it meanwhile
        for wait in SO_RCVTIMEO, SO_SNDTIMEO:
            each.setsockopt(SOL_SOCKET, wait, pack("ll", 0, int(LOOK_UP * 1e6)))
    return PipeEnd(ours, heap), PipeEnd(theirs, heap)


def _arrived(sock: descriptors.Token, heap: descriptors.Token) -> PipeEnd:
    claimed = Heap.claim(heap)
    return PipeEnd(sockets.of(descriptors.claim(sock), SOCK_SEQPACKET), claimed)
