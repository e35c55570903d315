"""Section 5 of the article: which work suits processes, which suits threads."""

from __future__ import annotations

from poolwise.machine.claims.conditions import Condition
from poolwise.machine.claims.readings import Field, Speedup
from poolwise.machine.claims.rows import (
    both,
    busy,
    cheapest_process,
    depends,
    figure,
    first,
    gain,
    holds,
    less,
    no,
    not_less,
    one_cpu,
    row,
    when,
    yes,
)
from poolwise.machine.claims.rules import Case, Rule


def _makespan(work: str, plan: str) -> Field:
    return figure("suitability.makespan", work, plan)


def _wins(work: str, plan: str, *others: str) -> Condition:
    return both(*(less(_makespan(work, plan), _makespan(work, other)) for other in others))


def _threads_do_as_well(work: str) -> Case:
    return depends(
        "whether its C code releases the GIL: here it does, and threads do as well",
        "其 C 代码是否释放 GIL：此处释放，线程同样合适",
        both(
            _wins(work, "process", "loop"),
            not_less(_makespan(work, "process"), _makespan(work, "thread")),
        ),
    )


def _suits_processes(work: str) -> Rule:
    return first(
        holds(_wins(work, "process", "loop", "thread")),
        _threads_do_as_well(work),
        one_cpu(),
        busy(),
    )


CLAIMS = (
    row(
        "5.P.1",
        "Processes suit CPU-bound tasks",
        "适用于 CPU 密集型任务",
        first(
            holds(
                both(
                    _wins("pure python", "process", "loop", "thread"),
                    _wins("C without GIL", "process", "loop", "thread"),
                )
            ),
            one_cpu(),
            busy(),
            depends(
                "what computes: pure Python needs processes, C code that releases the GIL does not",
                "由什么来计算：纯 Python 需要进程，释放 GIL 的 C 代码则不需要",
                both(
                    _wins("pure python", "process", "loop", "thread"),
                    not_less(
                        _makespan("C without GIL", "process"), _makespan("C without GIL", "thread")
                    ),
                ),
            ),
        ),
        beside=(_makespan("C without GIL", "loop"),),
    ),
    row(
        "5.P.2",
        "such as scientific computing",
        "如计算密集型的科学计算",
        _suits_processes("scientific"),
    ),
    row("5.P.3", "and image processing", "图像处理等", _suits_processes("image")),
    row(
        "5.P.4",
        "There, several processes use the CPU's cores and make the program more efficient",
        "可以利用多核 CPU 的优势，通过创建多个进程来提高程序的运行效率",
        first(holds(gain(Speedup("holds the GIL", "process"))), one_cpu(), busy()),
        beside=(Speedup("releases the GIL", "process"),),
    ),
    row(
        "5.P.5",
        "Processes also suit work whose resources have to be isolated",
        "进程也适用于需要隔离资源的场景",
        when(
            yes(figure("isolation.own_directory", "process")),
            yes(figure("isolation.own_environment", "process")),
            yes(figure("isolation.own_descriptors", "process")),
            yes(figure("isolation.own_limits", "process")),
        ),
        beside=(
            figure("isolation.own_directory", "thread"),
            figure("isolation.own_environment", "thread"),
        ),
    ),
    row(
        "5.P.6",
        "such as several independent instances of a program that must not disturb each other",
        "如运行多个独立的程序实例，避免它们之间的相互干扰",
        when(
            yes(figure("isolation.survives_crash", "process")),
            no(figure("isolation.sibling_write_seen", "process")),
        ),
        beside=(figure("isolation.survives_crash", "thread"),),
    ),
    row(
        "5.T.1",
        "Threads suit I/O-bound tasks",
        "适用于 I/O 密集型任务",
        when(gain(Speedup("waits", "thread"))),
        beside=(Speedup("waits", "process"),),
    ),
    row(
        "5.T.2",
        "such as network programming",
        "如网络编程",
        first(
            holds(
                both(
                    _wins("network", "thread", "loop"),
                    not_less(_makespan("network", "process"), _makespan("network", "thread")),
                )
            ),
            depends(
                "how much is computed besides: processes were faster still",
                "此外还要计算多少：进程更快",
                both(_wins("network", "thread", "loop"), _wins("network", "process", "thread")),
            ),
            one_cpu(),
            busy(),
        ),
    ),
    row(
        "5.T.3",
        "and reading and writing files",
        "文件读写等",
        first(
            holds(_wins("files cached", "thread", "loop")),
            depends(
                "whether the file has to be waited for: one in the page cache has not",
                "是否需要等待文件：页缓存中的文件无需等待",
                not_less(_makespan("files cached", "thread"), _makespan("files cached", "loop")),
            ),
        ),
    ),
    row(
        "5.T.4",
        "There, another thread runs while one waits for I/O, which makes the program more "
        "responsive and more efficient",
        "线程可以在等待 I/O 操作完成时切换到其他线程运行，从而提高程序的响应速度和效率",
        when(
            less(
                figure("concurrency.heartbeat", "waiting"),
                figure("concurrency.heartbeat", "computing"),
            ),
            _wins("network", "thread", "loop"),
        ),
    ),
    row(
        "5.T.5",
        "Threads also suit work where something is created and destroyed quickly",
        "线程也适用于需要快速创建和销毁的场景",
        when(
            less(figure("resources.create", "thread"), cheapest_process("resources.create")),
            less(figure("resources.destroy", "thread"), cheapest_process("resources.destroy")),
        ),
    ),
    row(
        "5.T.6",
        "such as many short tasks",
        "如处理大量的短时间任务",
        first(
            holds(
                both(
                    less(
                        figure("resources.short_tasks", "process"),
                        figure("resources.short_tasks", "thread"),
                    ),
                    _wins("short tasks", "thread", "loop"),
                )
            ),
            depends(
                "what it is compared with: threads beat processes, but a plain loop beats both",
                "与什么相比：线程胜过进程，但普通循环胜过两者",
                both(
                    less(
                        figure("resources.short_tasks", "process"),
                        figure("resources.short_tasks", "thread"),
                    ),
                    _wins("short tasks", "loop", "thread", "process"),
                ),
            ),
        ),
    ),
)
