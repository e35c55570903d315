"""A process for one call: receives it, runs it in its main thread, sends what became of it."""

from __future__ import annotations

import os
import sys
from _socket import (
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_NOSIGNAL,
    MSG_WAITALL,
    SCM_RIGHTS,
    SOL_SOCKET,
    socket,
)
from _struct import Struct, iter_unpack, pack

from _poolwise_worker import script, sockets, transfer
from _poolwise_worker.descriptors import MOST, Parcel, collecting, providing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: Before each of the two messages: its size in bytes. The descriptors come with it.
SIZE = Struct("<Q")


def send(sock: socket, payload: bytes, carried: Sequence[int]) -> None:
    """Send a message and the descriptors that it rests on.

    Raises:
        OSError: if the other side is gone.
    """
    rights = [(SOL_SOCKET, SCM_RIGHTS, pack(f"{len(carried)}i", *carried))] if carried else []
    sock.sendmsg([SIZE.pack(len(payload))], rights, MSG_NOSIGNAL)
    sock.sendall(payload, MSG_NOSIGNAL)


def receive(sock: socket) -> tuple[bytearray, list[int]] | None:
    """Receive a message and its descriptors, which are the caller's; ``None`` at the end."""
    try:
        header, extras, _, _ = sock.recvmsg(
            SIZE.size, CMSG_SPACE(MOST * 4), MSG_WAITALL | MSG_CMSG_CLOEXEC
        )
        carried = [
            descriptor
            for level, kind, data in extras
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS)
            for (descriptor,) in iter_unpack("i", data[: len(data) & ~3])
        ]
        if len(header) == SIZE.size:
            payload = bytearray(SIZE.unpack(header)[0])
            room = memoryview(payload)
            while room:
                got = sock.recv_into(room)
                if not got:
                    break
                room = room[got:]
            if not room:
                return payload, carried
    except ConnectionError:
        return None
    for descriptor in carried:
        os.close(descriptor)
    return None


def main(descriptor: int, life: int) -> None:
    """Run the call that comes through `descriptor`; killed when the other end of `life` closes."""
    from _poolwise_worker.lives import die_with

    script.have_both_names()
    os.set_inheritable(descriptor, False)
    os.set_inheritable(life, False)
    die_with(life, os.getpid())
    sock = sockets.of(descriptor)
    received = receive(sock)
    if received is None:
        return
    error = None
    try:
        payload, carried = received
        with providing(carried):
            surroundings, call = transfer.loads(payload)
            sys.path[:], sys.argv[:] = surroundings
            target, args, kwargs = transfer.loads(call)
        value = target(*args, **kwargs)
    except BaseException as raised:
        error = raised
        outcome: tuple[bool, object] = False, transfer.dumps_error(raised)
    else:
        outcome = True, value
    with Parcel() as parcel:
        try:
            with collecting(parcel):
                payload_back = transfer.TO_CALLER.dumps(outcome)
        except BaseException as why:
            text = f"its result cannot be pickled: {transfer.describe(why)}"
            untransferable = transfer.dumps_error(transfer.Untransferable(text))
            payload_back = transfer.TO_CALLER.dumps((False, untransferable))
        try:
            send(sock, payload_back, parcel.descriptors)
        except OSError:
            pass  # the caller has let go of its worker; nobody wants to know
    sock.close()
    if error is not None:
        raise error
