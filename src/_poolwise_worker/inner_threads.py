"""Limiting libraries that compute in threads of their own, such as BLAS, to a part of the machine.

`threadpoolctl` does that. A fork of the caller does not wait for it where OpenBLAS is all there is:
to import it there and have it find the libraries takes 7 ms (and some 10 if pandas is loaded), more
than all else that a first worker waits for.

What is noted here belongs to who reads what the caller sends: a server has one thread, and the
threads of a worker take turns, under `Intake.lock`.
"""

from __future__ import annotations

import os
import sys
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Modules that load libraries with threads of their own.
_WITH_THREADS = {"numpy", "scipy", "torch", "sklearn"}

#: The libraries that were found when these modules had been loaded.
_libraries: Any = None
_searched: set[str] = set()

#: Threads that they are limited to, 0 for none; and what restores the number they had before.
_limited = 0
_unlimited: Any = None

#: How OpenBLAS was told instead, and what it had before.
_told: list[tuple[Callable[[int], object], int]] = []

#: What files of such libraries are called, as in `threadpoolctl`.
_OPENBLAS = ("libopenblas", "libscipy_openblas")
_OTHERS = ("libblas", "libblis", "libflexiblas", "libgomp", "libiomp", "libmkl", "libomp", "mkl_rt")

#: How OpenBLAS is asked: builds of it differ in what comes before and behind.
_GET = tuple(
    f"{prefix}openblas_get_num_threads{suffix}"
    for prefix in ("", "scipy_")
    for suffix in ("", "64_", "_64")
)


def have_inner_threads() -> bool:
    """Whether libraries are loaded that compute in threads of their own."""
    return bool(_WITH_THREADS & sys.modules.keys())


def limit(most: int) -> None:
    """Limit libraries that are loaded already, 0 for no more; those that are not will read the
    environment.
    """
    global _libraries, _searched, _limited, _unlimited
    if most == _limited or not have_inner_threads():
        return
    _take_back()
    if most:
        loaded = _WITH_THREADS & sys.modules.keys()
        if loaded - _searched:
            from threadpoolctl import ThreadpoolController

            _libraries, _searched = ThreadpoolController(), loaded
        original = _libraries.limit(limits=most)
        _unlimited = _unlimited or original
    elif _unlimited is not None:
        _unlimited.restore_original_limits()
    _limited = most


def begin_as_fork() -> None:
    """Have libraries compute in one thread, in a process that was just forked and has one. The
    number that they had here before is from now on that of no limit.
    """
    global _limited, _unlimited
    _unlimited = None
    _told.clear()
    if _limited != 1 and have_inner_threads() and _tell_openblas():
        _limited = 1
    limit(1)


def _tell_openblas() -> bool:
    """Limit OpenBLAS to one thread; false where it is not all that is here, or not as expected."""
    try:
        found = [_get_and_set(path) for path in _of_openblas(_mapped())]
    except (OSError, ImportError, AttributeError):
        return False
    for get, set in found:
        _told.append((set, get()))
        set(1)
        if get() != 1:  # it is something else by that name
            _take_back()
            return False
    return bool(found)


def _take_back() -> None:
    while _told:
        set, before = _told.pop()
        set(before)


def _of_openblas(paths: set[str]) -> list[str]:
    """Return those that are OpenBLAS; none if there is another such library, which may be what
    OpenBLAS has its threads from.
    """
    if any(os.path.basename(path).startswith(_OTHERS) for path in paths):
        return []
    return [path for path in paths if os.path.basename(path).startswith(_OPENBLAS)]


def _mapped() -> set[str]:
    """Return the files that are mapped here.

    Raises:
        OSError: the system does not tell.
    """
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as lines:
        return {line.split(maxsplit=5)[-1].rstrip("\n") for line in lines if "/" in line}


def _get_and_set(path: str) -> tuple[Callable[[], int], Callable[[int], object]]:
    """Return what tells how many threads OpenBLAS may use, and what has it use so many.

    Its function for the latter first starts the threads that were lost in the fork, and these poll
    for work for some 30 ms. Many builds export the variable that it then writes. It is read for
    each operation, and threads that are not there are started only if it is more than 1.

    Raises:
        OSError, AttributeError: it is not like that.
    """
    from ctypes import CDLL, c_int

    library = CDLL(path, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
    name = next((name for name in _GET if hasattr(library, name)), _GET[0])
    get, set = getattr(library, name), getattr(library, name.replace("get", "set"))
    try:
        variable = c_int.in_dll(library, "blas_cpu_number")
    except ValueError:
        return get, set
    return get, partial(setattr, variable, "value")
