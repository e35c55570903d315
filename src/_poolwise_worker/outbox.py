"""What a worker lets out: frames to the caller, what calls have printed, and itself."""

from __future__ import annotations

import os
import sys
from _socket import SCM_RIGHTS, SOL_SOCKET, socket
from _thread import allocate_lock

from _poolwise_worker import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Outbox:
    """The sending half of the data socket. `lock` guards it: frames never interleave."""

    def __init__(self, sock: socket) -> None:
        self._sock = sock
        self._lock = allocate_lock()

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

    def announce(self, descriptor: int) -> None:
        """Send an arena."""
        self.send(wire.pack(wire.ARENA, 0, descriptors=1), [descriptor])


def flush_streams() -> None:
    """Let out what calls have printed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # none, closed, or replaced by a call: not ours to judge


def leave(code: int) -> None:
    """End this process now: the caller is gone or has said so, or a fault of ours came up."""
    os._exit(code)
