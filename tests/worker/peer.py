"""The caller's side of one worker, by hand, frame by frame."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from _poolwise_worker import raised, transfer, wire
from _poolwise_worker.front_door import ENDED, STARTED
from poolwise.mechanisms import servers
from poolwise.mechanisms.surroundings import looks, part
from poolwise.mechanisms.worker_ends import WorkerEnds

#: What is waited for comes within this, or never.
DEADLINE = 20.0


class Peer:
    """The caller's side of one worker, by hand."""

    def __init__(self, threads: int = 1) -> None:
        self.server = servers.server_for("forkserver", [])
        self.ends = WorkerEnds(threads)
        self.server.start_worker(self.ends, threads, spawn=False)
        self.ends.hand_over()
        self.reader = wire.FrameReader(self.ends.data)
        self._batches = iter(range(1, 1 << 30))
        self._tasks: dict[Callable[..., Any], int] = {}
        self.write(wire.pack(wire.PART, 0, part(1)))
        self.write(wire.pack(wire.ADOPT, 0, looks()))
        self.write(wire.pack(wire.PRIME, 0))
        ready = self.frame()
        assert ready.kind == wire.READY
        self.pid = ready.key

    def write(self, data: bytes) -> None:
        self.ends.data.settimeout(DEADLINE)
        self.ends.data.sendall(data)
        self.ends.data.setblocking(False)

    def task(self, function: Callable[..., Any], pickled: bytes | None = None) -> int:
        if function not in self._tasks:
            self._tasks[function] = len(self._tasks) + 1
            pickled = transfer.dumps(function) if pickled is None else pickled
            self.write(wire.pack(wire.TASK, self._tasks[function], pickled))
        return self._tasks[function]

    def send(self, function: Callable[..., Any], *columns: list[Any]) -> int:
        batch, task = next(self._batches), self.task(function)
        payload = transfer.dumps(columns)
        self.write(wire.pack(wire.RUN, batch, payload, first=task, count=len(columns[0])))
        return batch

    def recall(self, batch: int) -> None:
        self.ends.recall(batch)

    def frame(self) -> wire.Frame:
        """The next frame that comes."""
        while (frame := self.reader.pop()) is None:
            assert not self.reader.closed, "the worker is gone"
            assert select.select([self.ends.data], [], [], DEADLINE)[0], "no frame came"
            self.reader.read()
        return frame

    def results(self, batch: int, count: int) -> list[Any]:
        """Take in the frames of a batch until all its calls have ended: values, errors, RETURNED.

        Frames of a batch come in order, and its returned calls are its last.
        """
        results: list[Any] = []
        returned = 0
        while len(results) + returned < count:
            frame = self.frame()
            assert frame.key == batch
            if frame.kind == wire.RETURNED:
                returned += frame.count
                continue
            assert frame.first == len(results)
            content = transfer.loads(frame.payload)
            values, failed = content if frame.kind == wire.MIXED else (content, {})
            for position, (pickled, _) in failed.items():
                values[position] = raised.unpack(pickled)
            assert len(values) == frame.count
            results += values
        return results + [wire.RETURNED] * returned

    def run(self, function: Callable[..., Any], *columns: list[Any]) -> list[Any]:
        return self.results(self.send(function, *columns), len(columns[0]))

    def exit_status(self) -> int:
        """Wait for the word of the server that the worker has ended."""
        while True:
            assert select.select([self.ends.keeper], [], [], DEADLINE)[0], "the worker lives on"
            news = self.ends.news()
            assert news is not None, "the server is gone"
            for kind, value in news:
                if kind == ENDED:
                    return value
                assert kind == STARTED

    @classmethod
    def run_once(cls) -> list[Any]:
        """Run one call in a worker of its own."""
        peer = cls()
        try:
            return peer.run(abs, [-2])
        finally:
            peer.close()

    def close(self) -> None:
        self.ends.close()
