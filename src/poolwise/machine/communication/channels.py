"""The ways in which a message can go, each as two ends that send and receive bytes.

A process gets its end by being a fork: so channels of `multiprocessing` go the way they are made
for, and no end needs to be pickled. None of them imports what it needs before it is opened, so that
what this Python lacks is a gap of one channel.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from poolwise.machine.deadline import PATIENCE, deadline
from poolwise.units import Bytes


class End(Protocol):
    """One side of a conversation."""

    def send(self, message: bytes | bytearray) -> None:
        """Send a message to the other side."""
        ...

    def receive(self) -> bytes | bytearray:
        """Wait for the next message of the other side."""
        ...

    def close(self) -> None:
        """Let go of what the system gave for it; it is not used any more."""
        ...


class Ends(NamedTuple):
    """Both sides; `there` is for the partner, and `meet` is told its process id if there is one."""

    here: End
    there: End
    meet: Callable[[int], None] = lambda pid: None


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to talk to a partner, which is a thread or a process.

    `open` takes the size of the largest message. `one_ways` is how many of the thing it makes: two
    where it goes one way only. `small` says that no message has more than one byte.
    """

    name: str
    partner: Literal["thread", "process"]
    open: Callable[[Bytes], Ends]
    one_ways: int = 1
    small: bool = False


class _Through:
    """Sends and receives by methods of what is there already."""

    def __init__(
        self,
        send: Callable[[Any], object],
        receive: Callable[[], Any],
        *close: Callable[[], object],
    ) -> None:
        # Attributes, not methods: a frame more for each message would be measured too.
        self.send: Callable[[Any], Any] = send
        self.receive: Callable[[], Any] = receive
        self._close = close

    def close(self) -> None:
        for each in self._close:
            each()


class _Place:
    """One message at a time, which is taken before the next is put: what memory needs besides.

    `free` and `full` are semaphores, of which the second is taken first by who receives.
    """

    def __init__(self, free: Any, full: Any) -> None:
        self.free, self.full = free, full


class _Variable(_Place):
    def __init__(self) -> None:
        import threading

        super().__init__(threading.Lock(), threading.Lock())  # let go by the other: that is allowed
        self.full.acquire()
        self.value: bytes = b""

    def put(self, message: bytes) -> None:
        self.free.acquire()
        self.value = message
        self.full.release()

    def take(self) -> bytes:
        self.full.acquire()
        message = self.value
        self.free.release()
        return message


class _SharedMemory(_Place):
    """Anonymous, so that it needs no ``/dev/shm``; the semaphores do."""

    _SIZE = struct.Struct("<Q")

    def __init__(self, largest: Bytes) -> None:
        fork = _fork_context()
        super().__init__(fork.Semaphore(1), fork.Semaphore(0))
        self.room = mmap.mmap(-1, self._SIZE.size + largest)

    def put(self, message: bytes) -> None:
        self.free.acquire()
        begin = self._SIZE.size
        self._SIZE.pack_into(self.room, 0, len(message))
        self.room[begin : begin + len(message)] = message
        self.full.release()

    def take(self) -> bytes:
        self.full.acquire()
        begin = self._SIZE.size
        (size,) = self._SIZE.unpack_from(self.room)
        message = self.room[begin : begin + size]
        self.free.release()
        return message


class _Socket:
    """A stream: each message has its size before it."""

    _SIZE = struct.Struct("<Q")

    def __init__(self, sock: Any) -> None:
        from socket import MSG_WAITALL

        self._socket, self._whole = sock, MSG_WAITALL
        self.close = sock.close

    def send(self, message: bytes | bytearray) -> None:
        self._socket.sendall(self._SIZE.pack(len(message)))
        self._socket.sendall(message)

    def receive(self) -> bytearray:
        header = self._socket.recv(self._SIZE.size, self._whole)
        if not header:
            raise EOFError("the other side is gone")
        message = bytearray(self._SIZE.unpack(header)[0])
        room = memoryview(message)
        while room:
            room = room[self._socket.recv_into(room) :]
        return message


class _Signals:
    """A signal says that it came, and which it is: here whether the byte is zero.

    It is waited for, not handled: a handler of Python's runs when the main thread gets to it.
    """

    NUMBERS = (signal.SIGUSR1, signal.SIGUSR2)

    def __init__(self, other: int, *close: Callable[[], object]) -> None:
        self.other = other
        self._close = close

    def send(self, message: bytes | bytearray) -> None:
        os.kill(self.other, self.NUMBERS[message != b"\0"])

    def receive(self) -> bytes:
        # Not `sigwait`, which no other signal interrupts.
        came = signal.sigtimedwait(self.NUMBERS, PATIENCE)
        if came is None:
            raise TimeoutError(f"no signal came for {PATIENCE} s")
        return bytes([came.si_signo == self.NUMBERS[1]])

    def close(self) -> None:
        for each in self._close:
            each()


def _fork_context() -> Any:
    import multiprocessing

    return multiprocessing.get_context("fork")


def _variables(largest: Bytes) -> Ends:
    to, fro = _Variable(), _Variable()
    return Ends(_Through(to.put, fro.take), _Through(fro.put, to.take))


def _simple_queues(largest: Bytes) -> Ends:
    from queue import SimpleQueue

    to: SimpleQueue[Any] = SimpleQueue()
    fro: SimpleQueue[Any] = SimpleQueue()
    return Ends(_Through(to.put, fro.get), _Through(fro.put, to.get))


def _mp_pipe(largest: Bytes) -> Ends:
    return _connected(*_fork_context().Pipe())


def _mp_queues(largest: Bytes) -> Ends:
    fork = _fork_context()
    to, fro = fork.Queue(), fork.Queue()

    def close() -> None:
        """End the thread that sends. It may wait for a partner that is gone."""
        to.close()
        fro.close()
        try:
            with deadline(1.0):
                to.join_thread()
        except TimeoutError:
            to.cancel_join_thread()

    return Ends(_Through(to.put, fro.get, close), _Through(fro.put, to.get))


def _shared_memory(largest: Bytes) -> Ends:
    to, fro = _SharedMemory(largest), _SharedMemory(largest)
    return Ends(
        _Through(to.put, fro.take, to.room.close, fro.room.close), _Through(fro.put, to.take)
    )


def _sockets(largest: Bytes) -> Ends:
    import socket

    here, there = socket.socketpair()
    return Ends(_Socket(here), _Socket(there))


def _signals(largest: Bytes) -> Ends:
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, _Signals.NUMBERS)
    here = _Signals(0, lambda: signal.pthread_sigmask(signal.SIG_SETMASK, usual))
    return Ends(here, _Signals(os.getpid()), lambda pid: setattr(here, "other", pid))


def _queues(largest: Bytes) -> Ends:
    from poolwise.ipc import Queue

    to, fro = Queue(), Queue()
    return Ends(_Through(to.put, fro.get, to.close, fro.close), _Through(fro.put, to.get))


def _pipe(largest: Bytes) -> Ends:
    from poolwise.ipc import Pipe

    return _connected(*Pipe())


def _connected(here: Any, there: Any) -> Ends:
    return Ends(
        _Through(here.send, here.recv, here.close), _Through(there.send, there.recv, there.close)
    )


CHANNELS = (
    Channel("variable", "thread", _variables, one_ways=2),
    Channel("SimpleQueue", "thread", _simple_queues, one_ways=2),
    Channel("mp.Pipe", "process", _mp_pipe),
    Channel("mp.Queue", "process", _mp_queues, one_ways=2),
    Channel("shared memory", "process", _shared_memory, one_ways=2),
    Channel("socket", "process", _sockets),
    Channel("signal", "process", _signals, small=True),
    Channel("Queue", "process", _queues, one_ways=2),
    Channel("Pipe", "process", _pipe),
)
