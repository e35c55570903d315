"""The fork server: one single-threaded process that forks workers and waits for them.

Forking a process that has several threads can deadlock the child; this process has one thread
for as long as it lives. The caller talks to it through the *front door*, over which it hands in
one *channel* for each pool. On a channel, requests to start and kill workers come in, and word of
their ends goes out, so that each pool hears of its own workers only. A channel that closes takes
its workers with it; so does the front door.
"""

from __future__ import annotations

import mmap
import os
import select
import sys
from _signal import (  # type: ignore[import-not-found]  # signal.py imports enum: 2 ms
    SIG_DFL,
    SIG_UNBLOCK,
    SIGCHLD,
    SIGINT,
    SIGKILL,
    SIGTERM,
    pthread_sigmask,
    set_wakeup_fd,
    signal,
)
from _socket import (
    AF_UNIX,
    CMSG_SPACE,
    MSG_DONTWAIT,
    MSG_WAITALL,
    SCM_RIGHTS,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)
from _struct import Struct
from marshal import loads as unmarshal

from _poolwise_worker.worker import flush_streams, leave, work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Requests: kind, worker number, payload bytes.
REQUEST = Struct("<BQQ")
START, KILL, PRELOAD = 1, 2, 3

#: Replies: kind, worker number, value (a process id, a wait status, an errno).
REPLY = Struct("<Bxxxxxxxqq")
STARTED, ENDED, FAILED = 1, 2, 3

#: Descriptors that come with START: data socket, control socket, life pipe, start marks.
DESCRIPTORS = 4

#: In the place of a channel that has closed.
_NONE = -1


class Server:
    """The state of the server; touched by its one thread only."""

    def __init__(self, front: socket) -> None:
        self._front = front
        self._channels: dict[int, socket] = {}
        self._replies: dict[int, bytearray] = {}  # not sent yet, by channel
        self._workers: dict[int, tuple[int, int]] = {}  # pid: (channel descriptor, number)
        self._poll = select.poll()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)

    def serve(self) -> None:
        """Answer requests until the caller is gone."""
        signal(SIGCHLD, _ignore)
        set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._poll.register(self._front.fileno(), select.POLLIN)
        self._poll.register(self._wake_read, select.POLLIN)
        while True:
            for descriptor, events in self._poll.poll():
                if descriptor == self._wake_read:
                    self._reap()
                elif descriptor == self._front.fileno():
                    if not self._open_channel():
                        self._end()
                        return
                elif descriptor in self._channels:
                    if events & select.POLLOUT:
                        self._send_replies(descriptor)
                    if events & ~select.POLLOUT:
                        self._answer(descriptor)

    def _end(self) -> None:
        for channel in list(self._channels):
            self._close_channel(channel)
        for pid in self._workers:
            os.waitpid(pid, 0)

    def _open_channel(self) -> bool:
        received, descriptors = _receive(self._front, 1, 1)
        if not received:
            return False
        for descriptor in descriptors:  # none if this process may open no more: the caller hears
            self._channels[descriptor] = socket(AF_UNIX, SOCK_STREAM, 0, descriptor)
            self._replies[descriptor] = bytearray()
            self._poll.register(descriptor, select.POLLIN)
        return True

    def _close_channel(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        self._channels.pop(descriptor).close()
        del self._replies[descriptor]
        for pid, (owner, number) in self._workers.items():
            if owner == descriptor:
                os.kill(pid, SIGKILL)
                # The next channel may get the same descriptor before this worker is waited for.
                self._workers[pid] = _NONE, number

    def _answer(self, descriptor: int) -> None:
        channel = self._channels[descriptor]
        header, descriptors = _receive(channel, REQUEST.size, DESCRIPTORS)
        if len(header) < REQUEST.size:
            self._close_channel(descriptor)
            return
        kind, number, size = REQUEST.unpack(header)
        payload = _receive_payload(channel, size)
        if len(payload) < size:
            self._close_channel(descriptor)
            for each in descriptors:
                os.close(each)
            return
        if kind == START:
            self._start(descriptor, number, payload, descriptors)
        elif kind == PRELOAD:
            _preload(unmarshal(payload))
        elif kind == KILL:
            for pid, owner in self._workers.items():
                if owner == (descriptor, number):
                    os.kill(pid, SIGKILL)

    def _start(self, channel: int, number: int, payload: bytearray, descriptors: list[int]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._reply(channel, FAILED, number, error.errno or 0)
        else:
            if pid == 0:
                self._become_worker(payload, descriptors)
            self._workers[pid] = channel, number
            self._reply(channel, STARTED, number, pid)
        for descriptor in descriptors:
            os.close(descriptor)

    def _become_worker(self, payload: bytearray, descriptors: list[int]) -> None:
        """Turn this forked child into a worker. Never returns."""
        code = 1
        try:
            set_wakeup_fd(-1)
            signal(SIGCHLD, SIG_DFL)
            self._front.close()
            for channel in self._channels.values():
                channel.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            run_worker(payload, descriptors)
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            leave(code)

    def _reap(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            channel, number = self._workers.pop(pid, (_NONE, 0))
            if channel in self._channels:
                self._reply(channel, ENDED, number, status)

    def _reply(self, channel: int, kind: int, number: int, value: int) -> None:
        self._replies[channel] += REPLY.pack(kind, number, value)
        self._send_replies(channel)

    def _send_replies(self, channel: int) -> None:
        """Send what can be sent now. Never blocks.

        A caller that asks for hundreds of workers reads no reply before it has asked for the
        last: if each waited for the other to read, both would for ever.
        """
        replies = self._replies[channel]
        try:
            del replies[: self._channels[channel].send(replies, MSG_DONTWAIT)]
        except BlockingIOError:
            pass
        except OSError:
            replies.clear()  # its end of file arrives next and closes the channel
        self._poll.modify(channel, select.POLLIN | (select.POLLOUT if replies else 0))


def _preload(names: list[str]) -> None:
    """Import modules that every worker would import otherwise, each for itself.

    Only such as start no thread: this process has to stay single-threaded.
    """
    import gc

    for name in names:
        try:
            __import__(name)
        except Exception:
            pass  # the worker that needs it will say so
    gc.freeze()  # a collection in a child must not touch, and so copy, what it shares


def _ignore(signum: int, frame: object) -> None:
    """Do nothing. A handler, not SIG_IGN, because that would be inherited by what calls start."""


def _receive(sock: socket, size: int, descriptors: int) -> tuple[bytes, list[int]]:
    """Receive exactly `size` bytes with the descriptors that came along; less at the end."""
    try:
        data, ancillary, _, _ = sock.recvmsg(size, CMSG_SPACE(4 * descriptors), MSG_WAITALL)
    except ConnectionError:  # the other side closed it, and had not read everything
        return b"", []
    received: list[int] = []
    for level, kind, content in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            received += memoryview(content).cast("i").tolist()
    for descriptor in received:
        os.set_inheritable(descriptor, False)  # programs that calls start must not hold them open
    return data, received


def _receive_payload(sock: socket, size: int) -> bytearray:
    """Receive exactly `size` bytes; less at the end."""
    payload = bytearray()
    # Not one call: a signal, such as a child's end, cuts MSG_WAITALL short.
    while len(payload) < size:
        try:
            more = sock.recv(size - len(payload))
        except ConnectionError:
            break
        if not more:
            break
        payload += more
    return payload


def run_worker(payload: bytearray, descriptors: list[int]) -> None:
    """Take on the caller's surroundings and serve batches until told to stop."""
    signal(SIGINT, _ignore)
    signal(SIGTERM, _ignore)
    data_fd, control_fd, life_fd, marks_fd = descriptors
    _die_with(life_fd)
    surroundings: dict[str, Any] = unmarshal(payload)
    _take_on(surroundings)
    marks = memoryview(mmap.mmap(marks_fd, 0)).cast("Q")  # all of it
    os.close(marks_fd)
    data = socket(AF_UNIX, SOCK_STREAM, 0, data_fd)
    control = socket(AF_UNIX, SOCK_STREAM, 0, control_fd)
    work(data, control, marks, surroundings["threads"], os.getpid())
    import atexit

    atexit._run_exitfuncs()
    flush_streams()


def _die_with(life: int) -> None:
    """Ask the kernel for SIGKILL as soon as the other end of the pipe is closed.

    It arrives within milliseconds even inside C code that holds the GIL. Not PR_SET_PDEATHSIG,
    which fires when the *thread* that forked ends. Where the kernel cannot do it, the reporter
    thread notices the end of the control socket instead, as soon as it gets the GIL.
    """
    import fcntl

    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life, fcntl.F_SETSIG, SIGKILL)
        flags = fcntl.fcntl(life, fcntl.F_GETFL)
        fcntl.fcntl(life, fcntl.F_SETFL, flags | os.O_ASYNC)
        if select.select([life], [], [], 0)[0]:
            leave(0)  # closed before we asked


def _take_on(surroundings: dict[str, Any]) -> None:
    """Make this process look like the caller: folder, environment, paths, arguments, limits."""
    try:
        os.chdir(surroundings["cwd"])
    except OSError:
        pass  # the folder may be gone; the caller would not notice either
    environ = surroundings["environ"]
    for name in os.environb.keys() - environ.keys():
        del os.environb[name]
    for name, value in environ.items():
        if os.environb.get(name) != value:
            os.environb[name] = value
    sys.path[:] = surroundings["path"]
    sys.argv[:] = surroundings["argv"]
    sys.setrecursionlimit(surroundings["recursionlimit"])


def main(front_fd: int) -> None:
    """Run the server on the front door that the caller opened."""
    signal(SIGINT, _ignore)
    signal(SIGTERM, _ignore)
    # The caller's thread may have blocked it, and what is blocked stays so in its children.
    pthread_sigmask(SIG_UNBLOCK, [SIGCHLD])
    _preload([])
    front = socket(AF_UNIX, SOCK_STREAM, 0, front_fd)
    try:
        Server(front).serve()
    finally:
        front.close()
