"""Forked workers that load, call and answer, nothing else: what the arena alone allows."""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from types import TracebackType
from typing import Any

from _poolwise_worker import buffers
from _poolwise_worker.arena import Reader, Writer, create

#: Bytes of released slots, bytes of the message.
_HEAD = Struct("<QQ")

#: Calls that are at a worker at once, as under a map.
_AHEAD = 2


class _End:
    """One end of the connection between the caller and a worker: a socket and two arenas."""

    def __init__(self, sock: socket.socket, outgoing: int, incoming: int, arena: bool) -> None:
        self.sock = sock
        self.arena = arena
        self.writer = Writer(outgoing)
        self.reader = Reader(incoming)

    def send(self, value: object) -> None:
        message = buffers.dumps(value, self.writer if self.arena else None)
        released = self.reader.released()
        self.sock.sendall(_HEAD.pack(len(released), len(message)) + released + message)

    def receive(self) -> Any:
        released, message = _HEAD.unpack(self._exactly(_HEAD.size))
        self.writer.free(self._exactly(released))
        return buffers.loads(self._exactly(message), self.reader)

    def _exactly(self, size: int) -> bytearray:
        room = bytearray(size)
        view = memoryview(room)
        while view:
            got = self.sock.recv_into(view)
            if not got:
                raise EOFError
            view = view[got:]
        return room

    def close(self) -> None:
        self.sock.close()
        self.writer.close()
        self.reader.close()


class BareWorkers:
    """Workers forked from this process, for one function; a context manager.

    Without `arena`, everything goes through the socket.
    """

    def __init__(
        self, function: Callable[[Any], Any], workers: int, limit: int, *, arena: bool = True
    ) -> None:
        self._ends: list[_End] = []
        self._pids: list[int] = []
        for _ in range(workers):
            ours, theirs = socket.socketpair()
            arguments, results = create(limit), create(limit)
            pid = os.fork()
            if not pid:
                try:
                    for end in self._ends:
                        end.sock.close()
                    ours.close()
                    _serve(_End(theirs, results, arguments, arena), function)
                finally:
                    os._exit(1)
            theirs.close()
            self._pids.append(pid)
            self._ends.append(_End(ours, arguments, results, arena))

    def map(self, values: Iterable[object]) -> Iterator[Any]:
        """Yield results in the order of `values`; a few calls are under way at once."""
        poll = select.poll()
        by_fd = {end.sock.fileno(): end for end in self._ends}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        left = enumerate(values)
        order = {fd: deque[int]() for fd in by_fd}
        came: dict[int, Any] = {}

        def hand_out(fd: int) -> None:
            for number, value in left:
                by_fd[fd].send(value)
                order[fd].append(number)
                return

        for _ in range(_AHEAD):
            for fd in by_fd:
                hand_out(fd)
        following = 0
        while any(order.values()):
            for fd, _ in poll.poll():
                came[order[fd].popleft()] = by_fd[fd].receive()
                hand_out(fd)
            while following in came:
                yield came.pop(following)
                following += 1

    def __enter__(self) -> BareWorkers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for end in self._ends:
            end.sock.shutdown(socket.SHUT_WR)
        for pid in self._pids:
            os.waitpid(pid, 0)
        for end in self._ends:
            end.close()


def _serve(end: _End, function: Callable[[Any], Any]) -> None:
    try:
        while True:
            end.send(function(end.receive()))
    except (EOFError, ConnectionError):
        os._exit(0)
