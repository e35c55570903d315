"""Frames: what the caller and a worker say to each other over a stream socket.

A frame is a header of fixed size and a payload. Fields that a kind does not use are zero.

========== ========= ============ ================ ======= =================================
kind       direction key          first            count   payload
========== ========= ============ ================ ======= =================================
TASK       →         task id      –                –       pickled function
FORGET     →         task id      –                –       –
ADOPT      →         –            –                –       what the caller looks like
PART       →         –            –                –       what of the machine is the worker's
PRIME      →         –            –                –       pickled initializer, module state, or –
REST       →         –            –                –       –
RUN        →         batch id     task id          calls   the pickled columns
SINGLY     →         batch id     task id          calls   pickled list of pickled calls
READY      ←         process id   –                –       –
UNREADY    ←         –            –                –       pickled, what the initializer raised
UNABLE     ←         errno        –                –       –
DONE       ←         batch id     first call       calls   pickled values
MIXED      ←         batch id     first call       calls   pickled (values, errors)
RETURNED   ←         batch id     first call       calls   –
UNREADABLE ←         batch id     –                –       why, as text
ARENA      both      –            –                –       – (the descriptor comes along)
RELEASED   both      –            –                –       slots that may be written again
SAID       ←         1 or 2       –                –       whole lines, as text
LOGGED     ←         –            –                –       pickled fields of a log record
WARNED     ←         –            –                –       pickled warning, category, file, line
========== ========= ============ ================ ======= =================================

A batch ends in frames that together cover each of its calls once: DONE and MIXED for calls that
ran, RETURNED for the tail that will never start. UNREADABLE says that the columns did not
unpickle as a whole; the caller sends them again as SINGLY. PRIME is answered by READY, after the
initializer has run, or by UNREADY; by UNABLE, with what the system lacks, if the worker cannot
begin. It has taken nothing then, and exits.

The caller ends a worker by closing its own sending direction: the worker finishes what it has read,
then exits. REST says that nobody has work for it now: it forgets its tasks, leaves word that it has
in its start marks, and exits by itself if nothing else comes within the seconds in the header's
field for service.
"""

from __future__ import annotations

import os
from _socket import CMSG_SPACE, MSG_DONTWAIT, SCM_RIGHTS, SOL_SOCKET, socket
from _struct import Struct
from collections import deque

ARENA, RELEASED = 32, 33
TASK, ADOPT, PRIME, REST, RUN, SINGLY, PART, FORGET = 1, 2, 3, 4, 5, 6, 7, 8
READY, UNREADY, DONE, MIXED, RETURNED, UNREADABLE = 16, 17, 18, 19, 20, 21
SAID, LOGGED, WARNED = 22, 23, 24
UNABLE = 25

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from _poolwise_worker.descriptors import providing

#: Payload bytes, kind, descriptors that come along, key, first, count, service and CPU seconds.
HEADER = Struct("<QBBQIIdd")

#: The most descriptors that one message can carry (SCM_MAX_FD).
MOST_DESCRIPTORS = 253
_ROOM = CMSG_SPACE(4 * MOST_DESCRIPTORS)

#: On the control socket: the id of a batch whose unstarted calls the caller wants back, or `ALL`.
RECALL = Struct("<Q")
ALL = 0

#: In a start mark, the bits that hold the position of the call in its batch. `HEADER` counts the
#: calls of a batch with as many.
POSITION = (1 << 32) - 1

#: In the place of a position, which is never so large: the batch as a whole is being read.
READING = POSITION

#: In the place of the first start mark: the worker has read REST.
RESTED = POSITION - 1

#: Below the size from which malloc maps fresh pages for every read.
_CHUNK = 1 << 16


def mark(batch: int, position: int = 0) -> int:
    """Return the start mark of a call: the lower half of the batch id, then the position.

    Half an id is enough: batches that are at one worker at the same time are not so far apart.
    """
    return (batch & POSITION) << 32 | position


class Frame:
    """One received frame."""

    __slots__ = ("count", "cpu", "descriptors", "first", "key", "kind", "payload", "service")

    def __init__(
        self,
        kind: int,
        key: int,
        first: int,
        count: int,
        service: float,
        cpu: float,
        payload: bytes | bytearray,
        descriptors: list[int],
    ) -> None:
        self.kind = kind
        self.key = key
        self.first = first
        self.count = count
        self.service = service
        self.cpu = cpu
        self.payload = payload
        self.descriptors = descriptors  # who takes the frame takes them over

    def read(self, loads: Callable[[bytes | bytearray], Any]) -> Any:
        """Return what `loads` makes of the payload, with the descriptors that it speaks of."""
        if not self.descriptors:
            return loads(self.payload)
        with self.providing():
            return loads(self.payload)

    def providing(self) -> providing:
        """Within the block, what is unpickled finds its descriptors; then they are closed."""
        from _poolwise_worker.descriptors import providing

        return providing(self.descriptors)

    def drop(self) -> None:
        """Close the descriptors of a frame that will not be read."""
        while self.descriptors:
            os.close(self.descriptors.pop())


def pack(
    kind: int,
    key: int,
    payload: bytes = b"",
    *,
    first: int = 0,
    count: int = 0,
    service: float = 0.0,
    cpu: float = 0.0,
    descriptors: int = 0,
) -> bytes:
    """Return one frame as bytes; so many descriptors are to be sent with its first byte."""
    size = len(payload)
    return HEADER.pack(size, kind, descriptors, key, first, count, service, cpu) + payload


class FrameReader:
    """Cuts a stream into frames. Owned by one reader at a time; never blocks.

    A payload larger than what one read brings is received into a buffer of its own size, so it
    is copied once.
    """

    def __init__(self, sock: socket) -> None:
        self._sock = sock
        self._buffer = bytearray()
        self._header: tuple[int, int, int, int, int, int, float, float] | None = None
        self._descriptors: deque[int] = deque()
        self._large: bytearray | None = None
        self._filled = 0
        self.closed = False

    @property
    def arriving(self) -> int | None:
        """The id of the batch of which a part is here and more is to come."""
        if self._header is None or self.closed or self._header[1] not in (RUN, SINGLY):
            return None
        return self._header[3]

    def read(self) -> bool:
        """Receive what is there. True if bytes came, False if there were none (yet).

        Sets `closed` when the other side has ended the stream or is gone.
        """
        try:
            if self._large is not None and self._filled < len(self._large):
                target = memoryview(self._large)[self._filled :]
                got, came, _, _ = self._sock.recvmsg_into([target], _ROOM, MSG_DONTWAIT)
                self._filled += got
            else:
                chunk, came, _, _ = self._sock.recvmsg(_CHUNK, _ROOM, MSG_DONTWAIT)
                got = len(chunk)
                self._buffer += chunk
            if came:
                self._take_descriptors(came)
        except BlockingIOError:
            return False
        except ConnectionError:
            got = 0
        if not got:
            self.closed = True
        return bool(got)

    def close(self) -> None:
        """Let go of descriptors whose frames nobody has taken."""
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def _take_descriptors(self, came: list[tuple[int, int, bytes]]) -> None:
        """Keep them for the frames that speak of them, which come in the same order."""
        for level, kind, content in came:
            if level == SOL_SOCKET and kind == SCM_RIGHTS:
                for descriptor in memoryview(content).cast("i"):
                    os.set_inheritable(descriptor, False)  # not for programs that calls start
                    self._descriptors.append(descriptor)

    def pop(self) -> Frame | None:
        """Return the next frame that has arrived whole."""
        buffer, header = self._buffer, self._header
        if header is None:
            if len(buffer) < HEADER.size:
                return None
            header = HEADER.unpack_from(buffer)
            rest = len(buffer) - HEADER.size
            if header[0] > rest:
                large = bytearray(header[0])  # for which memory may be short
                large[:rest] = memoryview(buffer)[HEADER.size :]
                self._large, self._filled = large, rest
                self._header, self._buffer = header, bytearray()
        size, kind, carried, key, first, count, service, cpu = header
        if self._large is None:
            end = HEADER.size + size
            payload = buffer[HEADER.size : end]
            del buffer[:end]
        elif self._filled == size:
            payload, self._large, self._header = self._large, None, None
        else:
            return None
        descriptors: list[int] = []
        # Fewer have come if this process may open no more.
        while self._descriptors and len(descriptors) < carried:
            descriptors.append(self._descriptors.popleft())
        return Frame(kind, key, first, count, service, cpu, payload, descriptors)
