"""Libraries with threads of their own keep to one in a fork."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numpy")

#: What each program begins with: a process that has used OpenBLAS, and what runs in a fork of it.
BEGIN = """
import ctypes, os, sys, numpy
from threadpoolctl import threadpool_info
from _poolwise_worker import inner_threads

square = numpy.ones((300, 300))
square @ square

def numbers():
    return {each["num_threads"] for each in threadpool_info()}

def running():
    return len(os.listdir("/proc/self/task"))

def in_fork(check):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            check()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0

usual = numbers()
"""


def run(program: str) -> None:
    subprocess.run([sys.executable, "-c", BEGIN + program], check=True, timeout=60)


needs_proc = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc")


@needs_proc
def test_a_fork_uses_one_thread_and_starts_none() -> None:
    run("""
def check():
    inner_threads.begin_as_fork()
    assert numbers() == {1}
    square @ square
    (library,) = inner_threads._of_openblas(inner_threads._mapped())
    exported = hasattr(ctypes.CDLL(library), "blas_cpu_number")
    assert running() <= (1 if exported else max(usual))

in_fork(check)
assert numbers() == usual
""")


def test_a_fork_may_use_all_again() -> None:
    run("""
def check():
    inner_threads.begin_as_fork()
    inner_threads.limit(0)
    assert numbers() == usual, numbers()
    inner_threads.limit(1)
    assert numbers() == {1}
    inner_threads.limit(2)
    assert numbers() == {2}
    inner_threads.limit(0)
    assert numbers() == usual, numbers()
    square @ square

in_fork(check)
""")


def test_a_fork_of_a_limited_fork_keeps_its_limit() -> None:
    run("""
def further():
    inner_threads.begin_as_fork()
    inner_threads.limit(0)
    assert numbers() == {1}, numbers()

def check():
    inner_threads.begin_as_fork()
    in_fork(further)

in_fork(check)
""")


@pytest.mark.parametrize(
    "other",
    [
        "inner_threads._mapped = lambda: {*mapped(), '/usr/lib/libgomp.so.1'}",
        "inner_threads._mapped = lambda: set()",
        "inner_threads._mapped = lambda: open('/not/there')",
        "inner_threads._GET = ('no_get',)",
        "inner_threads._get_and_set = lambda path: (lambda: 2, lambda most: None)",
    ],
    ids=["others too", "none", "not told", "cannot be asked", "something else"],
)
def test_else_they_are_told_as_ever(other: str) -> None:
    run(f"""
mapped = inner_threads._mapped
{other}

def check():
    assert not inner_threads._tell_openblas()
    assert numbers() == usual
    inner_threads.begin_as_fork()
    assert numbers() == {{1}}
    inner_threads.limit(0)
    assert numbers() == usual

in_fork(check)
""")
