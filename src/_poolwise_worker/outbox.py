"""What a worker lets out: frames to the caller, what calls have printed, and itself."""

from __future__ import annotations

import os
import sys
from _socket import SCM_RIGHTS, SOL_SOCKET, socket
from _thread import allocate_lock
from collections import deque

from _poolwise_worker import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Outbox:
    """The sending half of the data socket. `_lock` guards it: frames never interleave.

    What calls say is queued first, because a signal handler that prints may have interrupted its
    own thread while that holds the lock. Who finds the lock taken leaves the rest to who has it,
    and that one looks again after it has let go.
    """

    def __init__(self, sock: socket) -> None:
        self._sock = sock
        self._lock = allocate_lock()
        self._said: deque[bytes] = deque()

    def say(self, frame: bytes) -> None:
        """Send one frame of what a call has said, in order."""
        self._said.append(frame)
        self._let_out()

    def _let_out(self) -> None:
        while self._said and self._lock.acquire(False):
            try:
                while self._said:
                    self._sock.sendall(self._said.popleft())
            except OSError:
                leave(0)
            finally:
                self._lock.release()

    def send(self, frame: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send one frame, and close its descriptors. Blocks while the caller does not read; dies if
        the caller is gone.
        """
        try:
            with self._lock:
                if descriptors:
                    rights = b"".join(each.to_bytes(4, sys.byteorder) for each in descriptors)
                    sent = self._sock.sendmsg([frame], [(SOL_SOCKET, SCM_RIGHTS, rights)])
                    self._sock.sendall(frame[sent:])
                else:
                    self._sock.sendall(frame)
        except OSError:
            leave(0)
        for each in descriptors:
            os.close(each)
        if self._said:
            self._let_out()

    def announce(self, descriptor: int) -> None:
        """Send an arena."""
        self.send(wire.pack(wire.ARENA, 0, descriptors=1), [descriptor])

    def release(self, released: bytes) -> None:
        """Say what the caller may use again of its arena: before the frame upon which it sends
        more, or something again.
        """
        if released:
            self.send(wire.pack(wire.RELEASED, 0, released))


def flush_streams() -> None:
    """Let out what calls have printed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # none, closed, or replaced by a call: not ours to judge


def leave_as(error: BaseException | None) -> None:
    """End this process, which a call has forked and come back in, as Python ends a program."""
    code = 0
    if isinstance(error, SystemExit):
        if isinstance(error.code, int):
            code = error.code
        elif error.code is not None:  # a text, which Python writes
            code = 1
            sys.stderr.write(f"{error.code}\n")
    elif error is not None:
        code = 1
        sys.excepthook(type(error), error, error.__traceback__)
    flush_streams()
    leave(code & 0xFF)


def leave(code: int) -> None:
    """End this process now: the caller is gone or has said so, or a fault of ours came up."""
    os._exit(code)
