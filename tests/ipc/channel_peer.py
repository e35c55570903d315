"""Processes that run calls sent to them, with the descriptors that the arguments rest on.

A stand-in for whatever carries objects to workers: pickles over a socket pair, descriptors beside
them. A peer is a copy of this process (``fork``) or a new program (``exec``); either is running
already when it is sent its first call.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _poolwise_worker.descriptors import MOST, Parcel, collecting, providing

#: What is waited for comes within this, or never.
DEADLINE = 30.0

HERE = Path(__file__).parent
_PROGRAM = "import sys; from channel_peer import serve; serve(int(sys.argv[1]))"


class Peer:
    """A process that runs one call after the other."""

    def __init__(self, kind: str) -> None:
        ours, theirs = socket.socketpair()
        self._process: subprocess.Popen[bytes] | None = None
        with theirs:
            if kind == "fork":
                self.pid = self._fork(ours, theirs)
            else:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
                )
                self.pid = self._process.pid
        ours.settimeout(DEADLINE)
        self._socket = ours
        self._reaped = False

    def _fork(self, ours: socket.socket, theirs: socket.socket) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads beside a fork
            pid = os.fork()
        if pid == 0:
            try:
                ours.close()
                serve(theirs.fileno())
            finally:
                os._exit(1)
        return pid

    def start(self, function: Callable[..., object], *args: object) -> None:
        """Send a call; do not wait for it."""
        with Parcel() as parcel:
            with collecting(parcel):
                payload = pickle.dumps((function, args))
            _send(self._socket, payload, parcel.descriptors)

    def result(self) -> Any:
        """Wait for the outcome of the call sent first; raise what it raised."""
        payload, descriptors = _receive(self._socket)
        with providing(descriptors):
            ok, value = pickle.loads(payload)
        if not ok:
            raise value
        return value

    def call(self, function: Callable[..., object], *args: object) -> Any:
        self.start(function, *args)
        return self.result()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; if it is SIGKILL, return when the process is gone."""
        os.kill(self.pid, number)
        if number == signal.SIGKILL:
            self.close()

    def close(self) -> None:
        self._socket.close()
        if self._reaped:
            return
        self._reaped = True
        if self._process is not None:
            self._process.wait(DEADLINE)
        else:
            os.waitpid(self.pid, 0)


def serve(descriptor: int) -> None:
    """Run calls until nobody sends any more; never returns."""
    with socket.socket(fileno=descriptor) as sock:
        while True:
            try:
                payload, descriptors = _receive(sock)
            except EOFError:
                os._exit(0)
            try:
                with providing(descriptors):
                    function, args = pickle.loads(payload)
                outcome = True, function(*args)
            except BaseException as error:
                outcome = False, error
            function = args = None
            with Parcel() as parcel:
                try:
                    with collecting(parcel):
                        payload = pickle.dumps(outcome)
                except Exception as error:
                    payload = pickle.dumps((False, RuntimeError(repr(error))))
                outcome = None
                _send(sock, payload, parcel.descriptors)


def _send(sock: socket.socket, payload: bytes, descriptors: list[int]) -> None:
    header = len(payload).to_bytes(8, "little")
    if descriptors:
        socket.send_fds(sock, [header], descriptors)
    else:
        sock.sendall(header)
    sock.sendall(payload)


def _receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    header, descriptors, _, _ = socket.recv_fds(sock, 8, MOST)
    if len(header) < 8:
        raise EOFError("the other side is gone")
    payload = bytearray()
    size = int.from_bytes(header, "little")
    while len(payload) < size:
        chunk = sock.recv(size - len(payload))
        if not chunk:
            raise EOFError("the other side is gone")
        payload += chunk
    return bytes(payload), list(descriptors)


@contextmanager
def peers(*kinds: str) -> Iterator[list[Peer]]:
    """Peers of these kinds, ended at the end whatever they are doing."""
    started: list[Peer] = []
    try:
        for kind in kinds:
            started.append(Peer(kind))
        yield started
    finally:
        for peer in started:
            if not peer._reaped:
                os.kill(peer.pid, signal.SIGKILL)
            peer.close()
