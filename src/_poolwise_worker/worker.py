"""A worker: take a batch, run it, send its outcomes, retire.

With one thread the worker's *main* thread runs the calls, so signals, alarms and event loops work
in them. With more, each thread runs whole batches, and the idle ones take turns to read.
One more thread, the reporter, waits on the control socket: it answers the caller who wants the
unstarted rest of a batch back, and ends the worker when the caller is gone.
"""

from __future__ import annotations

import mmap
import os
import sys
from _signal import (  # type: ignore[import-not-found]
    SIG_BLOCK,
    SIG_DFL,
    SIG_SETMASK,
    SIGINT,
    SIGTERM,
    default_int_handler,
    getsignal,
    pthread_sigmask,
    signal,
)
from _socket import MSG_WAITALL
from _thread import allocate_lock, get_ident, start_new_thread
from errno import EAGAIN, ENOMEM

from _poolwise_worker import said, sockets, surroundings, transfer, wire
from _poolwise_worker.exchange import Exchange
from _poolwise_worker.heap import Heap
from _poolwise_worker.intake import Intake
from _poolwise_worker.outbox import Outbox, flush_streams, leave
from _poolwise_worker.runner import Runner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from _thread import LockType
    from collections.abc import Callable
    from typing import Any

    from _poolwise_worker.guard import Clock


def run_worker(threads: int, descriptors: list[int], *, guarded: bool = False) -> None:
    """Serve batches, as a process forked or executed for it, until told to stop. Ctrl-C and SIGTERM
    are the caller's to answer: `ignore` handles both here already.
    """
    # The third, for as long as this process has it open, is how the kernel finds it: see `lives`.
    data_fd, control_fd, _, marks_fd = descriptors
    with saying_what_lacks(data_fd):
        marks = memoryview(mmap.mmap(marks_fd, 0)).cast("Q")  # all of it
        os.close(marks_fd)
        data = sockets.of(data_fd)
        control = sockets.of(control_fd)
        clock = _clock(marks) if guarded else None
        serve = prepare(data, control, marks, threads, os.getpid(), clock)
    serve()
    import atexit

    atexit._run_exitfuncs()
    flush_streams()


def _clock(marks: memoryview) -> Clock:
    from _poolwise_worker.guard import Clock  # few workers are watched

    return Clock(marks)


class saying_what_lacks:
    """Ends the worker if what is within meets a limit of the system, and tells the caller which:
    otherwise this process would end, and another be started, for a reason that nobody knows.
    """

    def __init__(self, data: int) -> None:
        self._data = data

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        number = _errno_of(error)
        if number:
            try:
                # A new socket is empty enough for one frame, and nothing has been sent yet.
                os.write(self._data, wire.pack(wire.UNABLE, number))
            except OSError:
                pass  # the caller is gone
            leave(1)


def _errno_of(error: BaseException | None) -> int:
    """Return what the system lacks; 0 for no error, or one that is not the system's."""
    if isinstance(error, MemoryError):
        return ENOMEM
    if isinstance(error, RuntimeError):  # "can't start new thread", which has no number
        return EAGAIN
    return (error.errno or 0) if isinstance(error, OSError) else 0


def ignore(signum: int, frame: object) -> None:
    """Do nothing. A handler, not SIG_IGN, because that would be inherited by what calls start."""


def _report(gate: LockType, control: socket, intake: Intake, runners: list[Runner]) -> None:
    """Answer recalls until the caller is gone; then end the worker, whatever it is doing."""
    with _LeavingOnFault():
        with gate:
            pass
        while True:
            try:
                request = control.recv(wire.RECALL.size, MSG_WAITALL)
            except OSError:
                request = b""
            if len(request) < wire.RECALL.size:
                leave(0)
            intake.recall(wire.RECALL.unpack(request)[0], runners)


def prepare(
    data: socket,
    control: socket,
    marks: memoryview,
    threads: int,
    pid: int,
    clock: Clock | None = None,
) -> Callable[[], None]:
    """Return what serves batches until the caller closes its sending direction, and returns when
    all are done. Nothing has been taken from the caller before.

    Raises:
        RuntimeError, OSError, MemoryError: this process cannot have the threads, the descriptors or
            the memory.
    """
    outbox = Outbox(data)
    exchange = Exchange(transfer.to_caller, lambda: surroundings.arena_limit, outbox.announce)
    heap = Heap()
    intake = Intake(data, outbox, exchange, heap, pid, marks, alone=threads == 1)
    runners = [Runner(outbox, exchange, marks, slot, clock) for slot in range(threads)]
    # Held until all threads are there: one that had begun could lose a call if another one cannot
    # be had.
    gate = allocate_lock()
    gate.acquire()
    ended = []

    def serve(runner: Runner) -> None:
        while intake.next(runner):
            runner.run()
            with intake.lock:
                runner.batch = 0
            if clock is None:  # where memory may be limited, none is kept
                heap.look()

    for runner in runners[1:]:
        gone = allocate_lock()
        gone.acquire()
        ended.append(gone)
        start_new_thread(_serve_then_release, (gate, serve, runner, gone))
    start_new_thread(_report, (gate, control, intake, runners))

    def let_go() -> None:
        data.close()
        control.close()
        for runner in runners:
            runner.be_foreign()

    def work() -> None:
        said.begin(outbox.say)
        # A process that a call forks is no worker. It must not hold the sockets open, and it ends
        # when it comes back into this loop.
        os.register_at_fork(after_in_child=let_go)
        _give_signals_back_to_children()
        gate.release()
        serve(runners[0])
        for gone in ended:
            gone.acquire()

    return work


def _give_signals_back_to_children() -> None:
    """Have processes that calls fork end by the signals that this one leaves to the caller.

    They are blocked until the child has its own handlers: one that comes at once would be taken
    for the worker's, and lost.
    """
    masks: dict[int, set[int]] = {}  # by thread: each adds and takes out its own

    def block() -> None:
        # Asked for first: to set it runs handlers of signals that have come, and they may raise.
        masks[get_ident()] = pthread_sigmask(SIG_BLOCK, ())
        pthread_sigmask(SIG_BLOCK, [SIGINT, SIGTERM])

    def unblock() -> None:
        pthread_sigmask(SIG_SETMASK, masks.pop(get_ident()))

    def be_none_of_ours() -> None:
        for number, handler in (SIGTERM, SIG_DFL), (SIGINT, default_int_handler):
            if getsignal(number) is ignore:  # not another that a call has set
                signal(number, handler)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=be_none_of_ours)


def _serve_then_release(
    gate: LockType, serve: Callable[[Runner], None], runner: Runner, gone: LockType
) -> None:
    with _LeavingOnFault():
        with gate:
            pass
        serve(runner)
        gone.release()


class _LeavingOnFault:
    """Ends the worker when an exception comes this far, which only a fault of ours does.

    A thread that died alone would leave its batch without an end for ever; the death of the
    worker is noticed. An exception in the main thread ends the worker by itself.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, *raised: Any) -> None:
        if raised[0] is not None:
            sys.excepthook(*raised)
            leave(1)
