"""The shortest program that carries one message, for each channel.

All of them start one thread or process and wait for its end, as the article's programs do; what
differs is what the channel asks for. The tests run them.
"""

from __future__ import annotations

from collections.abc import Mapping

_VARIABLE = """
from threading import Thread

box = []
thread = Thread(target=box.append, args=("hello",))
thread.start()
thread.join()
print(box[0])
"""

_SIMPLE_QUEUE = """
from queue import SimpleQueue
from threading import Thread

queue = SimpleQueue()
thread = Thread(target=queue.put, args=("hello",))
thread.start()
print(queue.get())
thread.join()
"""

_MP_PIPE = """
from multiprocessing import Pipe, Process

if __name__ == "__main__":
    ours, theirs = Pipe()
    process = Process(target=theirs.send, args=("hello",))
    process.start()
    print(ours.recv())
    process.join()
"""

_MP_QUEUE = """
from multiprocessing import Process, Queue

if __name__ == "__main__":
    queue = Queue()
    process = Process(target=queue.put, args=("hello",))
    process.start()
    print(queue.get())
    process.join()
"""

_SHARED_MEMORY = """
from multiprocessing import Array, Process

if __name__ == "__main__":
    memory = Array("c", 5)
    process = Process(target=setattr, args=(memory, "value", b"hello"))
    process.start()
    process.join()
    print(memory.value.decode())
"""

_SOCKET = """
from multiprocessing import Process
from socket import socketpair

if __name__ == "__main__":
    ours, theirs = socketpair()
    with ours, theirs:
        process = Process(target=theirs.send, args=(b"hello",))
        process.start()
        print(ours.recv(5).decode())
        process.join()
"""

_SIGNAL = """
import os
from multiprocessing import Process
from signal import SIG_BLOCK, SIGUSR1, pthread_sigmask, sigwait

if __name__ == "__main__":
    pthread_sigmask(SIG_BLOCK, [SIGUSR1])
    process = Process(target=os.kill, args=(os.getpid(), SIGUSR1))
    process.start()
    print(sigwait([SIGUSR1]).name)
    process.join()
"""

_QUEUE = """
from poolwise import Queue, Worker

queue = Queue()
worker = Worker(queue.put, ["hello"], mechanism="process")
worker.start()
print(queue.get())
worker.join()
"""

_PIPE = """
from poolwise import Pipe, Worker

ours, theirs = Pipe()
worker = Worker(theirs.send, ["hello"], mechanism="process")
worker.start()
print(ours.recv())
worker.join()
"""

#: By channel.
PROGRAMS: Mapping[str, str] = {
    "variable": _VARIABLE,
    "SimpleQueue": _SIMPLE_QUEUE,
    "mp.Pipe": _MP_PIPE,
    "mp.Queue": _MP_QUEUE,
    "shared memory": _SHARED_MEMORY,
    "socket": _SOCKET,
    "signal": _SIGNAL,
    "Queue": _QUEUE,
    "Pipe": _PIPE,
}


def lines(program: str) -> int:
    """Return how many lines a program has that are not blank."""
    return sum(bool(line.strip()) for line in program.splitlines())
