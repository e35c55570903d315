"""What a worker does and sees when isolation is measured: functions that run inside of it.

Imports little, because another interpreter imports it anew.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress

#: What one writes and others look at.
board = 0


def write(value: int) -> None:
    """Write to a global."""
    global board
    board = value


def read(_: object = None) -> int:
    """Read the global."""
    return board


def identity(_: object = None) -> tuple[int, int]:
    """Return what no two interpreters that live at the same time have in common."""
    return os.getpid(), id(sys.modules)


def code_address(_: object = None) -> tuple[int, int]:
    """Return where the code of a function lies: in which process, at which address."""
    return os.getpid(), id(write.__code__)


def task_id(_: object = None) -> int:
    """Return the number under which the kernel schedules who calls this."""
    return threading.get_native_id()


def stack(_: object = None) -> tuple[int, int]:
    """Return where the stack of the calling thread lies: in which process, at which address.

    Raises:
        OSError: the system does not say.
    """
    import ctypes

    libc = ctypes.CDLL(None)
    attributes = ctypes.create_string_buffer(256)
    address, size = ctypes.c_void_p(), ctypes.c_size_t()
    libc.pthread_self.restype = ctypes.c_void_p
    thread = ctypes.c_void_p(libc.pthread_self())
    try:
        failed = libc.pthread_getattr_np(thread, attributes)
        libc.pthread_attr_getstack(attributes, ctypes.byref(address), ctypes.byref(size))
        libc.pthread_attr_destroy(attributes)
    except AttributeError:  # this system has another name for it
        raise OSError("the C library does not say where a thread's stack lies") from None
    if failed or address.value is None:
        raise OSError(f"pthread_getattr_np failed with {failed}")
    return os.getpid(), address.value


def close_descriptor(descriptor: int) -> None:
    """Close it here, whether it was inherited or not."""
    with suppress(OSError):
        os.close(descriptor)


def change_directory(path: str) -> None:
    """Work in another folder."""
    os.chdir(path)


def change_environment(name: str) -> None:
    """Set a variable."""
    os.environ[name] = "1"


def has_variable(name: str) -> bool:
    """Whether the process's environment has it: what the C library and new programs see."""
    import ctypes

    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    return getenv(name.encode()) is not None


def lower_limit(_: object = None) -> None:
    """Allow one open file less."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 1 << 20 if soft == resource.RLIM_INFINITY else soft - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def ticks(seconds: float) -> list[float]:
    """Return the times at which this thread had its turn, about each half millisecond."""
    until = time.perf_counter() + seconds
    times: list[float] = []
    while not times or times[-1] < until:
        time.sleep(5e-4)
        times.append(time.perf_counter())
    return times


def cpu_numbers(until: float) -> list[tuple[float, int]]:
    """Compute without the GIL until then; return when this thread was on which CPU.

    Raises:
        OSError: the system does not say.
    """
    import ctypes
    import zlib

    try:
        where = ctypes.CDLL(None).sched_getcpu
    except AttributeError:
        raise OSError("the C library does not say on which CPU a thread runs") from None
    data = bytes(1 << 18)
    seen = []
    while (now := time.perf_counter()) < until:
        seen.append((now, where()))
        zlib.crc32(data)
    return seen


def crash(_: object = None) -> None:
    """Read from address 0, which the kernel answers with SIGSEGV."""
    import ctypes
    import resource

    # Neither a dump of memory nor a traceback is of use to anyone.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler = sys.modules.get("faulthandler")
    if faulthandler is not None:
        faulthandler.disable()
    ctypes.string_at(0)
