"""Sockets between our processes: they block, whatever the program wants of its own connections.

`socket.setdefaulttimeout` counts for each socket that Python makes, those of libraries too, and
makes it one that does not block, for whoever else has it as well.
"""

from __future__ import annotations

from _socket import AF_UNIX, SOCK_STREAM, socket, socketpair


def pair(kind: int = SOCK_STREAM) -> tuple[socket, socket]:
    """Return two ends of a connection.

    Raises:
        OSError: there are no descriptors.
    """
    ends = socketpair(AF_UNIX, kind)
    for end in ends:
        end.settimeout(None)
    return ends


def of(descriptor: int, kind: int = SOCK_STREAM) -> socket:
    """Return the socket with this descriptor, which belongs to it from now on."""
    sock = socket(AF_UNIX, kind, 0, descriptor)
    sock.settimeout(None)
    return sock
