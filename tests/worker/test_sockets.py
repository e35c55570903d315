"""Time-outs that a program sets for its own connections."""

from __future__ import annotations

import os
import socket
from _socket import SOCK_SEQPACKET, SOCK_STREAM
from collections.abc import Iterator
from pathlib import Path

import pytest

from _poolwise_worker import sockets
from programs import STARTS, run


@pytest.fixture
def _hurry() -> Iterator[None]:
    socket.setdefaulttimeout(0.01)
    yield
    socket.setdefaulttimeout(None)


@pytest.mark.usefixtures("_hurry")
@pytest.mark.parametrize("kind", [SOCK_STREAM, SOCK_SEQPACKET])
def test_ours_block_on_both_sides(kind: int) -> None:
    ours, theirs = sockets.pair(kind)
    again = sockets.of(theirs.detach(), kind)
    for end in ours, again:
        assert end.gettimeout() is None
        assert os.get_blocking(end.fileno())
        end.close()


@pytest.mark.parametrize("method", [*STARTS, "spawn"])
def test_workers_do_not_mind_the_time_out_of_connections(method: str, tmp_path: Path) -> None:
    program = """
import socket, time
socket.setdefaulttimeout(0.05)

def call(number):
    time.sleep(0.1)
    return number

def big(number):
    return bytes(20_000_000)

for _ in range(3):
    same_as_a_loop(call)
    poolwise.shutdown()
same_as_a_loop(big)
"""
    run(tmp_path, program, method)


def test_nor_do_executors_pipes_and_single_processes(tmp_path: Path) -> None:
    program = """
import socket, threading, time
socket.setdefaulttimeout(0.05)

def call(number):
    time.sleep(0.2)
    return number

with poolwise.Executor(mechanism="process") as pool:
    assert list(pool.map(call, range(2))) == [0, 1]
ours, theirs = poolwise.Pipe()
thread = threading.Thread(target=lambda: theirs.send(call(5)))
thread.start()
assert ours.recv() == 5
thread.join()
worker = poolwise.Worker(call, (3,), mechanism="process")
worker.start()
assert worker.result() == 3
"""
    run(tmp_path, program, "default")
