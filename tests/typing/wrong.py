"""What type checkers must refuse: each line marked so, and no other. See `test_typing.py`."""

from __future__ import annotations

import poolwise
from poolwise import Executor


def length(text: str) -> int:
    return len(text)


def repeat(text: str, times: int) -> list[str]:
    return [text] * times


poolwise.map(length, [1, 2])  # wrong
poolwise.map(length, ["a"], ["b"])  # wrong
poolwise.map(length)  # wrong
poolwise.map(repeat, ["a"])  # wrong
poolwise.map(repeat, [1], ["a"])  # wrong
poolwise.map(length, ["a"], on_error="ignore")  # wrong
poolwise.map(length, ["a"], max_workers="2")  # wrong
poolwise.map(length, ["a"], workers=2)  # wrong
poolwise.map(length, ["a"], seed="a")  # wrong
poolwise.map(length, ["a"], isolate=1)  # wrong
poolwise.map("length", ["a"])  # wrong
texts: list[str] = poolwise.map(length, ["a"]).results()  # wrong

pool = Executor()
pool.submit(length, 1)  # wrong
pool.submit(length)  # wrong
pool.submit(length, "a", scale=2)  # wrong
pool.submit(fn=length)  # wrong
text: str = pool.submit(length, "a").result()  # wrong
Executor(max_workers="2")  # wrong
Executor(initializer=3)  # wrong
Executor(max_tasks=3)  # wrong
pool.map(length, ["a"], buffersize="2")  # wrong
