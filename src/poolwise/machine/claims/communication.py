"""Section 3 of the article: how processes and threads communicate."""

from __future__ import annotations

from poolwise.machine.claims.readings import Lowest
from poolwise.machine.claims.rows import (
    above,
    both,
    depends,
    ever,
    fails,
    figure,
    first,
    holds,
    less,
    never,
    no,
    row,
    when,
    yes,
)
from poolwise.machine.claims.text import Text

_IPC = ("mp.Pipe", "mp.Queue", "shared memory", "signal")


def _simplest(path: str) -> Lowest:
    return Lowest(Text("simplest means between processes", "进程间最简单的方式"), path, _IPC)


CLAIMS = (
    row(
        "3.P.1",
        "Processes communicate through interprocess communication (IPC)",
        "进程之间的通信需要通过进程间通信（IPC）机制来实现",
        when(
            no(figure("isolation.write_seen", "process")),
            no(figure("isolation.sibling_write_seen", "process")),
        ),
    ),
    row(
        "3.P.2",
        "such as a pipe",
        "管道（Pipe）",
        when(yes(figure("communication.carries", "mp.Pipe"))),
        beside=(figure("communication.latency", "mp.Pipe", 1),),
    ),
    row(
        "3.P.3",
        "a message queue",
        "消息队列（Message Queue）",
        when(yes(figure("communication.carries", "mp.Queue"))),
        beside=(figure("communication.latency", "mp.Queue", 1),),
    ),
    row(
        "3.P.4",
        "shared memory",
        "共享内存（Shared Memory）",
        when(yes(figure("communication.carries", "shared memory"))),
        beside=(figure("communication.latency", "shared memory", 1),),
    ),
    row(
        "3.P.5",
        "or a signal",
        "信号（Signal）",
        when(yes(figure("communication.carries", "signal"))),
        beside=(figure("communication.latency", "signal", 1),),
    ),
    row(
        "3.P.6",
        "These means are comparatively complex",
        "这些通信方式相对复杂",
        when(
            *(
                less(figure(path, "variable"), _simplest(path))
                for path in (
                    "communication.lines",
                    "communication.system_calls",
                    "communication.objects",
                )
            )
        ),
    ),
    row(
        "3.P.7",
        "and need support by the operating system",
        "且需要操作系统提供支持",
        when(
            above(figure("communication.system_calls", "mp.Pipe"), 0),
            above(figure("communication.system_calls", "mp.Queue"), 0),
            above(figure("communication.objects", "shared memory"), 0),
            above(figure("communication.system_calls", "signal"), 0),
        ),
    ),
    row(
        "3.P.8",
        "multiprocessing offers Pipe, Queue and others",
        "`multiprocessing`模块提供了`Pipe`、`Queue`等通信方式",
        when(
            yes(figure("communication.carries", "mp.Pipe")),
            yes(figure("communication.carries", "mp.Queue")),
        ),
    ),
    row(
        "3.P.9",
        "but using them is somewhat more complex than communication between threads",
        "但使用起来相对线程通信要复杂一些",
        when(
            less(
                figure("communication.lines", "variable"), figure("communication.lines", "mp.Pipe")
            ),
            less(
                figure("communication.lines", "SimpleQueue"),
                figure("communication.lines", "mp.Queue"),
            ),
        ),
    ),
    row(
        "3.T.1",
        "Communication between threads is comparatively simple",
        "线程之间的通信相对简单",
        when(
            *(
                less(figure(path, "variable"), figure(path, "mp.Pipe"))
                for path in (
                    "communication.lines",
                    "communication.system_calls",
                    "communication.objects",
                )
            )
        ),
        beside=(
            figure("communication.latency", "variable", 1),
            figure("communication.latency", "mp.Pipe", 1),
        ),
    ),
    row(
        "3.T.2",
        "because threads share the memory of their process and can use shared variables directly",
        "因为它们共享进程的内存空间，可以通过直接访问共享变量来进行通信",
        when(
            yes(figure("isolation.write_seen", "thread")),
            yes(figure("communication.carries", "variable")),
        ),
        beside=(figure("communication.latency", "variable", 1),),
    ),
    row(
        "3.T.3",
        "Access to shared variables has to be synchronised, or there are data races",
        "线程之间的共享变量访问需要进行同步控制，以避免出现数据竞争和线程安全问题",
        first(
            holds(ever(figure("communication.lost_with_call"))),
            holds(ever(figure("communication.lost_plain"))),
            depends(
                "luck: no update was lost this time, which does not show that none can be",
                "运气：这一次没有丢失更新，但这并不说明不会丢失",
                both(
                    never(figure("communication.lost_with_call")),
                    never(figure("communication.lost_plain")),
                ),
            ),
        ),
    ),
    row(
        "3.T.4",
        "threading.Lock can be used for that",
        "可以使用`threading.Lock`",
        first(
            fails(ever(figure("communication.lost_with_lock"))),
            holds(ever(figure("communication.lost_with_call"))),
            depends(
                "luck: no update was lost under the lock, but none without it either",
                "运气：加锁时没有丢失更新，但不加锁时也没有丢失",
                never(figure("communication.lost_with_call")),
            ),
        ),
        beside=(
            figure("communication.lock", "Lock thread"),
            figure("communication.contended", "Lock thread"),
        ),
    ),
    row(
        "3.T.5",
        "and so can threading.RLock and other locks",
        "`threading.RLock`等锁机制来保证线程安全",
        when(yes(figure("communication.rlock_reentered"))),
        beside=(
            figure("communication.lock", "RLock thread"),
            figure("communication.contended", "RLock thread"),
        ),
    ),
)
