"""Section 6 of the article: how Python makes processes and threads."""

from __future__ import annotations

from poolwise.machine.claims.readings import Printed, SameThroughWorker, Took
from poolwise.machine.claims.rows import row, when, yes

CLAIMS = (
    row(
        "6.P.1",
        "The multiprocessing module creates and manages processes (example program)",
        "使用`multiprocessing`模块来创建和管理进程",
        when(yes(Printed("process", "Worker process")), yes(SameThroughWorker("process"))),
        beside=(Took("process"),),
    ),
    row(
        "6.T.1",
        "The threading module creates and manages threads (example program)",
        "使用`threading`模块来创建和管理线程",
        when(yes(Printed("thread", "Worker thread")), yes(SameThroughWorker("thread"))),
        beside=(Took("thread"),),
    ),
)
