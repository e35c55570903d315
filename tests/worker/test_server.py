"""The fork server at the other end of its channels: what it must survive, and what it must tell."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import termios
import time
from typing import Any

import pytest
from peer import DEADLINE, Peer
from worker_calls import same

from _poolwise_worker.server import REPLY, STARTED
from poolwise.mechanisms import fork_server


def process_id() -> int:
    server = fork_server._server
    assert server is not None
    return int(server._process.pid)


def test_a_payload_is_read_whole_although_a_signal_interrupts_it() -> None:
    # The server waits for the rest of a payload when one of its workers dies.
    other = Peer()
    channel = fork_server.open_channel()
    payload = fork_server.surroundings(1)
    half = len(payload) // 2

    class Interrupting:
        """A channel that lets a worker die in the middle of the payload."""

        def sendmsg(self, *arguments: Any) -> int:
            return channel.sendmsg(*arguments)

        def sendall(self, data: bytes) -> None:
            channel.sendall(data[:half])
            until = time.monotonic() + DEADLINE
            while fcntl.ioctl(channel, termios.TIOCOUTQ, b"\0\0\0\0") != b"\0\0\0\0":
                assert time.monotonic() < until
                time.sleep(0.001)
            died = os.pidfd_open(other.pid)
            other.ends.end_life()
            assert select.select([died], [], [], DEADLINE)[0]
            os.close(died)
            channel.sendall(data[half:])

    ends = fork_server.WorkerEnds(Interrupting(), 5, 1, payload)  # type: ignore[arg-type]
    kind, number, pid = REPLY.unpack(channel.recv(REPLY.size))
    assert (kind, number) == (STARTED, 5)
    assert pid > 0
    assert other.exit_status() == 9
    ends.close()
    channel.close()
    other.close()


def test_a_channel_that_closes_with_unread_replies_ends_its_workers_only() -> None:
    stays, goes = Peer(), Peer()
    server = process_id()
    died = os.pidfd_open(goes.pid)
    goes.close()  # the word that its worker has started was never read
    assert select.select([died], [], [], DEADLINE)[0]
    os.close(died)
    assert stays.run(same, [1]) == [1]
    assert Peer.run_once() == [2]
    assert process_id() == server
    stays.close()


def test_the_end_of_a_worker_is_told_to_its_own_channel_only() -> None:
    # A channel that closes with a worker leaves its descriptor to the next channel, whose worker
    # has the same number. Word of the first end must not reach the second channel.
    server = process_id() if fork_server._server else None
    for _ in range(30):
        Peer().close()
        peer = Peer()
        assert peer.run(same, [1]) == [1]
        data = peer.channel.recv(100 * REPLY.size)
        assert [kind for kind, _, _ in REPLY.iter_unpack(data)] == [STARTED]
        peer.ends.data.shutdown(socket.SHUT_WR)
        assert peer.exit_status() == 0
        peer.close()
    assert server is None or process_id() == server


def test_a_caller_may_ask_for_many_workers_before_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    # With replies as large as what a socket holds, and each side waiting for the other to read,
    # both would wait for ever. Small sockets stand in for hundreds of workers.
    socketpair = socket.socketpair

    def small(*arguments: Any) -> tuple[socket.socket, socket.socket]:
        pair = socketpair(*arguments)
        for end in pair:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        return pair

    monkeypatch.setattr(socket, "socketpair", small)
    channel = fork_server.open_channel()
    channel.settimeout(DEADLINE)
    payload = fork_server.surroundings(1)
    workers = [fork_server.WorkerEnds(channel, number, 1, payload) for number in range(30)]
    started = set()
    while len(started) < len(workers):
        kind, number, _ = REPLY.unpack(channel.recv(REPLY.size, socket.MSG_WAITALL))
        assert kind == STARTED
        started.add(number)
    for worker in workers:
        worker.close()
    channel.close()


def test_signals_to_the_group_leave_server_and_worker_alone() -> None:
    peer = Peer()
    for number in signal.SIGINT, signal.SIGTERM:
        os.kill(process_id(), number)
        os.kill(peer.pid, number)
        assert peer.run(same, [1]) == [1]
    assert Peer.run_once() == [2]
    peer.close()


def test_ends_are_told_although_the_caller_blocks_the_signal() -> None:
    fork_server.stop()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        peer = Peer()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.kill(peer.pid, signal.SIGKILL)
    assert peer.exit_status() == signal.SIGKILL
    peer.close()
