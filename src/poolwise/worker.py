"""`Worker`: one thread or one process for one call, behind one interface."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, Literal, Protocol, TypeVar

from _poolwise_worker import single, sockets, transfer
from _poolwise_worker.descriptors import Parcel, collecting, providing
from poolwise.errors import PlanRefused, TransferError, WorkerCrashed
from poolwise.ipc.slices import slices
from poolwise.mechanisms.interpreter import interpreter
from poolwise.mechanisms.receive import error_of
from poolwise.task import Exit, Refusal
from poolwise.units import Seconds

T = TypeVar("T")

_numbers = itertools.count(1)


class Worker(Generic[T]):
    """One thread or process that makes one call; the interface is the same.

    A process is a new program: it does not import the main module, and functions of that go to it
    by value. It lives no longer than this process.

    Args:
        target: What is called, in a process in its main thread.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        mechanism: ``"thread"`` or ``"process"``.
        name: What to call it; chosen if ``None``.
        daemon: Whether this process may end without waiting for it (a process is killed then);
            ``None`` for what ``threading.Thread`` would choose.

    Raises:
        TypeError, ValueError: naming the argument that does not fit.
    """

    def __init__(
        self,
        target: Callable[..., T],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        mechanism: Literal["thread", "process"] = "thread",
        name: str | None = None,
        daemon: bool | None = None,
    ) -> None:
        if not callable(target):
            raise TypeError(f"target={target!r}: a callable")
        if mechanism not in _BODIES:
            raise ValueError(f"mechanism={mechanism!r}: one of {', '.join(map(repr, _BODIES))}")
        if not isinstance(args, Iterable) or isinstance(args, str):
            raise TypeError(f"args={args!r}: a tuple of arguments")
        if kwargs is not None and not (
            isinstance(kwargs, Mapping) and all(isinstance(each, str) for each in kwargs)
        ):
            raise TypeError(f"kwargs={kwargs!r}: keyword arguments, such as {{'depth': 3}}")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name={name!r}: a text or None")
        if daemon is not None and not isinstance(daemon, bool):
            raise TypeError(f"daemon={daemon!r}: True, False or None")
        self.name = name or f"Worker-{next(_numbers)}"
        self._mechanism = mechanism
        self._body: _Body = _BODIES[mechanism](_Call(target, tuple(args), dict(kwargs or {})))
        self._watcher = threading.Thread(target=self._watch, name=self.name, daemon=daemon)
        self._started = False
        # Set by the watcher as the last thing that it does. Not `Thread.is_alive`: up to Python
        # 3.12 an exception in `Thread.join`, such as Ctrl-C, has the thread count as ended.
        self._ended = threading.Event()

    def __repr__(self) -> str:
        state = "alive" if self.is_alive() else "ended" if self._started else "not started"
        return f"<poolwise.Worker {self.name}: {self._mechanism}, {state}>"

    def start(self) -> None:
        """Start it.

        Raises:
            OSError: if no process can be started.
            RuntimeError: if it was started before.
            TransferError: if the call cannot be sent to a process.
        """
        if self._started:
            raise RuntimeError(f"{self.name} was started before; a worker makes one call")
        self._body.open()
        self._started = True
        try:
            self._watcher.start()
        except BaseException:
            self._ended.set()  # nobody will
            raise

    def join(self, timeout: Seconds | None = None) -> None:
        """Wait until it has ended, at most `timeout` seconds; it raises nothing of the call.

        Raises:
            RuntimeError: if it was not started.
        """
        self._require_start()
        if any(self._ended.wait(left) for left in slices(timeout)):
            self._watcher.join()

    def is_alive(self) -> bool:
        """Return whether it was started and has not ended."""
        return self._started and not self._ended.is_set()

    def result(self, timeout: Seconds | None = None) -> T:
        """Wait for what the call returns; raise what it raised.

        Args:
            timeout: Seconds to wait at most; ``None`` for ever.

        Raises:
            RuntimeError: if it was not started.
            TimeoutError: if it has not ended in time.
            WorkerCrashed: if its process ended before the call did.
        """
        error = self.exception(timeout)
        if error is not None:
            try:
                raise error
            finally:
                del error
        value: T = self._body.outcome[1]  # type: ignore[index]
        return value

    def exception(self, timeout: Seconds | None = None) -> BaseException | None:
        """Wait for the end; return what the call raised, or ``None``. Raises as `result` does."""
        self.join(timeout)
        if self.is_alive():
            raise TimeoutError(f"{self.name} has not ended after {timeout} s")
        assert self._body.outcome is not None
        ok, value = self._body.outcome
        return None if ok else value

    @property
    def exitcode(self) -> int | None:
        """``None`` before the end; 0 if all was well, 1 if the call raised, ``-N`` by signal N."""
        if not self._started or self.is_alive():
            return None
        return self._body.exitcode

    @property
    def pid(self) -> int | None:
        """The id of the process that the call runs in; ``None`` before the start."""
        return self._body.pid if self._started else None

    def terminate(self) -> None:
        """Send SIGTERM to its process. Raises as `send_signal` does."""
        self._signal(signal.SIGTERM, "terminate")

    def kill(self) -> None:
        """Send SIGKILL to its process. Raises as `send_signal` does."""
        self._signal(signal.SIGKILL, "kill")

    def send_signal(self, number: int) -> None:
        """Send a signal to its process; nothing happens if that has ended.

        Raises:
            PlanRefused: if it is a thread, which cannot receive any.
            RuntimeError: if it was not started.
        """
        self._signal(number, "send_signal")

    def _watch(self) -> None:
        try:
            self._body.watch()
        finally:
            self._ended.set()

    def _signal(self, number: int, action: str) -> None:
        refusal = self._body.refusal(action)
        if refusal is not None:
            raise PlanRefused(f"{action} of a worker thread", refusal)
        self._require_start()
        self._body.send_signal(number)

    def _require_start(self) -> None:
        if not self._started:
            raise RuntimeError(f"{self.name} was not started")


class _Call:
    """What is to be called."""

    def __init__(
        self, target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.target, self.args, self.kwargs = target, args, kwargs

    @property
    def name(self) -> str:
        name = getattr(self.target, "__qualname__", None)
        return name if isinstance(name, str) else type(self.target).__qualname__


class _Body(Protocol):
    """What differs between a thread and a process.

    `watch` runs in a thread of its own until the call has ended, and leaves `outcome`: whether the
    call returned, and its value or its exception. `Thread.join` hands both over.
    """

    outcome: tuple[bool, Any] | None
    exitcode: int | None
    pid: int

    def open(self) -> None: ...

    def watch(self) -> None: ...

    def refusal(self, action: str) -> Refusal | None: ...

    def send_signal(self, number: int) -> None: ...


class _Thread:
    """The call runs in the watching thread itself."""

    def __init__(self, call: _Call) -> None:
        self._call = call
        self.outcome: tuple[bool, Any] | None = None
        self.exitcode: int | None = None
        self.pid = os.getpid()

    def open(self) -> None:
        """There is nothing to open."""

    def watch(self) -> None:
        call = self._call
        try:
            self.outcome = True, call.target(*call.args, **call.kwargs)
            self.exitcode = 0
        except BaseException as error:
            self.outcome = False, error
            self.exitcode = 1
            raise  # to `threading.excepthook`, as from any thread
        finally:
            del self._call, call

    def refusal(self, action: str) -> Refusal | None:
        return Refusal(
            "a thread receives no signals and cannot be ended from outside; it may hold locks that "
            "others need",
            "mechanism='process' can, or let the call look at a poolwise.Event",
        )

    def send_signal(self, number: int) -> None:
        raise AssertionError("refused")


class _Process:
    """The call runs in a program of its own; the watching thread waits for its outcome."""

    def __init__(self, call: _Call) -> None:
        self._call = call
        self.outcome: tuple[bool, Any] | None = None
        self.exitcode: int | None = None

    def open(self) -> None:
        with Parcel() as parcel:
            payload = self._packed(parcel)
            ours, theirs = sockets.pair()
            life, self._life = os.pipe()
            try:
                self._process = subprocess.Popen(
                    interpreter(single.__name__, theirs.fileno(), life),
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), life],
                )
            except BaseException:
                ours.close()
                os.close(self._life)
                raise
            finally:
                theirs.close()
                os.close(life)
            self.pid = self._process.pid
            self._socket = ours
            with suppress(ConnectionError):  # it has died already; `watch` finds out how
                single.send(ours, payload, parcel.descriptors)

    def _packed(self, parcel: Parcel) -> bytes:
        call = self._call
        path = [entry for entry in sys.path if isinstance(entry, str)]
        with collecting(parcel):
            try:
                packed = transfer.dumps((call.target, call.args, call.kwargs))
            except Exception as error:
                raise TransferError(_culprit_in(call, error)) from error
        return transfer.dumps(((path, [*getattr(sys, "argv", ())]), packed))

    def watch(self) -> None:
        received = single.receive(self._socket)
        status = self._process.wait()
        self._socket.close()
        os.close(self._life)
        self.exitcode = status
        if received is None:
            how = Exit(self.pid, None if status < 0 else status, -status if status < 0 else None)
            self.outcome = False, WorkerCrashed(self._call.name, how, retriable=False)
        else:
            self.outcome = self._read(*received)
        del self._call

    def _read(self, payload: bytearray, descriptors: list[int]) -> tuple[bool, Any]:
        try:
            with providing(descriptors):
                ok, value = transfer.loads(payload)
            if ok:
                return True, value
            return False, error_of(self._call.name, *value)
        except Exception as another:
            why = f"what {self._call.name} returned cannot be read: {transfer.describe(another)}"
            return False, TransferError(why)

    def refusal(self, action: str) -> Refusal | None:
        return None

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)


def _culprit_in(call: _Call, error: Exception) -> str:
    """Say which part of a call kept it from being sent."""
    from _poolwise_worker.culprit import explain

    for value, name in ((call.target, "target"), (call.args, "args"), (call.kwargs, "kwargs")):
        try:
            transfer.dumps(value)
        except Exception as its_own:
            return explain(value, name, its_own)
    return f"{call.name} with its arguments cannot be pickled: {transfer.describe(error)}"


_BODIES: dict[str, Callable[[_Call], _Body]] = {"thread": _Thread, "process": _Process}
