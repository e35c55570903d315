"""The processes that are the parents of workers: starting them, asking them for workers.

Every worker has one of ours for a parent, because a child of the caller's own could be waited for
by the user's ``os.wait()``. There are two kinds, each at most once:

- The *fork* of this process, made while nothing else ran in it (`quiescence`). It has every module
  and every function there is, so its workers are ready in a millisecond or two.
- The *executed* server, a new interpreter, for when this process cannot be forked safely.

Module-level state is guarded by `_lock`. Requests are sent under it, too, so they do not mix.
"""

from __future__ import annotations

import atexit
import marshal
import os
import signal
import sys
import threading
import warnings
from _socket import MSG_DONTWAIT, MSG_PEEK, SHUT_WR, socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Never

from _poolwise_worker import forks, front_door, intake, sockets
from _poolwise_worker.apply import apply
from _poolwise_worker.server import serve_as_fork  # here, for then forks need not import it
from poolwise.mechanisms import worker_ends
from poolwise.mechanisms.definitions import Definitions
from poolwise.mechanisms.interpreter import interpreter
from poolwise.mechanisms.module_state import state_for_fork
from poolwise.mechanisms.quiescence import (
    is_alone,
    is_large,
    is_quiescent,
    threads,
    threads_that_stay,
)
from poolwise.mechanisms.signals import no_signals
from poolwise.mechanisms.surroundings import Surroundings, looks, plain_output
from poolwise.mechanisms.worker_ends import WorkerEnds
from poolwise.task import Task
from poolwise.timing import children
from poolwise.units import Bytes, Seconds

_lock = threading.RLock()


class Server:
    """The caller's side of one server process."""

    #: Whether its workers have what this process had when it was forked.
    is_fork = False

    def __init__(self, pid: int, front: socket) -> None:
        self.pid = pid
        self.wanted = True  # false: no more workers will come of it
        self.is_up = False  # it has started a worker; any owner of a pool sets it, nobody unsets it
        self.output = _output()
        self._front = front
        _servers.append(self)
        children.ours.add(pid)

    def lives(self) -> bool:
        """Whether it still listens."""
        if not self.wanted:
            return False
        try:
            return bool(self._front.recv(1, MSG_PEEK | MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def start_worker(
        self,
        ends: WorkerEnds,
        threads: int,
        *,
        spawn: bool,
        limits: tuple[Seconds, Bytes] | None = None,
    ) -> None:
        """Ask for a worker of so many threads; its keeper tells the rest.

        With `limits` it runs one call at a time, for so long and with so much more memory at most;
        0 is no limit.

        Raises:
            ConnectionError: the server is gone.
            OSError: descriptors cannot be sent.
        """
        kind, rest = front_door.SPAWN if spawn else front_door.FORK, b""
        if limits is not None:
            kind, rest = kind | front_door.GUARDED, front_door.LIMITS.pack(*limits)
        with _lock:
            if not self.wanted:  # another thread has just shut down
                raise ConnectionError("no more workers are wanted of this server")
            request = front_door.REQUEST.pack(kind, threads) + rest
            front_door.send_with(self._front, request, ends.theirs)

    def preload(self, *names: str) -> None:
        """Have it import modules before it forks the next workers; ignored if it is gone."""
        payload = marshal.dumps(list(names))
        with _lock, suppress(OSError):
            self._front.sendall(front_door.REQUEST.pack(front_door.PRELOAD, len(payload)) + payload)

    def dismiss(self) -> None:
        """Want no more workers of it. It ends when the last that it has does."""
        self.wanted = False
        self._ask_no_more()

    def quit(self) -> None:
        """End it and all its workers now. One that is not up may take long to hear of it: it has
        none, and is killed.
        """
        self.wanted = False
        if not self.is_up:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        with suppress(OSError):
            self._front.sendall(front_door.REQUEST.pack(front_door.QUIT, 0))
        self._ask_no_more()
        self.wait()

    def _ask_no_more(self) -> None:
        # By a shutdown: a process that the user has forked while this was being made has a copy of
        # the socket, and the server would not hear of its end before that process ends.
        with suppress(OSError):
            self._front.shutdown(SHUT_WR)
        self._front.close()

    def wait(self) -> None:
        """Wait for its end."""
        self.resume()
        self._wait(0)

    def resume(self) -> None:
        """Have it go on if it was stopped: something is about to be waited for."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def has_ended(self) -> bool:
        """Whether it has, and then it leaves no zombie."""
        return self._wait(os.WNOHANG)

    def _wait(self, options: int) -> bool:
        try:
            ended = os.waitpid(self.pid, options)[0] != 0
        except ChildProcessError:  # somebody waits for children that are not his
            ended = True
        if ended:
            children.ours.discard(self.pid)
        return ended

    def forget(self) -> None:
        """Let go of it in a process that the user forked from this one, which is its parent."""
        self._front.close()


class Fork(Server):
    """A copy of this process as it was at one moment, which has taken on its workers' `share` of
    the machine.

    Each worker has it then, unless it is one of others: to set six variables and tell them to the
    libraries wrote to 56 pages, of some 500 that a worker copies at all.
    """

    is_fork = True

    def __init__(self, tasks: Sequence[Task], share: bytes = b"") -> None:
        self.tasks = {task.id for task in tasks}
        self.surroundings = Surroundings(looks(), share)
        self.definitions = Definitions.now()
        self._streams = sys.stdout, sys.stderr
        ours, theirs = sockets.pair()
        try:
            pid = _fork()
            if not pid:
                _serve(ours, theirs, tasks, share)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        super().__init__(pid, ours)

    def kill(self) -> None:
        """End it at once, before it has any worker."""
        self.wanted = False
        self._front.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def still_equals(self, tasks: Sequence[Task]) -> bool:
        """Whether workers of it would do the same as new forks, once they are told the rest."""
        return (
            self.output == _output()
            and self._streams == (sys.stdout, sys.stderr)
            and self.definitions.hold(tasks)
            and all(
                task.id in self.tasks or state_for_fork(task.function) is not None for task in tasks
            )
        )


def _fork() -> int:
    """Fork, without what Python 3.12 and later say of other threads: `is_alone` judges these."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # none, closed, or not to be written now
            stream.flush()  # or it would come out twice
    if sys.version_info < (3, 12):
        return os.fork()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _serve(ours: socket, theirs: socket, tasks: Sequence[Task], share: bytes) -> Never:
    """Be a server, in the child."""
    import gc

    gc.freeze()  # a collection would touch, and so copy, what this process has of its caller
    try:
        ours.close()
        intake.inherited.update((task.id, task.function) for task in tasks)
        serve_as_fork(theirs.fileno(), plain_output(), share)
    except OSError:  # it may open no files; the caller finds it gone, and starts another
        pass
    except BaseException:
        sys.__excepthook__(*sys.exc_info())
    finally:
        os._exit(1)  # whatever has failed, here is no second caller


def _output() -> tuple[object, ...]:
    """Return where output goes: what calls print must not go elsewhere."""
    return tuple(_place(descriptor) for descriptor in (1, 2))


def _place(descriptor: int) -> object:
    try:
        status = os.fstat(descriptor)
    except OSError:  # closed
        return None
    return status.st_dev, status.st_ino


def _execute() -> Server:
    import subprocess  # as in `interpreter`

    ours, theirs = sockets.pair()
    try:
        command = interpreter("_poolwise_worker.server", theirs.fileno())
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    process.returncode = 0  # waited for here, not when the object goes
    return Server(process.pid, ours)


_fork_of_this: Fork | None = None
_executed: Server | None = None
#: Numbers of threads at which a fork has shown that some are not those of OpenBLAS.
_strangers: set[int] = set()
#: Numbers of threads of which some are not Python's and have not gone when they were waited for.
_stay: set[int] = set()
#: All that may not have ended: in here before anybody has them, and until they were waited for, so
#: that none is lost wherever a handler raises. Those not wanted are waited for now and then.
_servers: list[Server] = []


def server_for(start_method: str | None, tasks: Sequence[Task], share: bytes = b"") -> Server:
    """Return the server for workers that are to run `tasks`. If this process is forked for it, the
    fork takes on their `share` of the machine.

    Raises:
        OSError: no server can be started here.
    """
    global _executed
    with _lock:
        _wait_for_dismissed()
        if start_method == "fork":
            return _forked(tasks, share)
        fork = standing(start_method, tasks)
        if fork is None and _may_be_forks(start_method, tasks):
            fork = _forked_safely(tasks, share)
        if fork is not None:
            return fork
        if _executed is not None and _executed.output != _output():
            _executed.dismiss()
            _executed = None
        if _executed is None:
            with no_signals():  # or nobody might know of it
                _executed = _execute()
        return _executed


def standing(start_method: str | None, tasks: Sequence[Task]) -> Fork | None:
    """Return the fork that `server_for` would return, if there is one already."""
    with _lock:
        fork = _fork_of_this if _may_be_forks(start_method, tasks) else None
        return fork if fork is not None and fork.still_equals(tasks) else None


def _may_be_forks(start_method: str | None, tasks: Sequence[Task]) -> bool:
    # What an executor's calls apply comes later, and may be younger than any fork.
    return start_method is None and all(task.function is not apply for task in tasks)


def _forked(tasks: Sequence[Task], share: bytes) -> Fork:
    global _fork_of_this
    if _fork_of_this is not None:
        if _fork_of_this.still_equals(tasks):
            return _fork_of_this
        _fork_of_this.dismiss()
        _fork_of_this = None
    # A handler that raises would make a child go on as a second caller, and leave a child here of
    # which nobody knows.
    with no_signals():
        _fork_of_this = Fork(tasks, share)
    return _fork_of_this


def _forked_safely(tasks: Sequence[Task], share: bytes) -> Fork | None:
    """Fork if no other thread is there; ``None`` if one is."""
    global _fork_of_this
    count = threads()
    if count not in _stay:
        count = threads_that_stay()
        if count > 1 and threading.active_count() == 1:
            _stay.add(count)
    if count in _strangers or not is_quiescent(count) or is_large():
        return None
    with no_signals():  # nobody may find it before it is known to have been alone
        fork = _forked(tasks, share)
        if is_alone():
            return fork
        _strangers.add(count)
        _fork_of_this = None
        fork.kill()
    return None


def there_is() -> bool:
    """Whether a server runs, as far as is known."""
    return _fork_of_this is not None or _executed is not None


def prepare(tasks: Sequence[Task], share: bytes = b"") -> None:
    """Fork this process now, if that is safe: soon there will be other threads. For `share` see
    `server_for`.
    """
    with _lock:
        if _fork_of_this is None or not _fork_of_this.still_equals(tasks):
            with suppress(OSError):
                _forked_safely(tasks, share)


def lost(server: Server) -> None:
    """Take note that a server is gone: the next worker comes from another."""
    global _fork_of_this, _executed
    with _lock:
        if server is _fork_of_this:
            _fork_of_this = None
        elif server is _executed:
            _executed = None
        else:
            return
        server.dismiss()


def _wait_for_dismissed() -> None:
    _servers[:] = [server for server in _servers if server.wanted or not server.has_ended()]


def dismiss_all() -> None:
    """Want no more workers of any server. Those without workers have ended when this returns."""
    global _fork_of_this, _executed
    with _lock:
        _fork_of_this = _executed = None
        for server in _servers:
            server.dismiss()
        if not worker_ends.there_are():
            while _servers:
                _servers[-1].wait()
                _servers.pop()


def stop() -> None:
    """End all servers and all their workers now. The next pool starts another."""
    global _fork_of_this, _executed
    with _lock:
        _fork_of_this = _executed = None
        for server in _servers:
            if server.wanted:
                server.quit()
        _wait_for_dismissed()


def _after_fork() -> None:
    """In a child of the user's: the servers are the parent's, and so is whoever held the lock."""
    global _lock, _fork_of_this, _executed
    _lock = threading.RLock()
    _fork_of_this = _executed = None
    for server in _servers:
        server.forget()
    _servers.clear()
    children.ours.clear()
    _strangers.clear()
    _stay.clear()


forks.in_child(_after_fork)
atexit.register(stop)
