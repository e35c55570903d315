"""A worker: take a batch, run it, send its outcomes, retire.

With one thread the worker's *main* thread runs the calls, so signals, alarms and event loops work
in them. With more, each thread runs whole batches, and the idle ones take turns to read.
One more thread, the reporter, waits on the control socket: it answers the caller who wants the
unstarted rest of a batch back, and ends the worker when the caller is gone.
"""

from __future__ import annotations

import mmap
import os
import select
import sys
from _signal import (  # type: ignore[import-not-found]
    SIG_BLOCK,
    SIG_DFL,
    SIG_SETMASK,
    SIGINT,
    SIGKILL,
    SIGTERM,
    default_int_handler,
    getsignal,
    pthread_sigmask,
    signal,
)
from _socket import AF_UNIX, MSG_WAITALL, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket
from _thread import allocate_lock, get_ident, start_new_thread
from collections import deque
from time import perf_counter, thread_time

from _poolwise_worker import surroundings, transfer, wire
from _poolwise_worker.exchange import Exchange
from _poolwise_worker.transfer import Untransferable, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

#: Finished outcomes wait at most about this long for their neighbours, in seconds. Sending costs
#: some 10 µs, so shorter would spend more than 1 % on it; longer would delay a finished call.
FLUSH_AFTER = 1e-3

#: Calls between two readings of the clock are doubled while they take less than this, in seconds;
#: reading three clocks costs about 1 µs.
STRIDE_FROM = 5e-5


#: An idle worker gives back shared memory when it has been idle for so long, in milliseconds: not
#: between two maps in a row, because pages that are made anew cost several times as much as writing
#: them.
TRIM_AFTER = 1000.0


class Outbox:
    """The sending half of the data socket. `lock` guards it: frames never interleave."""

    def __init__(self, sock: socket) -> None:
        self._sock = sock
        self._lock = allocate_lock()

    def send(self, frame: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send one frame, and close its descriptors. Blocks while the caller does not read; dies if
        the caller is gone.
        """
        try:
            with self._lock:
                if descriptors:
                    rights = b"".join(each.to_bytes(4, sys.byteorder) for each in descriptors)
                    sent = self._sock.sendmsg([frame], [(SOL_SOCKET, SCM_RIGHTS, rights)])
                    self._sock.sendall(frame[sent:])
                else:
                    self._sock.sendall(frame)
        except OSError:
            leave(0)
        for each in descriptors:
            os.close(each)

    def announce(self, descriptor: int) -> None:
        """Send an arena."""
        self.send(wire.pack(wire.ARENA, 0, descriptors=1), [descriptor])


class Intake:
    """What has arrived and has not begun.

    `lock` guards the reader, the pending frames and the hand-over to a runner. Who holds it may
    send, which ends because the caller never stops reading. `leader` is held by the one idle
    runner that waits for the socket: without it, every idle runner would wake for every frame.

    The reporter reads the socket too. What it reads can never wake the leader, for whom the
    socket is as empty as before; so the reporter rings the bell, a pipe, for what it leaves.
    """

    def __init__(self, sock: socket, outbox: Outbox, exchange: Exchange, pid: int) -> None:
        self._reader = wire.FrameReader(sock)
        self._outbox = outbox
        self._exchange = exchange
        self._pid = pid
        self._bell_read, self._bell_write = os.pipe()
        os.set_blocking(self._bell_write, False)
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)
        self._poll.register(self._bell_read, select.POLLIN)
        self._socket_poll = select.poll()
        self._socket_poll.register(sock.fileno(), select.POLLIN)
        self._pending: deque[wire.Frame] = deque()
        self._tasks: dict[int, Callable[..., Any]] = {}
        self._patience: float | None = None  # milliseconds until an idle worker ends itself
        self._over = False
        self.lock = allocate_lock()
        self._leader = allocate_lock()

    def next(self, runner: Runner) -> bool:
        """Give `runner` its next batch. False when there will be no more."""
        silent = False
        with self._leader:
            while True:
                with self.lock:
                    self._pull()
                    if silent and self._patience is not None:  # and nothing came since
                        self._over = True
                    if self._pending:
                        frame = self._pending.popleft()
                        prime = frame.kind == wire.PRIME
                        runner.accept(frame, _nothing if prime else self._tasks[frame.first])
                        return True
                    if self._reader.closed or self._over:
                        return False
                    patience = self._patience
                events = self._poll.poll(patience and min(patience, TRIM_AFTER))
                if not events and patience is not None and patience > TRIM_AFTER:
                    self._exchange.trim()
                    events = self._poll.poll(patience - TRIM_AFTER)
                silent = not events
                for descriptor, _ in events:
                    if descriptor == self._bell_read:
                        os.read(self._bell_read, 4096)

    def recall(self, batch: int, runners: list[Runner]) -> None:
        """Send back the unstarted calls of `batch`, or of all; called by the reporter.

        The caller has begun to write the batch before it recalls it, so it is somewhere here, or
        arriving: then the rest is waited for, because all runners may be busy. A batch that has
        ended already needs no answer.
        """
        while not self._recall_what_is_here(batch, runners):
            self._socket_poll.poll()

    def _recall_what_is_here(self, batch: int, runners: list[Runner]) -> bool:
        """Return false if the batch is still arriving."""
        with self.lock:
            self._pull()
            kept: deque[wire.Frame] = deque()
            for frame in self._pending:
                if batch in (frame.key, wire.ALL):
                    self._exchange.drop_received(frame.payload)
                    frame.drop()
                    self._outbox.send(wire.pack(wire.RETURNED, frame.key, count=frame.count))
                else:
                    kept.append(frame)
            self._pending = kept
            for runner in runners:
                if runner.batch and batch in (runner.batch, wire.ALL):
                    runner.give_back(runner.batch)
            if kept:
                try:
                    os.write(self._bell_write, b"\0")
                except BlockingIOError:
                    pass  # the pipe is full of rings already
            return self._reader.arriving != batch

    def _pull(self) -> None:
        """Read what has arrived without blocking; act on everything but batches.

        Nothing any more once this worker is about to end itself: a sign of life would be a lie.
        """
        while not self._over:
            while (frame := self._reader.pop()) is not None:
                self._patience = None
                if frame.kind in (wire.RUN, wire.SINGLY) or (
                    frame.kind == wire.PRIME and frame.payload
                ):
                    self._pending.append(frame)
                elif frame.kind == wire.TASK:
                    self._tasks[frame.key] = _load_task(frame)
                elif frame.kind == wire.ADOPT:
                    surroundings.take_on(frame.payload)
                elif frame.kind == wire.PRIME:
                    self._outbox.send(wire.pack(wire.READY, self._pid))
                elif frame.kind == wire.RELEASED:
                    self._exchange.free(frame.payload)
                elif frame.kind == wire.ARENA:
                    for descriptor in frame.descriptors:
                        self._exchange.accept(descriptor)
                elif frame.kind == wire.REST:
                    self._tasks.clear()
                    self._patience = frame.service * 1000
            if self._reader.closed or not self._reader.read():
                return


class Runner:
    """Runs one batch at a time, in one thread.

    The calls not yet started lie in a deque: this thread takes them from the left, the reporter
    may take the rest from the right, and each ``pop`` is atomic, so a call is either run or
    returned. `lock` guards everything about outcomes: flushing, and the count of what was flushed.
    """

    def __init__(self, outbox: Outbox, exchange: Exchange, marks: memoryview, slot: int) -> None:
        self._outbox = outbox
        self._exchange = exchange
        self._marks = marks
        self._slot = slot
        self._lock = allocate_lock()
        self._strides: dict[int, int] = {}
        self.batch = 0  # guarded by Intake.lock; 0: none
        self._clear()

    def _clear(self) -> None:
        self._calls: deque[Any] = deque()
        self._values: list[object] = []
        self._errors: dict[int, transfer.Raised] = {}
        self._flushed = 0
        self._service = 0.0
        self._cpu = 0.0
        self._begun: float | None = None  # since when service has not been counted
        self._loaded = False
        self._wanted = False

    def accept(self, frame: wire.Frame, function: Callable[..., Any]) -> None:
        """Take over a batch; called with `Intake.lock` held, so a recall sees it here or there."""
        self.batch = frame.key
        self._frame = frame
        self._function = function
        # A recall of the batch before may have come when that had ended but still lay here.
        self._wanted = False

    def run(self) -> None:
        """Run the accepted batch to its end, or until its rest is taken back."""
        frame, function = self._frame, self._function
        del self._frame, self._function
        if frame.kind == wire.PRIME:
            self._initialize(frame)
            return
        if frame.kind == wire.SINGLY and frame.descriptors:
            with frame.providing():  # its calls are unpickled one by one
                self._run_batch(frame, function)
        else:
            self._run_batch(frame, function)

    def _run_batch(self, frame: wire.Frame, function: Callable[..., Any]) -> None:
        if frame.kind == wire.RUN:  # else each call is read by itself, after its own mark
            self._marks[self._slot] = wire.mark(frame.key, wire.READING)
        try:
            if frame.kind == wire.SINGLY:
                columns = self._exchange.loads(frame.payload)
            else:
                columns = frame.read(self._exchange.loads)
        except BaseException as error:
            self._outbox.send(
                wire.pack(wire.UNREADABLE, frame.key, describe(error).encode("utf-8", "replace"))
            )
            return
        if frame.kind == wire.SINGLY:
            self._calls.extend(columns)
            call = _unwrapping(function)
        elif len(columns) == 1:
            self._calls.extend(columns[0])
            call = function
        else:
            self._calls.extend(zip(*columns, strict=True))
            call = _spreading(function)
        del columns
        with self._lock:
            self._loaded = True
            wanted = self._wanted
        if wanted:
            self.give_back(frame.key)
        self._run_calls(call, frame.key, frame.first)
        self.flush(frame.key)
        with self._lock:
            self._clear()

    def _initialize(self, frame: wire.Frame) -> None:
        """Run what the user wants to be run before the first call."""
        try:
            initializer, arguments = frame.read(transfer.loads)
            initializer(*arguments)
        except BaseException as error:
            raised = transfer.dumps_error(error)
            flush_streams()
            self._outbox.send(wire.pack(wire.UNREADY, 0, transfer.dumps(raised)))
        else:
            self._outbox.send(wire.pack(wire.READY, os.getpid()))

    def _run_calls(self, call: Callable[[Any], Any], batch: int, task: int) -> None:
        take, append = self._calls.popleft, self._values.append
        marks, slot = self._marks, self._slot
        mark = wire.mark(batch)
        stride = self._strides.get(task, 1)
        flushed_at = perf_counter()
        while self._calls:
            cpu, begin = thread_time(), perf_counter()
            self._begun = begin
            for _ in range(stride):
                try:
                    argument = take()
                except IndexError:
                    break
                marks[slot] = mark
                try:
                    append(call(argument))
                except BaseException as error:
                    self._errors[mark & wire.POSITION] = transfer.dumps_error(error)
                    append(None)
                mark += 1
            argument = None
            end = perf_counter()
            elapsed = end - begin
            with self._lock:
                self._service += end - self._begun
                self._begun = None
                self._cpu += thread_time() - cpu
            if elapsed < STRIDE_FROM:
                stride = min(stride * 2, 1 << 16)
            elif elapsed > FLUSH_AFTER and stride > 1:
                stride = max(1, int(stride * FLUSH_AFTER / (2 * elapsed)))
            if end - flushed_at >= FLUSH_AFTER:
                self.flush(batch)
                flushed_at = end
        self._strides[task] = stride

    def flush(self, batch: int) -> None:
        """Send the outcomes that have not been sent; by this thread or the reporter.

        The caller may kill this process as soon as it has the last outcome: what calls have
        printed goes first.
        """
        flush_streams()
        with self._lock:
            # Appending is the only thing that happens meanwhile, and it comes after the error
            # of the same call was noted.
            count = len(self._values)
            if not count:
                return
            values, self._values[:count] = self._values[:count], []
            shift = self._flushed
            errors = {}
            if self._errors:
                for position in range(count):
                    if position + shift in self._errors:
                        errors[position] = self._errors.pop(position + shift)
            self._flushed += count
            if self._begun is not None:  # the reporter, while this thread is inside a call
                now = perf_counter()
                self._service += now - self._begun
                self._begun = now
            service, self._service = self._service, 0.0
            cpu, self._cpu = self._cpu, 0.0
            kind, payload, descriptors = _encode(values, errors, self._exchange)
            del values
            released = self._exchange.released()
            if released:
                self._outbox.send(wire.pack(wire.RELEASED, 0, released))
            message = wire.pack(
                kind,
                batch,
                payload,
                first=shift,
                count=count,
                service=service,
                cpu=cpu,
                descriptors=len(descriptors),
            )
            self._outbox.send(message, descriptors)

    def give_back(self, batch: int) -> None:
        """Return the calls that have not started.

        Called by the reporter under `Intake.lock`; before the calls lie in their deque, it only
        leaves word, and the runner does it itself.
        """
        with self._lock:
            self._wanted = True
            if not self._loaded:
                return
        count = 0
        try:
            while True:
                self._calls.pop()
                count += 1
        except IndexError:
            pass
        self.flush(batch)
        if count:
            self._outbox.send(wire.pack(wire.RETURNED, batch, count=count))


def _encode(
    values: list[object], errors: dict[int, transfer.Raised], exchange: Exchange
) -> tuple[int, bytes, list[int]]:
    """Pickle outcomes; a value that does not pickle becomes an error of its own call."""
    try:
        if errors:
            return wire.MIXED, *transfer.dump(lambda: exchange.dumps((values, errors)))
        return wire.DONE, *transfer.dump(lambda: exchange.dumps(values))
    except BaseException:
        for position, value in enumerate(values):
            try:
                with transfer.looking():
                    transfer.to_caller.dumps(value)
            except BaseException as error:
                why = Untransferable(f"its result cannot be pickled: {describe(error)}")
                errors[position] = transfer.dumps_error(why)
                values[position] = None
        return wire.MIXED, *transfer.dump(lambda: exchange.dumps((values, errors)))


#: Functions by task, in a process that was forked from the caller; written before the fork.
inherited: dict[int, Callable[..., Any]] = {}


def _load_task(frame: wire.Frame) -> Callable[..., Any]:
    """Return a function. If it cannot be had, every call fails: return one that says why."""
    if not frame.payload:
        return inherited[frame.key]
    try:
        function: Callable[..., Any] = frame.read(transfer.loads)
    except BaseException as error:
        why = f"the function cannot be read in a worker: {describe(error)}"

        def fail(*arguments: object) -> None:
            raise Untransferable(why)

        return fail
    return function


def _nothing(*arguments: object) -> None:
    """Stand in for the task of a frame that has none."""


def _spreading(function: Callable[..., Any]) -> Callable[[Any], Any]:
    def spread(arguments: tuple[Any, ...]) -> Any:
        return function(*arguments)

    return spread


def _unwrapping(function: Callable[..., Any]) -> Callable[[Any], Any]:
    def unwrap(pickled: bytes) -> Any:
        try:
            arguments = transfer.loads(pickled)
        except BaseException as error:
            why = f"its arguments cannot be read in a worker: {describe(error)}"
            raise Untransferable(str(error) if isinstance(error, Untransferable) else why) from None
        return function(*arguments)

    return unwrap


def flush_streams() -> None:
    """Let out what calls have printed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # none, closed, or replaced by a call: not ours to judge


def leave(code: int) -> None:
    """End this process now: the caller is gone or has said so, or a fault of ours came up."""
    os._exit(code)


def run_worker(threads: int, descriptors: list[int]) -> None:
    """Serve batches, as a process forked or executed for it, until told to stop."""
    signal(SIGINT, ignore)
    signal(SIGTERM, ignore)
    data_fd, control_fd, life_fd, marks_fd = descriptors
    die_with(life_fd)
    marks = memoryview(mmap.mmap(marks_fd, 0)).cast("Q")  # all of it
    os.close(marks_fd)
    data = socket(AF_UNIX, SOCK_STREAM, 0, data_fd)
    control = socket(AF_UNIX, SOCK_STREAM, 0, control_fd)
    work(data, control, marks, threads, os.getpid())
    import atexit

    atexit._run_exitfuncs()
    flush_streams()


def ignore(signum: int, frame: object) -> None:
    """Do nothing. A handler, not SIG_IGN, because that would be inherited by what calls start."""


def die_with(life: int) -> None:
    """Ask the kernel for SIGKILL as soon as the other end of the pipe is closed.

    It arrives within milliseconds even inside C code that holds the GIL. Not PR_SET_PDEATHSIG,
    which fires when the *thread* that forked ends. Where the kernel cannot do it, the reporter
    thread notices the end of the control socket instead, as soon as it gets the GIL.
    """
    import fcntl

    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life, fcntl.F_SETSIG, SIGKILL)
        flags = fcntl.fcntl(life, fcntl.F_GETFL)
        fcntl.fcntl(life, fcntl.F_SETFL, flags | os.O_ASYNC)
        poll = select.poll()  # not `select.select`, which ends at descriptor 1024
        poll.register(life, select.POLLIN)
        if poll.poll(0):
            leave(0)  # closed before we asked


def _report(control: socket, intake: Intake, runners: list[Runner]) -> None:
    """Answer recalls until the caller is gone; then end the worker, whatever it is doing."""
    with _LeavingOnFault():
        while True:
            try:
                request = control.recv(wire.RECALL.size, MSG_WAITALL)
            except OSError:
                request = b""
            if len(request) < wire.RECALL.size:
                leave(0)
            intake.recall(wire.RECALL.unpack(request)[0], runners)


def work(data: socket, control: socket, marks: memoryview, threads: int, pid: int) -> None:
    """Serve batches until the caller closes its sending direction; returns when all are done."""
    outbox = Outbox(data)
    exchange = Exchange(transfer.to_caller, lambda: surroundings.arena_limit, outbox.announce)
    intake = Intake(data, outbox, exchange, pid)
    runners = [Runner(outbox, exchange, marks, slot) for slot in range(threads)]

    def let_go() -> None:
        data.close()
        control.close()

    # A process that a call forks is no worker. It must not hold the sockets open, and if it comes
    # back into this loop, its first attempt to send ends it.
    os.register_at_fork(after_in_child=let_go)
    _give_signals_back_to_children()
    start_new_thread(_report, (control, intake, runners))
    finished = []

    def serve(runner: Runner) -> None:
        while intake.next(runner):
            runner.run()
            with intake.lock:
                runner.batch = 0

    for runner in runners[1:]:
        gone = allocate_lock()
        gone.acquire()
        finished.append(gone)
        start_new_thread(_serve_then_release, (serve, runner, gone))
    serve(runners[0])
    for gone in finished:
        gone.acquire()


def _give_signals_back_to_children() -> None:
    """Have processes that calls fork end by the signals that this one leaves to the caller.

    They are blocked until the child has its own handlers: one that comes at once would be taken
    for the worker's, and lost.
    """
    masks: dict[int, set[int]] = {}  # by thread: each adds and takes out its own

    def block() -> None:
        masks[get_ident()] = pthread_sigmask(SIG_BLOCK, [SIGINT, SIGTERM])

    def unblock() -> None:
        pthread_sigmask(SIG_SETMASK, masks.pop(get_ident()))

    def be_none_of_ours() -> None:
        for number, handler in (SIGTERM, SIG_DFL), (SIGINT, default_int_handler):
            if getsignal(number) is ignore:  # not another that a call has set
                signal(number, handler)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=be_none_of_ours)


def _serve_then_release(serve: Callable[[Runner], None], runner: Runner, gone: Any) -> None:
    with _LeavingOnFault():
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
