"""What peers and worker threads run in the tests of channels; importable, so it pickles by name."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from _poolwise_worker import descriptors
from _poolwise_worker.channels import ring
from _poolwise_worker.channels.memory import Memory
from poolwise import Event, Lock, OwnerDied


def hold(lock: Any, held: Event) -> None:
    """Acquire, say so, and wait for the end that somebody else prepares."""
    lock.acquire()
    held.set()
    signal.pause()


def hold_within(lock: Any, held: Event) -> None:
    with lock:
        held.set()
        signal.pause()


def acquire(lock: Any, timeout: float | None = None) -> str:
    """Acquire and release; return how it went."""
    try:
        if not lock.acquire(timeout=timeout):
            return "timed out"
    except OwnerDied:
        return "owner died"
    lock.release()
    return "acquired"


def say_then_acquire(lock: Any, asking: Event) -> str:
    asking.set()
    return acquire(lock)


def increment(lock: Any, counter: Any, times: int, threads: int = 1) -> None:
    """Increment a shared counter the way that loses counts where two do it at once."""

    def run() -> None:
        for _ in range(times):
            with lock:
                value = counter[0]
                if value % 64 == 0:
                    time.sleep(0)
                counter[0] = value + 1

    in_threads(run, threads)


def in_threads(target: Any, count: int) -> None:
    threads = [threading.Thread(target=target) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def storm(lock: Any, inside: Any) -> None:
    """Acquire and release for ever, to be killed at any moment; note it if two were inside."""
    me = os.getpid()
    while True:
        try:
            with lock:
                inside[0] = me
                for _ in range(3):
                    if inside[0] != me:  # the dead write nothing
                        inside[1] = 1
        except OwnerDied:
            continue


def is_locked(lock: Lock) -> bool:
    return lock.locked()


def pid_of(*_: object) -> int:
    return os.getpid()


class Shared:
    """The first words of a memory, for tests to write in at will."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    @classmethod
    def create(cls) -> Shared:
        return cls(Memory.of_size(4096))

    def __reduce__(self) -> tuple[Any, ...]:
        return _shared, (descriptors.carry(self.memory.descriptor),)

    def __getitem__(self, place: Any) -> Any:
        words = self.memory.words[:8]
        return words.tolist()[place] if isinstance(place, slice) else words[place]

    def __setitem__(self, place: int, value: int) -> None:
        self.memory.words[:8][place] = value


def _shared(token: Any) -> Shared:
    return Shared(Memory(descriptors.claim(token)))


def report(connection: Any, every: list[Any]) -> None:
    """Say what came with the start, then send back what comes."""
    connection.send([type(each).__name__ for each in every])
    while (came := connection.recv()) is not None:
        connection.send(came)


def open_descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def crowd(semaphore: Any, inside: Shared, place: int, times: int) -> int:
    """Go in and out with two threads; return the most that were seen inside."""
    most = 0
    mine = threading.Lock()

    def run() -> None:
        nonlocal most
        for _ in range(times):
            with semaphore:
                with mine:
                    inside[place] += 1
                most = max(most, sum(inside[:]))
                with mine:
                    inside[place] -= 1

    in_threads(run, 2)
    return most


def ball(there: Any, back: Any, times: int) -> None:
    for _ in range(times):
        there.acquire()
        back.release()


def use_for_ever(semaphore: Any) -> None:
    while True:
        try:
            with semaphore:
                pass
        except OwnerDied:
            continue


def take_turns(ping: Any, pong: Any, times: int) -> None:
    for _ in range(times):
        ping.wait()
        ping.clear()
        pong.set()


def say_then_wait(event: Any, asking: Event) -> bool:
    asking.set()
    return event.wait(30)


def flap(event: Any) -> None:
    while True:
        event.set()
        event.clear()


def wait_on(condition: Any, asking: Event) -> bool:
    with condition:
        asking.set()
        return condition.wait(30)


def fill(condition: Any, buffer: Shared, times: int) -> None:
    for _ in range(times):
        with condition:
            assert condition.wait_for(lambda: buffer[0] < 3, 30)
            buffer[0] += 1
            condition.notify_all()


def drain(condition: Any, buffer: Shared, times: int) -> None:
    for _ in range(times):
        with condition:
            assert condition.wait_for(lambda: buffer[0] > 0, 30)
            assert buffer[0] <= 3
            buffer[0] -= 1
            condition.notify_all()


def march(barrier: Any, steps: Shared, place: int, parties: int, times: int) -> list[int]:
    places = []
    for step in range(1, times + 1):
        steps[place] = step
        places.append(barrier.wait(30))
        # All have made this step, and nobody can be two ahead.
        assert all(step <= other <= step + 1 for other in steps[:parties])
    return places


def pass_by(barrier: Any, timeout: float | None) -> str:
    try:
        barrier.wait(timeout)
    except threading.BrokenBarrierError:
        return "broken"
    return "passed"


def why_broken(barrier: Any) -> str:
    try:
        barrier.wait(30)
    except threading.BrokenBarrierError as error:
        return str(error)
    return "not"


def consume(queue: Any) -> list[Any]:
    return list(queue)


def get(queue: Any) -> Any:
    return queue.get(timeout=30)


def get_and_call(queue: Any, argument: object) -> object:
    return queue.get(timeout=30)(argument)


def get_and_pause(queue: Any, held: Event) -> None:
    got = queue.get(timeout=30)
    held.set()
    signal.pause()
    del got


def echo(there: Any, back: Any) -> None:
    for each in there:
        back.put(each)


class Holding:
    """Has a lock, which does not pickle."""

    def __init__(self) -> None:
        self.held = threading.Lock()


class KillsWhoReadsIt:
    def __reduce__(self) -> tuple[Any, ...]:
        return _kill_oneself, ()


class CannotBeRead:
    def __reduce__(self) -> tuple[Any, ...]:
        return _fail, ()


def _fail() -> None:
    raise LookupError("not here")


def _kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def produce_in_some_way(queue: Any, number: int, times: int) -> None:
    """Put so many messages, one by one and several together."""
    index = 0
    while index < times:
        if index % 7:
            queue.put((number, index))
            index += 1
        else:
            some = range(index, min(times, index + 5))
            queue.put_many((number, each) for each in some)
            index += len(some)


def consume_in_some_way(queue: Any) -> list[Any]:
    got: list[Any] = []
    try:
        while True:
            if len(got) % 5:
                got.append(queue.get())
            else:
                got += queue.get_many(9)
    except EOFError:
        return got


def produce_many(queue: Any, number: int, times: int) -> None:
    queue.put_many(range(number * times, (number + 1) * times))


def count_many(queue: Any, producers: int) -> tuple[bool, int, int]:
    """Return whether all came in order, how many, and the sum of their squares."""
    last = [-1] * producers
    in_order, count, squares = True, 0, 0
    try:
        while True:
            for index in queue.get_many(500):
                in_order = in_order and index > last[index // 250_000]
                last[index // 250_000] = index
                count += 1
                squares += index * index
    except EOFError:
        return in_order, count, squares


def most_seen(queue: Any, times: int) -> int:
    return max(queue.qsize() for _ in range(times))


def produce_for_ever(queue: Any, number: int, notes: Shared) -> None:
    index = 0
    while True:
        queue.put((number, index))
        index += 1
        notes[0] = index


def produce_many_for_ever(queue: Any, number: int, notes: Shared) -> None:
    while True:
        queue.put_many(range(20))


def sum_for_ever(queue: Any, number: int, notes: Shared) -> None:
    while True:
        queue.get()
        notes[0] += 1


def sum_many_for_ever(queue: Any, number: int, notes: Shared) -> None:
    while True:
        queue.get_many(13)


def answer(end: Any) -> int:
    count = 0
    for each in end:
        end.send((each,))
        count += 1
    return count


def receive_and_use(end: Any) -> None:
    came = end.recv(timeout=30)
    with came["lock"]:
        came["event"].set()
        assert came["end"].recv(timeout=30) == "go on"
        came["end"].send(came["queue"].get(timeout=30) + " and back")


def send_and_pause(end: Any, message: object) -> None:
    end.send(message)
    signal.pause()


def send_numbers(end: Any, number: int, times: int) -> None:
    for index in range(times):
        end.send((number, index))


def value_of(handle: Any) -> Any:
    return handle.value


def bytes_of(handle: Any) -> bytes:
    return bytes(handle.value)


def add_in_place(handle: Any, times: int) -> None:
    counts = handle.value["counts"]
    for _ in range(times):
        with handle.lock:
            for place in range(3):
                counts[place] += 1


# ---- deaths at one certain moment, inside the guards of a queue ----


def die_before_taking(queue: Any) -> None:
    """Note a message in hand, as `get` does, and die before it is taken."""
    with queue._ring._get_guard:
        queue._ring._take_in_hand(queue._ring._words[ring._TAKEN], 1)
        os.kill(os.getpid(), signal.SIGKILL)


def die_after_taking(queue: Any) -> None:
    """Take a message, and die before it is handed out."""
    queue._ring.take(1, None)
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_putting(queue: Any) -> None:
    """Write a message, as `put` does, and die before it counts."""
    line = queue._ring
    with line._put_guard:
        assert line._room()
        tail = line._words[ring._TAIL]
        line._write(b"half", 0, 1)
        line._words[ring._TAIL] = tail
        os.kill(os.getpid(), signal.SIGKILL)


def die_before_growing(queue: Any) -> None:
    """Copy everything, as growing does, and die before the new capacity counts."""
    line = queue._ring
    with line._put_guard, line._get_guard:
        assert line._room()
        shape = line._words[ring._SHAPE]
        line._grow_alone(line._mask + 2)
        line._words[ring._SHAPE] = shape
        os.kill(os.getpid(), signal.SIGKILL)
