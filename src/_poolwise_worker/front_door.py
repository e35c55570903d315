"""What is said to a server at its front door, and about a worker at its keeper; see `server`.

By itself, because a process that forks a server needs this and nothing else of it.
"""

from __future__ import annotations

from _socket import SCM_RIGHTS, SOL_SOCKET, socket
from _struct import Struct, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: Requests at the front door: kind, threads of the worker or bytes of the payload that follows.
REQUEST = Struct("<BQ")
FORK, SPAWN, PRELOAD, QUIT = 1, 2, 3, 4

#: Added to FORK or SPAWN: the worker is to be guarded, and `LIMITS` follow.
GUARDED = 8

#: What comes with a request for a guarded worker: seconds and bytes, 0 for no limit.
LIMITS = Struct("<dQ")

#: Descriptors that come with FORK and SPAWN: keeper, data socket, control socket, life pipe, start
#: marks.
DESCRIPTORS = 5

#: Replies at the keeper: kind, value (a process id, a wait status, an errno).
REPLY = Struct("<Bxxxxxxxq")
STARTED, ENDED, FAILED = 1, 2, 3

#: More of them: a guarded worker was ended because it took too long, or grew too large.
OVERTIME, OVERGROWN = 4, 5

#: What the caller says to the keeper.
KILL, RESUME = b"k", b"r"


def send_with(sock: socket, message: bytes | memoryview, descriptors: Sequence[int]) -> int:
    """Send what goes of a message, with descriptors; return how many bytes went.

    Raises whatever the socket raises.
    """
    rights = pack(f"{len(descriptors)}i", *descriptors)
    return sock.sendmsg([message], [(SOL_SOCKET, SCM_RIGHTS, rights)])
