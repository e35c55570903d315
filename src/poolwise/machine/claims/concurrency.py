"""Section 4 of the article: what runs at the same time."""

from __future__ import annotations

from poolwise.machine.claims.readings import CpuFact, GilFact, Speedup
from poolwise.machine.claims.rows import (
    DISTURBED,
    GAIN,
    above,
    at_most,
    both,
    busy,
    depends,
    ever,
    fails,
    figure,
    first,
    gain,
    holds,
    less,
    no_gain,
    not_less,
    one_cpu,
    row,
    when,
    yes,
)

_HELD_BY_THREADS = Speedup("holds the GIL", "thread")
_HELD_BY_PROCESSES = Speedup("holds the GIL", "process")
_RELEASED_BY_THREADS = Speedup("releases the GIL", "thread")
_WAITING_THREADS = Speedup("waits", "thread")
_ON_TWO_CPUS = ever(figure("concurrency.cpus_at_once", "process"), above=1)
_BESIDE_COMPUTING = figure("concurrency.neighbour", "computing")
_BESIDE_MEMORY = figure("concurrency.neighbour", "memory")

CLAIMS = (
    row(
        "4.P.1",
        "On a system with several CPU cores, processes can run on different cores at once",
        "在多核 CPU 系统中，多个进程可以同时运行在不同的 CPU 核心上",
        first(holds(_ON_TWO_CPUS), one_cpu(), busy()),
    ),
    row(
        "4.P.2",
        "and so compute truly in parallel",
        "从而实现真正的并行计算",
        first(holds(gain(_HELD_BY_PROCESSES)), one_cpu(), busy()),
        beside=(figure("concurrency.bytecode_at_once", "process"),),
    ),
    row(
        "4.P.3",
        "Each process uses the CPU independently and is not affected by other processes",
        "每个进程可以独立地利用 CPU 资源，不受其他进程的影响",
        first(
            holds(both(at_most(_BESIDE_COMPUTING, DISTURBED), at_most(_BESIDE_MEMORY, DISTURBED))),
            one_cpu(),
            busy(),
            depends(
                "what the others do: memory bandwidth is shared",
                "其他进程在做什么：内存带宽是共享的",
                both(at_most(_BESIDE_COMPUTING, DISTURBED), above(_BESIDE_MEMORY, DISTURBED)),
            ),
            depends(
                "what the others do: CPUs, their clock and their quota are shared",
                "其他进程在做什么：CPU、其频率和配额是共享的",
                both(above(_BESIDE_COMPUTING, DISTURBED), at_most(_BESIDE_MEMORY, DISTURBED)),
            ),
        ),
        beside=(CpuFact(),),
    ),
    row(
        "4.P.4",
        "Each of several multiprocessing processes can run on a core of its own, which makes the "
        "program more efficient",
        "使用`multiprocessing`模块创建多个进程时，每个进程可以独立地运行在不同的 CPU 核心上，"
        "从而提高程序的运行效率",
        first(
            holds(
                both(
                    _ON_TWO_CPUS,
                    less(
                        figure("suitability.makespan", "pure python", "process"),
                        figure("suitability.makespan", "pure python", "loop"),
                    ),
                )
            ),
            one_cpu(),
            busy(),
            depends(
                "how much there is to do: starting the processes takes what they win",
                "工作量：启动进程的开销抵消了收益",
                both(
                    _ON_TWO_CPUS,
                    not_less(
                        figure("suitability.makespan", "pure python", "process"),
                        figure("suitability.makespan", "pure python", "loop"),
                    ),
                ),
            ),
        ),
    ),
    row(
        "4.T.1",
        "Python has a global interpreter lock (GIL)",
        "由于存在全局解释器锁（GIL）",
        when(yes(GilFact())),
        beside=(figure("isolation.same_gil", "thread"), figure("concurrency.switch_interval")),
    ),
    row(
        "4.T.2",
        "so only one thread at a time executes Python bytecode",
        "同一时刻只有一个线程可以执行 Python 字节码",
        first(
            one_cpu(),
            busy(),
            holds(
                both(
                    yes(GilFact()),
                    at_most(figure("concurrency.bytecode_at_once", "thread"), GAIN),
                )
            ),
        ),
        beside=(figure("concurrency.bytecode_at_once", "process"),),
    ),
    row(
        "4.T.3",
        "In CPU-bound work, threads do not compute truly in parallel",
        "在 CPU 密集型任务中，多线程并不能实现真正的并行计算",
        first(
            fails(gain(_HELD_BY_THREADS)),
            one_cpu(),
            busy(),
            depends(
                "whether the computing is done by C code that releases the GIL",
                "计算是否由释放 GIL 的 C 代码完成",
                both(no_gain(_HELD_BY_THREADS), gain(_RELEASED_BY_THREADS)),
            ),
            holds(both(no_gain(_HELD_BY_THREADS), no_gain(_RELEASED_BY_THREADS))),
        ),
    ),
    row(
        "4.T.4",
        "The concurrency of threads is limited by the GIL",
        "线程的并发性受到 GIL 的限制",
        first(
            holds(both(yes(GilFact()), less(_HELD_BY_THREADS, _HELD_BY_PROCESSES))),
            one_cpu(),
            busy(),
        ),
        beside=(figure("concurrency.switch_interval"),),
    ),
    row(
        "4.T.5",
        "In I/O-bound work, a thread that waits releases the GIL and lets others run",
        "在 I/O 密集型任务中，线程可以在等待 I/O 操作完成时释放 GIL，从而让其他线程运行",
        when(gain(_WAITING_THREADS)),
        beside=(figure("concurrency.heartbeat", "waiting"),),
    ),
    row(
        "4.T.6",
        "which makes the program more responsive and more efficient",
        "这样可以提高程序的响应速度和效率",
        when(
            less(
                figure("concurrency.heartbeat", "waiting"),
                figure("concurrency.heartbeat", "computing"),
            ),
            gain(_WAITING_THREADS),
        ),
        beside=(figure("concurrency.heartbeat_process", "computing"),),
    ),
)
