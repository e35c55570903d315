"""Section 1 of the article: what a process is, what a thread is."""

from __future__ import annotations

from poolwise.machine.claims.rows import both, explained, figure, no, row, when, yes

CLAIMS = (
    row(
        "1.P.1",
        "A process is the basic unit to which the operating system allocates resources",
        "是操作系统分配资源的基本单位",
        when(
            both(
                yes(figure("isolation.own_descriptors", "process")),
                no(figure("isolation.own_descriptors", "thread")),
            ),
            both(
                yes(figure("isolation.own_limits", "process")),
                no(figure("isolation.own_limits", "thread")),
            ),
            both(
                no(figure("isolation.write_seen", "process")),
                yes(figure("isolation.write_seen", "thread")),
            ),
        ),
    ),
    row(
        "1.P.2",
        "A process contains the code, data and stack of the running program",
        "一个进程包含了程序运行时的代码、数据和堆栈等资源",
        when(
            yes(figure("isolation.segments", "code")),
            yes(figure("isolation.segments", "data")),
            yes(figure("isolation.segments", "stack")),
        ),
        beside=(figure("isolation.own_stack", "process"),),
    ),
    row(
        "1.P.3",
        "Every process has memory of its own",
        "每个进程都有自己独立的内存空间",
        when(no(figure("isolation.write_seen", "process"))),
    ),
    row(
        "1.P.4",
        "The memory of different processes is isolated from each other",
        "不同进程之间的内存空间是隔离的",
        when(no(figure("isolation.sibling_write_seen", "process"))),
    ),
    row(
        "1.P.5",
        "Every process made with multiprocessing has a Python interpreter and memory of its own",
        "使用`multiprocessing`模块创建的进程，每个进程都有自己独立的 Python 解释器实例和内存空间",
        when(
            no(figure("isolation.same_interpreter", "process")),
            no(figure("isolation.write_seen", "process")),
        ),
        beside=(figure("isolation.same_pid", "process"), figure("isolation.same_gil", "process")),
    ),
    row(
        "1.T.1",
        "A thread is the smallest unit that the operating system schedules",
        "是操作系统能够进行运算调度的最小单位",
        when(yes(figure("isolation.kernel_task", "thread"))),
        beside=(figure("isolation.cpus_seen", "thread"),),
    ),
    row(
        "1.T.2",
        "A thread is contained in a process",
        "它被包含在进程之中",
        when(
            yes(figure("isolation.same_pid", "thread")),
            no(figure("isolation.survives_crash", "thread")),
        ),
    ),
    row(
        "1.T.3",
        "Threads are what actually operates in a process",
        "是进程中的实际运作单位",
        explained(
            "the kernel runs tasks, and each thread is one; a process is what its tasks share",
            "内核运行的是任务，每个线程就是一个任务；进程则是这些任务所共享的一切",
            figure("isolation.kernel_task", "thread"),
            figure("isolation.own_stack", "thread"),
        ),
    ),
    row(
        "1.T.4",
        "Threads share the memory of their process, code and data included",
        "线程之间共享进程的内存空间，包括代码段、数据段等",
        when(
            yes(figure("isolation.write_seen", "thread")),
            yes(figure("isolation.sibling_write_seen", "thread")),
            yes(figure("isolation.same_code", "thread")),
        ),
    ),
    row(
        "1.T.5",
        "Threads made with threading share one Python interpreter and its memory",
        "使用`threading`模块创建的线程，它们共享同一个 Python 解释器实例和内存空间",
        when(
            yes(figure("isolation.same_interpreter", "thread")),
            yes(figure("isolation.write_seen", "thread")),
        ),
        beside=(figure("isolation.same_gil", "thread"),),
    ),
)
