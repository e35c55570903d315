"""This process is forked only if no other thread is in it; otherwise a server is executed."""

from __future__ import annotations

import itertools
import os
import select
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from poolwise.mechanisms import quiescence
from programs import NEEDS_NUMPY, run

#: Starts a thread of which Python knows nothing, as libraries do.
NATIVE = """
import ctypes
libc = ctypes.CDLL(None)
def native_thread():
    thread = ctypes.c_ulong()
    assert libc.pthread_create(ctypes.byref(thread), None, libc.pause, None) == 0
"""


def test_a_process_with_one_thread_is_quiescent(tmp_path: Path) -> None:
    program = """
from poolwise.mechanisms.quiescence import is_alone, is_quiescent, threads
assert is_quiescent(threads()) and is_alone()
same_as_a_loop(abs)
assert is_fork() and servers._executed is None
"""
    run(tmp_path, program)


def test_a_thread_that_holds_a_lock_forbids_a_fork(tmp_path: Path) -> None:
    # A worker that was forked now would wait for ever at the first thing that it logs.
    program = """
import logging, threading
held, done = threading.Event(), threading.Event()
logging.basicConfig(filename=os.devnull)
def hold():
    with LOCK, logging.root.handlers[0].lock:
        held.set()
        done.wait()
LOCK = threading.Lock()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
def call(x):
    logging.info("%s", x)
    return x
try:
    assert mapped(call) == [0, 1, 2, 3]
    assert not is_fork() and servers._executed is not None
finally:
    done.set()
    thread.join()
"""
    run(tmp_path, program)


def test_a_fork_that_was_made_in_time_serves_beside_threads(tmp_path: Path) -> None:
    # Not forked anew: its workers are children of a process that has one thread.
    program = """
import threading
lock, held, done = threading.Lock(), threading.Event(), threading.Event()
def hold():
    with lock:
        held.set()
        done.wait()
def call(x):
    with lock:
        return x, STEP
thread = threading.Thread(target=hold)
STEP = 1
assert mapped(call) == [(x, 1) for x in range(4)]
fork = servers._fork_of_this
thread.start()
held.wait()
try:
    STEP = 2
    assert mapped(call) == [(x, 2) for x in range(4)]
    assert servers._fork_of_this is fork and servers._executed is None
    def call(x): return -x  # so the fork will not do any more
    assert mapped(call) == [0, -1, -2, -3]
    assert servers._executed is not None
finally:
    done.set()
    thread.join()
"""
    run(tmp_path, program)


def test_a_map_in_another_thread_uses_a_fork_or_none(tmp_path: Path) -> None:
    program = """
import threading
def call(x): return x
failures = []
def in_thread(fork):
    try:
        same_as_a_loop(call)
        assert is_fork() == fork
    except BaseException as error:
        failures.append(error)
def there(fork):
    thread = threading.Thread(target=in_thread, args=[fork])
    thread.start()
    thread.join()
    assert not failures, failures
    while len(os.listdir("/proc/self/task")) > 1:
        os.sched_yield()  # it has been joined, and is on its way out
there(False)  # the main thread might be anywhere
same_as_a_loop(call)
there(True)
"""
    run(tmp_path, program)


def test_an_unknown_thread_forbids_a_fork(tmp_path: Path) -> None:
    program = (
        NATIVE
        + """
native_thread()
same_as_a_loop(abs)
assert not is_fork() and servers._executed is not None
servers.prepare([])
assert not is_fork()
os._exit(0)  # that thread ends with the process only
"""
    )
    run(tmp_path, program)


@NEEDS_NUMPY
def test_what_openblas_has_started_does_not_forbid_it(tmp_path: Path) -> None:
    program = """
import numpy
def call(x):
    matrix = numpy.full((200, 200), float(x))
    return float((matrix @ matrix).sum())
call(1)
assert len(os.listdir("/proc/self/task")) == 2, "OpenBLAS has no thread here"
same_as_a_loop(call)
assert is_fork()
same_as_a_loop(call)
"""
    run(tmp_path, program, OPENBLAS_NUM_THREADS="2")


@NEEDS_NUMPY
def test_an_unknown_thread_cannot_stand_in_for_one_of_openblas(tmp_path: Path) -> None:
    # OpenBLAS has ended its threads before the first fork, and starts others when it needs them.
    program = (
        NATIVE
        + """
import numpy
def call(x): return x
same_as_a_loop(call)
assert is_fork() and len(os.listdir("/proc/self/task")) == 1
native_thread()
def call(x): return -x
same_as_a_loop(call)
assert not is_fork() and servers._executed is not None
with open(f"/proc/self/task/{os.getpid()}/children") as file:
    children = file.read().split()
assert len(children) <= 2, "the fork that was not safe lives on"
sys.stdout.flush()
os._exit(0)
"""
    )
    run(tmp_path, program, OPENBLAS_NUM_THREADS="2")


@NEEDS_NUMPY
def test_many_starts_after_blas_was_used(tmp_path: Path) -> None:
    program = """
import numpy
def call(x):
    matrix = numpy.full((100, 100), float(x))
    return float((matrix @ matrix).sum())
for number in range(50):
    exec("def other(x): return call(x)")  # a new definition: a new fork, new workers
    same_as_a_loop(other)
    assert is_fork() and servers._executed is None
"""
    run(tmp_path, program, OPENBLAS_NUM_THREADS="2")


def test_a_thread_that_has_ended_does_not_count() -> None:
    # `join` returns before the system has let go of the thread.
    for _ in range(200):
        before = quiescence.threads()
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        deadline = select.poll()
        while quiescence.threads() > before:  # leaving user space takes it some microseconds
            deadline.poll(1)
    assert before >= 1


def test_who_waits_for_threads_to_go_finds_those_that_have_ended_gone() -> None:
    program = """
import threading
from poolwise.mechanisms import quiescence
for _ in range(200):
    threads = [threading.Thread(target=int) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert quiescence.threads_that_stay() == 1
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)


@NEEDS_NUMPY
def test_threads_of_this_package_are_waited_for_also_beside_those_of_openblas() -> None:
    program = """
import numpy, poolwise
from poolwise.mechanisms import quiescence
before = quiescence.threads()
for _ in range(100):
    assert list(poolwise.map(abs, range(8), plan="thread:8")) == list(range(8))
    assert quiescence.threads_that_stay() == before
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_pools_may_end_elsewhere_while_somebody_is_about_to_fork(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reading the state of a thread lets others run, which note theirs."""
    numbers = itertools.count(1 << 30)

    def look(thread: str) -> bool:
        note_one()
        return int(thread) != os.getpid()  # all others, if an earlier test has left one behind

    def note_one() -> None:
        quiescence.note_joined(SimpleNamespace(native_id=next(numbers)))  # type: ignore[arg-type]

    monkeypatch.setattr(quiescence, "_is_exiting", look)
    for _ in range(10):
        note_one()
    assert quiescence.threads_that_stay() >= 1
    for _ in range(10_000):  # a program that never forks does not grow by it
        note_one()
    assert len(quiescence._leaving) <= 256
    quiescence._leaving.clear()


def test_threads_that_stay_are_not_waited_for_twice() -> None:
    program = (
        NATIVE
        + """
import os, time
from poolwise.mechanisms import quiescence, servers
native_thread()
assert servers._forked_safely([], b"") is None
assert servers._stay == {2}
quiescence.threads_that_stay = servers.threads_that_stay = None
assert servers._forked_safely([], b"") is None
os._exit(0)
"""
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)


def test_threads_of_other_kinds_are_counted() -> None:
    program = (
        NATIVE
        + """
import os
from poolwise.mechanisms import quiescence
for count in range(1, 5):
    assert quiescence.threads() == count
    assert quiescence.is_quiescent(quiescence.threads()) == quiescence.is_alone() == (count == 1)
    native_thread()
os._exit(0)
"""
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)


def test_a_large_process_is_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not quiescence.is_large()
    monkeypatch.setattr(quiescence, "_LARGE", 1 << 20)
    assert quiescence.is_large()
