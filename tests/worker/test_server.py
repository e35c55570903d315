"""The server at the other end of its front door: what it must survive, and what it must tell."""

from __future__ import annotations

import marshal
import os
import select
import signal
import socket

import pytest
from peer import DEADLINE, Peer
from worker_calls import same

from _poolwise_worker import front_door
from poolwise.mechanisms import servers
from poolwise.mechanisms.worker_ends import WorkerEnds

pytestmark = pytest.mark.fault


def process_id() -> int:
    return servers.server_for("forkserver", []).pid


def test_a_payload_is_read_whole_although_a_signal_interrupts_it() -> None:
    # The server waits for the rest of a payload when one of its workers dies.
    peer = Peer()
    payload = marshal.dumps(["colorsys"])
    front = peer.server._front
    front.sendall(front_door.REQUEST.pack(front_door.PRELOAD, len(payload)) + payload[:5])
    died = os.pidfd_open(peer.pid)
    peer.ends.end_life()
    assert select.select([died], [], [], DEADLINE)[0]
    os.close(died)
    front.sendall(payload[5:])
    assert peer.exit_status() == 9
    peer.close()
    assert Peer.run_once() == [2]
    assert process_id() == peer.server.pid


def test_a_keeper_that_closes_with_unread_replies_ends_its_worker_only() -> None:
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


def test_the_end_of_a_worker_is_told_to_its_own_keeper_only() -> None:
    # A keeper that closes leaves its descriptor to the next. Word of the first worker's end must
    # not reach the second keeper.
    server = process_id()
    for _ in range(30):
        Peer().close()
        peer = Peer()
        assert peer.run(same, [1]) == [1]
        assert peer.ends.news() == [(front_door.STARTED, peer.pid)]
        peer.ends.data.shutdown(socket.SHUT_WR)
        assert peer.exit_status() == 0
        peer.close()
    assert process_id() == server


def test_a_caller_may_ask_for_many_workers_before_it_reads() -> None:
    server = servers.server_for("forkserver", [])
    workers = []
    for _ in range(100):
        ends = WorkerEnds(1)
        server.start_worker(ends, 1, spawn=False)
        ends.hand_over()
        workers.append(ends)
    for ends in workers:
        assert select.select([ends.keeper], [], [], DEADLINE)[0]
        news = ends.news()
        assert news is not None
        assert news[0][0] == front_door.STARTED
        ends.close()


def test_a_worker_is_killed_on_demand() -> None:
    peer = Peer()
    peer.ends.kill()
    assert peer.exit_status() == signal.SIGKILL
    peer.close()


def test_a_server_that_is_dismissed_ends_after_its_last_worker() -> None:
    peer = Peer()
    ended = os.pidfd_open(peer.server.pid)
    servers.dismiss_all()
    assert peer.run(same, [1]) == [1]
    assert not select.select([ended], [], [], 0)[0]
    peer.close()
    assert select.select([ended], [], [], DEADLINE)[0]
    os.close(ended)
    servers.dismiss_all()  # and waits for it


def test_signals_to_the_group_leave_server_and_worker_alone() -> None:
    peer = Peer()
    for number in signal.SIGINT, signal.SIGTERM:
        os.kill(process_id(), number)
        os.kill(peer.pid, number)
        assert peer.run(same, [1]) == [1]
    assert Peer.run_once() == [2]
    peer.close()


def test_ends_are_told_although_the_caller_blocks_the_signal() -> None:
    servers.stop()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        peer = Peer()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.kill(peer.pid, signal.SIGKILL)
    assert peer.exit_status() == signal.SIGKILL
    peer.close()
