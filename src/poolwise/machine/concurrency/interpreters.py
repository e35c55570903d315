"""Interpreters of the standard library as workers, until they are a mechanism of poolwise's."""

from __future__ import annotations

import inspect
import queue
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from poolwise.machine.concurrency import work
from poolwise.timing.repeat import Unmeasurable
from poolwise.units import Seconds

#: What an interpreter runs to answer a call. It is sent as code, so it refers to nothing of ours.
_ANSWER = (
    "def answer(task, amount):\n    import __main__\n    return __main__.perform(task, amount)\n"
)

#: More would take seconds to start, and prove nothing more.
_MOST = 16


class Interpreters:
    """Threads with an interpreter each, which perform what is put into a queue.

    `_tasks` and `_done` are safe by themselves; all else belongs to who opened it. A thread leaves
    what it raises in `_done`, so whoever waits is always woken.
    """

    def __init__(self, workers: int) -> None:
        try:
            interpreters = import_module("concurrent.interpreters")
        except ImportError:
            raise Unmeasurable(
                "the standard library has interpreters from Python 3.14 on"
            ) from None
        if workers > _MOST:
            raise Unmeasurable(f"{workers} interpreters are more than {_MOST}")
        self._tasks: queue.SimpleQueue[tuple[int, Sequence[Any]] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        try:
            for _ in range(workers):
                arguments = (interpreters.create(),)
                thread = threading.Thread(target=self._serve, args=arguments, daemon=True)
                thread.start()
                self._threads.append(thread)
            for _ in range(workers):
                self._next()
        except BaseException:
            self.close(grace=0.0)
            raise

    def calls(self, arguments: Sequence[Sequence[Any]]) -> list[Any]:
        """Return what `work.perform` returns for these, all sent at once, in order."""
        for each in enumerate(arguments):
            self._tasks.put(each)
        return [value for _, value in sorted(self._next() for _ in arguments)]

    def close(self, grace: Seconds | None = None) -> None:
        """End all; each finishes what it performs. After `grace` they are left to it."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(grace)

    def _next(self) -> tuple[int, Any]:
        number, value = self._done.get()
        if isinstance(value, BaseException):
            raise value
        return number, value

    def _serve(self, interpreter: Any) -> None:
        try:
            interpreter.exec(inspect.getsource(work))
            space: dict[str, Any] = {}
            exec(_ANSWER, space)
            self._done.put((0, None))
            while (task := self._tasks.get()) is not None:
                number, arguments = task
                self._done.put((number, interpreter.call(space["answer"], *arguments)))
        except BaseException as error:
            self._done.put((0, error))
        finally:
            interpreter.close()
