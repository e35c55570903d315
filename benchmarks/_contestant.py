"""One peer, one measure, in a process of its own, which writes the figures as a line of JSON.

So nothing that a library leaves behind (workers, threads, modules, memory) is measured with
another. Imports little: where a library imports the main module in its workers, that counts.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pickle import dumps, loads
from time import perf_counter
from typing import Any

from _calls import meet, same, settle, spin
from _peers import KINDS, Peer

Figures = dict[str, float]

#: Round trips are repeated until so many seconds are over.
_PATIENCE = 2.0


def timed(action: Callable[[], object]) -> float:
    """Return how long `action` takes, in seconds."""
    began = perf_counter()
    action()
    return perf_counter() - began


@contextmanager
def opened(name: str, workers: int) -> Iterator[Peer]:
    """Import a library, open its pool, and close it in the end."""
    for module in KINDS[name].modules:
        import_module(module)
    peer = KINDS[name].open(workers)
    try:
        yield peer
    finally:
        peer.close()


# ---- throughput ----------------------------------------------------------------------------------


def map_throughput(name: str, calls: int) -> Figures:
    """Map over a range after a tenth of it; a pool that a library keeps is warm by then."""
    with opened(name, 2) as peer:
        run = lambda count: sum(1 for _ in peer.map(same, range(count)))  # noqa: E731
        run(max(1, calls // 10))
        return {"calls a second": calls / timed(lambda: _must_be(run(calls), calls))}


def submit_throughput(name: str, calls: int) -> Figures:
    """Submit calls one by one and wait for them all, after a tenth of them."""
    with opened(name, 2) as peer:
        run = lambda count: sum(1 for _ in peer.start(same, range(count)))  # noqa: E731
        run(max(2, calls // 10))
        return {"calls a second": calls / timed(lambda: _must_be(run(calls), calls))}


def many_maps(name: str, maps: int) -> Figures:
    """Map 20 calls of a millisecond, again and again; what a map teaches stays in this process."""
    os.environ |= {"POOLWISE_WISDOM": "on", "POOLWISE_CACHE": os.devnull}
    with opened(name, 2) as peer:
        run = lambda: sum(1 for _ in peer.map(spin, [1e-3] * 20))  # noqa: E731
        for _ in range(3):
            run()
        return {"seconds a map": timed(lambda: [_must_be(run(), 20) for _ in range(maps)]) / maps}


# ---- one call at a time --------------------------------------------------------------------------


def round_trip(name: str, calls: int, pinned: bool) -> Figures:
    """Send a call and wait for it; one worker, which is warm."""
    if pinned:
        ours, theirs = sorted(os.sched_getaffinity(0))[:2]
        settle(ours)  # before the library has threads here, which inherit it
    with opened(name, 1) as peer:
        if pinned:
            peer.call(settle, theirs)
        return _percentiles(lambda: peer.call(same, 1), calls)


def bare_round_trip(name: str, calls: int, pinned: bool) -> Figures:
    """Send a byte to a forked process and wait for it; no library at all."""
    if pinned:
        ours, theirs = sorted(os.sched_getaffinity(0))[:2]
        settle(ours)
    here, there = _BARE[name]()
    child = os.fork()
    if not child:
        if pinned:
            settle(theirs)
        try:
            while there[0]():
                there[1]()
        finally:
            os._exit(0)

    def call() -> None:
        here[1]()
        here[0]()

    try:
        return _percentiles(call, calls)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


Ends = tuple[Callable[[], object], Callable[[], object]]


def _pipes() -> tuple[Ends, Ends]:
    (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
    ends = lambda come, go: (lambda: os.read(come, 1), lambda: os.write(go, b"\0"))  # noqa: E731
    return ends(our_in, our_out), ends(their_in, their_out)


def _sockets() -> tuple[Ends, Ends]:
    ends = lambda end: (lambda: end.recv(1), lambda: end.send(b"\0"))  # noqa: E731
    ours, theirs = socket.socketpair()
    return ends(ours), ends(theirs)


def _connections() -> tuple[Ends, Ends]:
    import multiprocessing

    ends = lambda end: (lambda: (end.recv(),), lambda: end.send(1))  # noqa: E731
    ours, theirs = multiprocessing.Pipe()
    return ends(ours), ends(theirs)


def bare_executor(name: str, calls: int, pinned: bool) -> Figures:
    """Submit to the least that an executor with a thread of its own can be: what this machine and
    this Python take for the two processes, the two threads and the future.
    """
    import queue
    import select
    import threading
    from concurrent.futures import Future

    if pinned:
        ours, theirs = sorted(os.sched_getaffinity(0))[:2]
        settle(ours)
    here, there = socket.socketpair()
    child = os.fork()
    if not child:
        here.close()
        if pinned:
            settle(theirs)
        try:
            while message := there.recv(1 << 16):
                function, arguments = loads(message)
                there.send(dumps(function(*arguments)))
        finally:
            os._exit(0)
    there.close()
    submitted: queue.SimpleQueue[tuple[Future[Any], bytes]] = queue.SimpleQueue()
    bell, ring = os.pipe()

    def serve() -> None:
        poll = select.poll()
        for descriptor in (bell, here.fileno()):
            poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == bell:
                    if not os.read(bell, 1):
                        return
                    future, message = submitted.get()
                    here.send(message)
                else:
                    future.set_result(loads(here.recv(1 << 16)))

    def call() -> None:
        future: Future[Any] = Future()
        submitted.put((future, dumps((same, (1,)))))
        os.write(ring, b"\0")
        future.result()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        return _percentiles(call, calls)
    finally:
        os.close(ring)
        thread.join()
        here.close()
        os.close(bell)
        os.waitpid(child, 0)


_BARE = {"bare pipe": _pipes, "bare socket pair": _sockets, "multiprocessing.Pipe": _connections}


def _percentiles(call: Callable[[], object], calls: int) -> Figures:
    for _ in range(min(calls, 100)):
        call()
    took: list[float] = []
    until = perf_counter() + _PATIENCE
    while len(took) < calls and perf_counter() < until:
        took.append(timed(call))
    took.sort()
    return {"p50": took[len(took) // 2], "p90": took[len(took) * 9 // 10], "calls": len(took)}


# ---- the start, and what workers occupy ----------------------------------------------------------


def cold(name: str, workers: int) -> Figures:
    """Import, open, and have one call come back, where nothing has happened before."""
    imports = timed(lambda: [import_module(module) for module in KINDS[name].modules])
    began = perf_counter()
    with opened(name, workers) as peer:
        peer.call(same, 1)
        return {"import": imports, "first result": perf_counter() - began}


def cold_map(name: str, workers: int) -> Figures:
    """The same of a map, whose workers are forks of this process: nothing else runs in it yet."""
    from poolwise import map, shutdown

    imports = timed(lambda: [import_module(module) for module in KINDS[name].modules])
    began = perf_counter()
    results = map(same, range(1_000), plan=f"process:{workers}")
    next(results)
    took = perf_counter() - began
    results.close()
    shutdown()
    return {"import": imports, "first result": took}


def bare_cold(name: str, workers: int) -> Figures:
    """The least that workers can be whose parent is another process: a fork of this one forks them;
    each loads a call, makes it and answers. What this machine and this Python take for that.
    """
    began = perf_counter()
    with _forks_of_a_fork(workers) as ends:
        for end in ends:
            end.send(_CALL)
        ends[0].recv(1 << 16)
        first = perf_counter() - began
        for end in ends[1:]:
            end.recv(1 << 16)
        took = {"first result": first, "all answered": perf_counter() - began}
        return {"import": 0.0} | took


def memory_of_map(name: str) -> Figures:
    """Private bytes of the idle workers of a map, forks of this process, and of their parent."""
    from poolwise import map, shutdown

    list(map(spin, [0.005] * 8, plan="process:2"))
    figures = _memory_of_forks()
    shutdown()
    return figures


def bare_memory(name: str) -> Figures:
    """Private bytes of such a worker, and of its parent."""
    with _forks_of_a_fork(2) as ends:
        for end in ends:
            end.send(_CALL)
            end.recv(1 << 16)
        return _memory_of_forks()


def _memory_of_forks() -> Figures:
    descendants = _descendants(os.getpid())
    (parent,) = (each for each in descendants if _descendants(each))
    each = [_private(worker) for worker in descendants - {parent}]
    return {"a worker": sum(each) / len(each), "others": _private(parent)}


_CALL = dumps((same, (1,)))


@contextmanager
def _forks_of_a_fork(workers: int) -> Iterator[list[socket.socket]]:
    """Our ends of the sockets to so many; they end when these are closed."""
    pairs = [socket.socketpair() for _ in range(workers)]
    server = os.fork()
    if not server:
        try:
            for end, _ in pairs:
                end.close()
            children = [_bare_worker(place, pairs) for place in range(workers)]
            for _, end in pairs:
                end.close()
            for child in children:
                os.waitpid(child, 0)
        finally:
            os._exit(0)
    for _, end in pairs:
        end.close()
    ends = [end for end, _ in pairs]
    try:
        yield ends
    finally:
        for end in ends:
            end.close()
        os.waitpid(server, 0)


def _bare_worker(place: int, pairs: list[tuple[socket.socket, socket.socket]]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        for other, (_, end) in enumerate(pairs):
            if other != place:
                end.close()
        end = pairs[place][1]
        while message := end.recv(1 << 16):
            function, arguments = loads(message)
            end.send(dumps(function(*arguments)))
    finally:
        os._exit(0)


def all_answered(name: str, workers: int, beside: list[str]) -> Figures:
    """Open, and have each worker begin a call, where nothing has happened before but that the
    caller has imported the modules `beside`.
    """
    for module in [*KINDS[name].modules, *beside]:
        import_module(module)
    began = perf_counter()
    with opened(name, workers) as peer:
        took, _ = _gather(peer, workers)
        return {"all answered": took - began}


def memory(name: str) -> Figures:
    """Return the private bytes of each worker after a call, and of other processes started."""
    with opened(name, 2) as peer:
        _, workers = _gather(peer, 2)
        helpers = _descendants(os.getpid()) - workers
        each = [_private(worker) for worker in workers]
        return {"a worker": sum(each) / len(each), "others": sum(map(_private, helpers))}


def _gather(peer: Peer, workers: int) -> tuple[float, set[int]]:
    """Have each worker begin a call that waits for the others; when all had, and who they are."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as door:
        door.bind(f"{folder}/door")
        door.listen(workers)
        results = peer.start(meet, [f"{folder}/door"] * workers)
        lines = [door.accept()[0] for _ in range(workers)]
        when = perf_counter()
        for line in lines:
            line.close()
        processes = set(results)
        _must_be(len(processes), workers)
        return when, processes


def _descendants(process: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                parents[int(entry)] = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended meanwhile
    found, new = set[int](), {process}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def _private(process: int) -> int:
    """Return the bytes that would be free if only this process ended."""
    try:
        with open(f"/proc/{process}/smaps_rollup") as rollup:
            return sum(1024 * int(line.split()[1]) for line in rollup if line.startswith("Private"))
    except OSError:
        return 0


# ---- inputs without end --------------------------------------------------------------------------


def generated(name: str, calls: int) -> Figures:
    """Map over a generator, after a small map; what the peak of the caller's memory grew by."""
    with opened(name, 2) as peer:
        sum(peer.map(same, (each for each in range(1_000))))
        before, began = _peak(), perf_counter()
        expected = 0
        for value in peer.map(same, (each for each in range(calls))):
            if value != expected:
                raise AssertionError(f"result {expected} is {value}")
            expected += 1
        _must_be(expected, calls)
        return {"growth": _peak() - before, "calls a second": calls / (perf_counter() - began)}


def _peak() -> int:
    """Return the greatest resident size so far, in bytes.

    Not `ru_maxrss`: that is inherited from whoever started this process.
    """
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def _must_be(count: int, expected: int) -> None:
    if count != expected:
        raise AssertionError(f"{count} instead of {expected}")


MEASURES: dict[str, Callable[..., Figures]] = {
    each.__name__: each
    for each in (
        map_throughput, submit_throughput, many_maps, round_trip, bare_round_trip, cold,
        all_answered, memory, generated, bare_executor, cold_map, bare_cold, bare_memory,
        memory_of_map,
    )
}  # fmt: skip


def main() -> None:
    """Measure what the command line says, as JSON: a measure and its arguments."""
    import json

    measure, arguments = json.loads(sys.argv[1])
    os.environ.pop("POOLWISE_PLAN", None)
    figures: dict[str, Any] = MEASURES[measure](**arguments)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
