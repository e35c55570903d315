"""Work of the kinds that are said to suit processes or threads, done by a worker of any mechanism.

Each takes an amount, which says how long it lasts, and what it needs. Standard library only.
"""

from __future__ import annotations

import socket
import socketserver
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from poolwise.units import Seconds


def perform(kind: str, amount: int, given: Any) -> object:
    """Do a piece of work of a kind."""
    return CHORES[kind](amount, given)


def _scientific(steps: int, _: Any) -> float:
    """Move four bodies that attract each other."""
    bodies = [
        [1.0, 0.0, 0.0, 0.5],
        [-1.0, 0.0, 0.0, -0.5],
        [0.0, 2.0, 0.3, 0.0],
        [0.0, -2.0, -0.3, 0.0],
    ]
    for _step in range(steps):
        for one in bodies:
            for other in bodies:
                if other is not one:
                    x, y = other[0] - one[0], other[1] - one[1]
                    pull = 1e-4 / (x * x + y * y + 0.01) ** 1.5
                    one[2] += pull * x
                    one[3] += pull * y
        for one in bodies:
            one[0] += 1e-4 * one[2]
            one[1] += 1e-4 * one[3]
    return sum(body[0] for body in bodies)


def _image(rows: int, pixels: bytes) -> bytes:
    """Blur rows of a grey picture; the picture comes with the call, and the new one goes back."""
    blurred = bytearray(pixels)
    for row in range(rows):
        start = row * IMAGE_WIDTH % (len(pixels) - IMAGE_WIDTH)
        for at in range(start + 1, start + IMAGE_WIDTH - 1):
            blurred[at] = (pixels[at - 1] + 2 * pixels[at] + pixels[at + 1]) >> 2
    return bytes(blurred)


#: Of a picture: pixels in a row, and in all.
IMAGE_WIDTH, IMAGE_SIZE = 256, 1 << 16


def _network(requests: int, path: str) -> int:
    """Ask a server that takes a millisecond or more, on connections of its own."""
    received = 0
    for _ in range(requests):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(b"?")
            while more := connection.recv(1 << 16):
                received += len(more)
    return received


def _files_cached(reads: int, path: str) -> int:
    """Read a file that the page cache holds, and count its lines."""
    return sum(Path(path).read_bytes().count(b"\n") for _ in range(reads))


def _short(rounds: int, _: Any) -> int:
    """Do next to nothing."""
    return rounds * rounds


def _pure_python(rounds: int, _: Any) -> int:
    total = 0
    for each in range(rounds):
        total += each & 7
    return total


def _without_gil(blocks: int, block: bytes) -> str:
    """Hash a block again and again, which CPython does without the GIL."""
    hashed = sha256()
    for _ in range(blocks):
        hashed.update(_BLOCK)
    return hashed.hexdigest()


_BLOCK = bytes(1 << 16)

CHORES: dict[str, Callable[[int, Any], object]] = {
    "scientific": _scientific,
    "image": _image,
    "network": _network,
    "files cached": _files_cached,
    "short tasks": _short,
    "pure python": _pure_python,
    "C without GIL": _without_gil,
}


def server(path: str, delay: Seconds) -> socketserver.BaseServer:
    """Return a server that listens, and answers each connection after a delay once it serves."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1)
            time.sleep(delay)
            self.request.sendall(bytes(1 << 12))

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            """Whoever asked has gone."""

    return Server(path, Answer)
