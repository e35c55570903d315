"""The article's opening and closing sentences, on both sides at once."""

from __future__ import annotations

from poolwise.machine.claims.rows import (
    both,
    busy,
    cheapest_process,
    figure,
    first,
    holds,
    less,
    no,
    row,
    when,
    yes,
)

_PROCESSES_WIN = less(
    figure("suitability.makespan", "pure python", "process"),
    figure("suitability.makespan", "pure python", "thread"),
)

OPENING = (
    row(
        "0.S.1",
        "Processes and threads are two different mechanisms of concurrency and differ in several "
        "respects",
        "进程和线程是两种不同的并发执行机制，它们在多个方面存在区别",
        when(
            both(
                yes(figure("isolation.write_seen", "thread")),
                no(figure("isolation.write_seen", "process")),
            ),
            both(
                no(figure("isolation.survives_crash", "thread")),
                yes(figure("isolation.survives_crash", "process")),
            ),
            less(
                figure("resources.create_and_join", "thread"),
                cheapest_process("resources.create_and_join"),
            ),
        ),
    ),
)

CLOSING = (
    row(
        "6.S.1",
        "Processes and threads are two important ways of concurrent programming in Python, each "
        "with strengths, weaknesses and work that it suits",
        "进程和线程是 Python 中实现并发编程的两种重要方式，它们各有优缺点和适用场景",
        first(
            holds(
                both(
                    _PROCESSES_WIN,
                    less(
                        figure("resources.short_tasks", "process"),
                        figure("resources.short_tasks", "thread"),
                    ),
                )
            ),
            busy(),
        ),
    ),
    row(
        "6.S.2",
        "In practice the mechanism has to be chosen by needs and kind of task",
        "在实际开发中，需要根据具体的需求和任务类型来选择合适的并发机制",
        first(
            holds(
                both(
                    _PROCESSES_WIN,
                    less(
                        figure("suitability.makespan", "short tasks", "loop"),
                        figure("suitability.makespan", "short tasks", "process"),
                    ),
                )
            ),
            busy(),
        ),
        beside=(
            figure("suitability.makespan", "network", "thread"),
            figure("suitability.makespan", "network", "process"),
        ),
    ),
)
