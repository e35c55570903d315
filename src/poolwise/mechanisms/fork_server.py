"""The caller's side of the fork server: start it once, hand in channels, ask for workers.

One server serves all pools of a process. Its module-level reference is guarded by `_lock`; a
channel belongs to one pool and its owner.
"""

from __future__ import annotations

import atexit
import marshal
import mmap
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import _poolwise_worker
from _poolwise_worker.server import PRELOAD, REPLY, REQUEST, START

_lock = threading.Lock()
_server: _Server | None = None


class _Server:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        home = str(Path(_poolwise_worker.__file__).parent.parent)
        code = (
            f"import sys; sys.path.insert(0, {home!r}); "
            f"from _poolwise_worker.server import main; main({theirs.fileno()})"
        )
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        # -P: a file in the working directory must not stand in for a standard module.
        command = [sys.executable, *flags, "-P", "-c", code]
        with theirs:
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
                )
            except BaseException:
                ours.close()
                raise
        self._front = ours

    def open_channel(self) -> socket.socket:
        """Return our end of a new channel.

        Raises:
            ConnectionError: the server is gone.
            OSError: no descriptor is left here.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                socket.send_fds(self._front, [b"+"], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return ours

    def forget(self) -> None:
        """Let go of a server that belongs to the process that this one was forked from."""
        self._front.close()
        self._process.returncode = 0  # not ours to wait for

    def stop(self) -> None:
        """Close the front door; the server kills what is left of its workers and ends."""
        self._front.close()
        self._process.wait()


def open_channel() -> socket.socket:
    """Return a channel to the server; start the server if there is none or if it has died.

    Raises:
        OSError: no server can be started here.
    """
    global _server
    with _lock:
        if _server is not None:
            try:
                return _server.open_channel()
            except ConnectionError:  # no other error: it may serve other pools very well
                dead, _server = _server, None
                dead.stop()
        _server = _Server()
        return _server.open_channel()


def stop() -> None:
    """End the server and all its workers now. The next pool starts another."""
    global _server
    with _lock:
        if _server is not None:
            _server.stop()
            _server = None


def _after_fork() -> None:
    """In a child of the user's: the server is the parent's, and so is whoever held the lock."""
    global _lock, _server
    _lock = threading.Lock()
    if _server is not None:
        _server.forget()
        _server = None


os.register_at_fork(after_in_child=_after_fork)
atexit.register(stop)


#: Bytes of a start mark.
_MARK_SIZE = 8


def surroundings(threads: int) -> bytes:
    """Return what a worker takes on so that it looks like this process, as it is now."""
    try:
        folder = os.getcwd()
    except OSError:
        folder = ""
    return marshal.dumps(
        {
            "threads": threads,
            "cwd": folder,
            "environ": dict(os.environb),
            # Anything may lie in these lists; `marshal` takes plain strings only.
            "path": [str(entry) for entry in sys.path if isinstance(entry, str)],
            "argv": [str(argument) for argument in sys.argv],
            "recursionlimit": sys.getrecursionlimit(),
        }
    )


def preload(channel: socket.socket, *names: str) -> None:
    """Have the server import modules before it forks the next workers.

    Raises:
        OSError: the server is gone.
    """
    payload = marshal.dumps(list(names))
    channel.sendall(REQUEST.pack(PRELOAD, 0, len(payload)) + payload)


class WorkerEnds:
    """What the caller keeps of a worker that it has asked for: sockets, life pipe, start marks."""

    def __init__(self, channel: socket.socket, number: int, threads: int, payload: bytes) -> None:
        """Ask the server behind `channel` for a worker of so many threads.

        Raises:
            ConnectionError: the server is gone.
            OSError: no descriptors or no memory.
        """
        opened: list[int] = []
        try:
            data, data_theirs = (end.detach() for end in socket.socketpair())
            opened += data, data_theirs
            control, control_theirs = (end.detach() for end in socket.socketpair())
            opened += control, control_theirs
            life_theirs, life = os.pipe()
            opened += life, life_theirs
            marks_size = -(-threads * _MARK_SIZE // mmap.PAGESIZE) * mmap.PAGESIZE
            marks_fd = _anonymous_file(marks_size)
            opened.append(marks_fd)
            self._marks_map = mmap.mmap(marks_fd, marks_size)
            self.marks = memoryview(self._marks_map).cast("Q")
            socket.send_fds(
                channel,
                [REQUEST.pack(START, number, len(payload))],
                [data_theirs, control_theirs, life_theirs, marks_fd],
            )
            channel.sendall(payload)
        except BaseException:
            for descriptor in opened:
                os.close(descriptor)
            raise
        for descriptor in (data_theirs, control_theirs, life_theirs, marks_fd):
            os.close(descriptor)
        self.data = socket.socket(fileno=data)
        self.control = socket.socket(fileno=control)
        self._life = life
        # The owner never waits for one worker: it may hang, or be waiting for the owner to read.
        self.data.setblocking(False)
        self.control.setblocking(False)

    def end_life(self) -> None:
        """Have the kernel kill the worker, if it still lives."""
        life, self._life = self._life, -1
        if life >= 0:
            os.close(life)
        self.control.close()

    def close(self) -> None:
        """Let go of everything; a worker that still lives is killed."""
        self.end_life()
        self.data.close()
        self.marks.release()
        self._marks_map.close()


def _anonymous_file(size: int) -> int:
    """Return a descriptor of shared memory without a name: nothing to leak, no tracker."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("poolwise-marks", os.MFD_CLOEXEC)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, size)
    return descriptor


__all__ = ["REPLY", "REQUEST", "WorkerEnds", "open_channel", "preload", "stop", "surroundings"]
