"""Section 2 of the article: what processes and threads cost."""

from __future__ import annotations

from poolwise.machine.claims.rows import cheapest_process, explained, figure, less, row, when, yes

CLAIMS = (
    row(
        "2.P.1",
        "Creating and destroying processes is costly",
        "创建和销毁进程的开销较大",
        when(
            less(figure("resources.create", "thread"), cheapest_process("resources.create")),
            less(figure("resources.destroy", "thread"), cheapest_process("resources.destroy")),
        ),
        beside=(
            figure("resources.create_and_join", "fork"),
            figure("resources.create_and_join", "forkserver"),
            figure("resources.create_and_join", "spawn"),
        ),
    ),
    row(
        "2.P.2",
        "because the operating system allocates memory and resources to each of them",
        "因为操作系统需要为每个进程分配独立的内存空间和资源",
        when(
            less(
                figure("resources.page_faults", "thread"), cheapest_process("resources.page_faults")
            ),
            less(figure("resources.uss", "thread"), figure("resources.uss", "process")),
        ),
    ),
    row(
        "2.P.3",
        "Switching between processes takes more of the system",
        "进程之间的切换也需要消耗较多的系统资源",
        when(less(figure("resources.switch", "thread"), figure("resources.switch", "process"))),
        beside=(figure("resources.voluntary_switches", "process"),),
    ),
    row(
        "2.P.4",
        "because the operating system saves and restores the context of each process: program "
        "counter, registers, memory map",
        "因为操作系统需要保存和恢复每个进程的上下文信息，包括程序计数器、寄存器内容、内存映射等",
        explained(
            "the kernel does this on each switch, and loading another memory map makes the CPU "
            "look up addresses anew; a thread has its own counter and registers too",
            "内核在每次切换时这样做，换入另一份内存映射会使 CPU 重新查找地址；"
            "线程同样有自己的程序计数器和寄存器",
            figure("resources.switch", "process"),
            figure("resources.page_tables", "process"),
            cheapest_process("resources.page_faults"),
        ),
    ),
    row(
        "2.T.1",
        "Creating and destroying threads costs comparatively little",
        "创建和销毁线程的开销相对较小",
        when(
            less(
                figure("resources.create_and_join", "thread"),
                cheapest_process("resources.create_and_join"),
            )
        ),
        beside=(
            figure("resources.create_and_join", "interpreter"),
            figure("resources.create_and_join", "pool 1"),
        ),
    ),
    row(
        "2.T.2",
        "because threads share the memory of their process and need no complex allocation",
        "因为线程共享进程的内存空间，不需要像进程那样进行复杂的资源分配和回收",
        when(
            yes(figure("isolation.write_seen", "thread")),
            less(figure("resources.rss", "thread"), figure("resources.rss", "process")),
            less(
                figure("resources.page_tables", "thread"),
                figure("resources.page_tables", "process"),
            ),
        ),
    ),
    row(
        "2.T.3",
        "Switching between threads is comparatively fast",
        "线程之间的切换也相对较快",
        when(less(figure("resources.switch", "thread"), figure("resources.switch", "process"))),
        beside=(figure("resources.voluntary_switches", "thread"),),
    ),
    row(
        "2.T.4",
        "because threads share their context: only local variables and registers are switched",
        "因为它们共享相同的上下文信息，只需要切换线程的局部变量和寄存器内容即可",
        explained(
            "threads of a process have one memory map, so the kernel keeps it loaded; local "
            "variables lie on each thread's stack and move with one register",
            "同一进程的线程共用一份内存映射，内核无需更换；局部变量在各线程的栈上，换一个寄存器即可",
            figure("resources.switch", "thread"),
            figure("resources.page_tables", "thread"),
        ),
    ),
)
