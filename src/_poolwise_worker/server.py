"""The server: one single-threaded process that is the parent of workers and waits for them.

Forking a process that has several threads can deadlock the child; this process has one thread
for as long as it lives. The caller talks to it through the *front door*, over which requests come
in, each with the descriptors of one worker. One of them is the worker's *keeper*, the socket over
which its pool hears of its start and its end, may have it killed, and by whose closing it is
killed. So a worker may change hands, from one pool to the next, with all that belongs to it.

Servers come about in two ways: executed anew (`main`), or forked from the caller while it has no
other thread (`serve_as_fork`). They are the same from then on.
"""

from __future__ import annotations

import os
import select
import sys
from _signal import (  # type: ignore[import-not-found]  # signal.py imports enum: 2 ms
    SIG_DFL,
    SIG_SETMASK,
    SIG_UNBLOCK,
    SIGCHLD,
    SIGCONT,
    SIGINT,
    SIGKILL,
    SIGTERM,
    getsignal,
    pthread_sigmask,
    set_wakeup_fd,
    signal,
)
from _socket import (
    CMSG_SPACE,
    MSG_DONTWAIT,
    MSG_WAITALL,
    SCM_RIGHTS,
    SOL_SOCKET,
)
from errno import EMFILE
from marshal import loads as unmarshal

from _poolwise_worker import forks, said, script, sockets, transfer
from _poolwise_worker.front_door import (
    DESCRIPTORS,
    ENDED,
    FAILED,
    GUARDED,
    KILL,
    LIMITS,
    PRELOAD,
    QUIT,
    REPLY,
    REQUEST,
    SPAWN,
    STARTED,
)
from _poolwise_worker.lives import die_with
from _poolwise_worker.outbox import leave
from _poolwise_worker.parting import part_from_caller
from _poolwise_worker.worker import ignore, run_worker, saying_what_lacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from _poolwise_worker.guard import Guard

#: Where the life pipe is among the descriptors of a worker, the keeper being the first.
_LIFE = 3


class Server:
    """The state of the server; touched by its one thread only."""

    def __init__(self, front: socket) -> None:
        self._front = front
        self._keepers: dict[int, tuple[socket, int]] = {}  # by descriptor, with the worker's pid
        self._workers: dict[int, int] = {}  # the keeper's descriptor by pid; 0 when it has closed
        self._guards: dict[int, Guard] = {}  # by pid
        self._poll = select.poll()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        #: Held in reserve, so that at least the keeper, which comes first, can be received: over it
        #: the pool hears that this process may open no more.
        self._spare: int | None = os.dup(self._wake_read)

    def serve(self) -> None:
        """Answer requests until the caller is gone, or wants no more and no worker is left."""
        signal(SIGCHLD, ignore)
        # The caller's thread may have blocked it, and what is blocked stays so in its children.
        pthread_sigmask(SIG_UNBLOCK, [SIGCHLD])
        set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._poll.register(self._front.fileno(), select.POLLIN)
        self._poll.register(self._wake_read, select.POLLIN)
        front_open = True
        while front_open or self._workers:
            for descriptor, _ in self._poll.poll(self._look_after()):
                if descriptor == self._wake_read:
                    self._reap()
                elif descriptor in self._keepers:
                    self._hear_keeper(descriptor)
                # What is neither has just been closed here, for another reason.
                elif descriptor == self._front.fileno() and not self._answer():
                    front_open = False
                    self._poll.unregister(self._front.fileno())

    def _look_after(self) -> float | None:
        """Kill guarded workers that must not go on; return when to look again, in milliseconds."""
        if not self._guards:
            return None
        for pid, guard in list(self._guards.items()):
            why = guard.verdict()
            if why:
                # First of all, lest it end this call and begin another. It has not been waited for
                # yet, so the id is its own.
                os.kill(pid, SIGKILL)
                del self._guards[pid]
                descriptor = self._workers[pid]
                if descriptor:
                    _reply(self._keepers[descriptor][0], why, 0)
        patience = min((guard.patience for guard in self._guards.values()), default=None)
        # Rounded up: a look that comes early would be repeated until it is time.
        return None if patience is None else max(0.0, patience) * 1000 + 1

    def _answer(self) -> bool:
        """Answer one request; false if there will be no more."""
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        more = self._answer_with_room()
        try:
            self._spare = os.dup(self._wake_read)
        except OSError:  # somebody has lowered the limit: then not even a keeper can be received
            pass
        return more

    def _answer_with_room(self) -> bool:
        header, descriptors = _receive(self._front, REQUEST.size, DESCRIPTORS)
        if len(header) < REQUEST.size:
            return False
        kind, number = REQUEST.unpack(header)
        limits = None
        if kind & GUARDED:
            payload = _receive_payload(self._front, LIMITS.size)
            limits = LIMITS.unpack(payload)
            kind -= GUARDED
        if kind == PRELOAD:
            payload = _receive_payload(self._front, number)
            if len(payload) == number:
                _preload(unmarshal(payload))
        elif kind == QUIT:
            for keeper in list(self._keepers):
                self._close_keeper(keeper)
        elif len(descriptors) == DESCRIPTORS:
            self._start(kind, number, descriptors, limits)
        else:  # this process may open no more
            for keeper in descriptors[:1]:
                _fail(sockets.of(keeper), EMFILE)
            for each in descriptors[1:]:
                os.close(each)
        return True

    def _start(
        self,
        kind: int,
        threads: int,
        descriptors: list[int],
        limits: tuple[float, int] | None,
    ) -> None:
        keeper = sockets.of(descriptors[0])
        try:
            guard = None if limits is None else _guard(descriptors[-1], *limits)
            pid = forks.fork_again()
        except OSError as error:
            _fail(keeper, error.errno or 0)
        else:
            if pid == 0:
                keeper.close()
                self._become_worker(kind, threads, descriptors[1:], guarded=limits is not None)
            self._workers[pid] = keeper.fileno()
            self._keepers[keeper.fileno()] = keeper, pid
            self._poll.register(keeper.fileno(), select.POLLIN)
            if guard is not None:
                guard.pid = pid
                self._guards[pid] = guard
            try:
                die_with(descriptors[_LIFE], pid)  # not waited for yet, so the id is its own
            except OSError:
                pass  # its reporter notices the end of the caller, if later
            _reply(keeper, STARTED, pid)
        for descriptor in descriptors[1:]:
            os.close(descriptor)

    def _become_worker(
        self, kind: int, threads: int, descriptors: list[int], *, guarded: bool
    ) -> None:
        """Turn this forked child into a worker. Never returns."""
        code = 1
        try:
            set_wakeup_fd(-1)
            signal(SIGCHLD, SIG_DFL)
            self._front.close()
            for keeper, _ in self._keepers.values():
                keeper.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            if kind == SPAWN:
                with saying_what_lacks(descriptors[0]):
                    _execute(threads, descriptors, guarded=guarded)
            _renew_random_streams()
            if getsignal(SIGINT) is not ignore or getsignal(SIGTERM) is not ignore:
                _handle_signals()  # a hook of the program's, or of a worker that this comes from
            run_worker(threads, descriptors, guarded=guarded)
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            leave(code)

    def _hear_keeper(self, descriptor: int) -> None:
        """Kill the worker, because its pool has said so or is gone; or have it go on."""
        keeper, pid = self._keepers[descriptor]
        try:
            said = keeper.recv(64, MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            said = b""
        if said:
            os.kill(pid, SIGKILL if KILL in said else SIGCONT)
        else:
            self._close_keeper(descriptor)

    def _close_keeper(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        keeper, pid = self._keepers.pop(descriptor)
        keeper.close()
        os.kill(pid, SIGKILL)  # not waited for yet, so the id is its own
        self._workers[pid] = 0

    def _reap(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if not pid:
                return
            if os.WIFSTOPPED(status) or os.WIFCONTINUED(status):
                if pid in self._guards:
                    self._guards[pid].note_stopped(os.WIFSTOPPED(status))
                continue
            self._guards.pop(pid, None)
            descriptor = self._workers.pop(pid, 0)
            if descriptor:
                self._poll.unregister(descriptor)
                keeper, _ = self._keepers.pop(descriptor)
                _reply(keeper, ENDED, status)
                keeper.close()


def _guard(marks: int, seconds: float, most: int) -> Guard:
    from _poolwise_worker.guard import Guard  # few workers have any

    return Guard(marks, seconds, most)


def _fail(keeper: socket, number: int) -> None:
    """Tell the pool that there will be no worker, and why."""
    _reply(keeper, FAILED, number)
    keeper.close()


def _reply(keeper: socket, kind: int, value: int) -> None:
    """Tell the pool. Never blocks: a keeper carries three replies in all, and they fit."""
    try:
        keeper.send(REPLY.pack(kind, value), MSG_DONTWAIT)
    except OSError:
        pass  # the pool is gone


def _preload(names: list[str]) -> None:
    """Import modules that every worker would import otherwise, each for itself.

    Only such as start no thread: this process has to stay single-threaded.
    """
    import gc

    for name in names:
        try:
            __import__(name)
        except Exception:
            pass  # the worker that needs it will say so
    gc.freeze()  # a collection in a child must not touch, and so copy, what it shares


def _receive(sock: socket, size: int, descriptors: int) -> tuple[bytes, list[int]]:
    """Receive exactly `size` bytes with the descriptors that came along; less at the end."""
    try:
        data, ancillary, _, _ = sock.recvmsg(size, CMSG_SPACE(4 * descriptors), MSG_WAITALL)
    except ConnectionError:  # the other side closed it, and had not read everything
        return b"", []
    received: list[int] = []
    for level, kind, content in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            received += memoryview(content).cast("i").tolist()
    for descriptor in received:
        os.set_inheritable(descriptor, False)  # programs that calls start must not hold them open
    return data, received


def _receive_payload(sock: socket, size: int) -> bytearray:
    """Receive exactly `size` bytes; less at the end."""
    payload = bytearray()
    # Not one call: a signal, such as a child's end, cuts MSG_WAITALL short.
    while len(payload) < size:
        try:
            more = sock.recv(size - len(payload))
        except ConnectionError:
            break
        if not more:
            break
        payload += more
    return payload


def _renew_random_streams() -> None:
    """Give this fork random numbers of its own. Python's reseed themselves, NumPy's do not."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()


def _execute(threads: int, descriptors: list[int], *, guarded: bool) -> None:
    """Become a worker that shares nothing with this process, not even memory."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(os.path.dirname(__file__))!r}); "
        f"from _poolwise_worker.server import be_worker; "
        f"be_worker({threads}, {descriptors}, guarded={guarded})"
    )
    # The same interpreter with the same flags as this one, which was executed just so.
    os.execv(sys.executable, [*sys.orig_argv[:-1], code])


def be_worker(threads: int, descriptors: list[int], *, guarded: bool) -> None:
    """Be a worker in an interpreter of its own."""
    _handle_signals()
    script.have_both_names()
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    code = 1
    try:
        run_worker(threads, descriptors, guarded=guarded)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        leave(code)


def _handle_signals() -> None:
    """Leave both to the caller. Workers that are forked have these handlers from their server."""
    signal(SIGINT, ignore)
    signal(SIGTERM, ignore)


def main(front_fd: int) -> None:
    """Run the server in an interpreter of its own, on the front door that the caller opened."""
    _handle_signals()
    pthread_sigmask(SIG_SETMASK, [])  # the caller has blocked all
    front_fd = _above_standard(front_fd)
    script.have_both_names()
    # What every worker needs for its first task.
    _preload(["warnings", "_poolwise_worker.apply", "_poolwise_worker.state"])
    said.stand_between()
    _serve(front_fd)


def _above_standard(descriptor: int) -> int:
    """Have something at 0, 1 and 2, if the caller has closed them: otherwise what calls print would
    go to whatever was opened there next. Return what `descriptor` is from now on.
    """
    import fcntl

    above = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free
    return above


def _serve(front_fd: int) -> None:
    front = sockets.of(front_fd)
    try:
        Server(front).serve()
    finally:
        front.close()


def serve_as_fork(front_fd: int, plain_output: tuple[bool, bool], share: bytes) -> None:
    """Run the server in a process that was just forked from the caller. Never returns. Workers have
    such a `share` of the machine, if one is given.
    """
    from _poolwise_worker import surroundings

    code = 1
    try:
        set_wakeup_fd(-1)
        front_fd = _above_standard(front_fd)
        part_from_caller(keep={front_fd})
        _handle_signals()
        pthread_sigmask(SIG_SETMASK, [])  # the caller has blocked all
        surroundings.begin_as_fork(plain_output)
        if share:
            surroundings.take_part(share)
        said.stand_between()
        transfer.to_caller = transfer.BETWEEN_FORKS
        _serve(front_fd)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        leave(code)
