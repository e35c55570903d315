"""What a process lets go of once it has been forked: one hook for all.

Each hook that Python calls in a child touches, and so copies, pages that it shares with its parent:
without those of eleven modules, and with what it runs imported at one go, a worker of a map had
2.06 MB of its own instead of 2.24 (`benchmarks/bench_dispatch.py`). And none where there is nothing
to let go of: that of `threading` alone writes to 38 pages.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any

_callbacks: list[Callable[[], None]] = []

#: Whether this process is such a child itself, and has taken up nothing since. Set only by
#: `fork_again`, for as long as it forks, in a process that has one thread: nobody else sees it, nor
#: the code of the hook.
_let_go_already = False


def in_child(let_go: Callable[[], None]) -> None:
    """Have it called in every child that is forked from this process, but for workers."""
    _callbacks.append(let_go)


def fork_again() -> int:
    """Fork a server, which has let go of everything: its child has nothing left to let go of.

    Nor has `threading`, which forgets the other threads, of which there are none, and makes its
    locks anew, which are free. So its hook does nothing for as long as this forks: it has no other
    switch than its code. What the system calls the one thread is noted; not every Python does it.

    Raises:
        OSError: there can be no more processes.
    """
    global _let_go_already
    threading: Any = sys.modules.get("threading")
    hook: Any = getattr(threading, "_after_fork", None)
    code: CodeType | None = getattr(hook, "__code__", None)
    _let_go_already = True
    try:
        if code is not None:
            hook.__code__ = _nothing.__code__
        pid = os.fork()
    finally:
        _let_go_already = False
        if code is not None:
            hook.__code__ = code
    if not pid and code is not None:
        threading.main_thread()._set_native_id()
    return pid


def _nothing() -> None:
    """Have nothing to do after a fork."""


def _after_fork() -> None:
    if not _let_go_already:
        for let_go in _callbacks:
            try:
                let_go()
            except BaseException:  # the others are called all the same, as Python's own hooks are
                sys.excepthook(*sys.exc_info())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
