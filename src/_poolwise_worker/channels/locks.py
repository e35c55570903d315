"""`Lock` and `RLock`: between threads and between processes, and let go when the holder dies."""

from __future__ import annotations

from _thread import get_native_id
from time import monotonic, sleep

from _poolwise_worker import descriptors, timeouts
from _poolwise_worker.channels.memory import Memory
from _poolwise_worker.channels.mutex import DIED, HOLDER, OWN, Mutex, trylock, unlock
from _poolwise_worker.errors import OwnerDied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class _RobustLock:
    """What both locks share: a mutex at the start of a page of its own, born shared.

    A handle is what a process has of it; pickling one makes another, never another lock.
    """

    __slots__ = ("__weakref__", "_at", "_memory", "_mutex")

    _recursive: ClassVar[bool]

    def __init__(self) -> None:
        self._attach(Memory.of_size(4096))
        self._mutex.create(recursive=self._recursive)

    def _attach(self, memory: Memory) -> None:
        self._memory = memory
        self._mutex = Mutex(memory, 0)
        self._at = self._mutex.at

    def __reduce__(self) -> tuple[Any, ...]:
        descriptors.require_carrier(self)
        return _arrived, (type(self), descriptors.carry(self._memory.descriptor))

    def locked(self) -> bool:
        """Return whether a thread of any process holds it."""
        return self._mutex.held

    def __repr__(self) -> str:
        state = "locked" if self.locked() else "unlocked"
        return f"<poolwise.{type(self).__name__} {state} at {id(self):#x}>"

    def _judge(self, code: int) -> bool:
        """Turn the outcome of a wait into what `acquire` returns or raises."""
        if not code:
            return True
        if code == DIED:
            name = type(self).__name__
            raise OwnerDied(
                f"the thread or process that held this {name} ended without releasing it; what it "
                f"guards may be half changed. The {name} is free again"
            )
        return False

    def release(self) -> None:
        """Let it go.

        Raises:
            RuntimeError: if this thread does not hold it. Unlike a ``threading.Lock``, one that is
                let go when its holder dies belongs to the thread that acquired it; a `Semaphore`
                may be released by anyone.
        """
        if unlock(self._at):
            raise RuntimeError(
                f"release of a {type(self).__name__} that this thread does not hold"
                + (": another thread does" if self.locked() else "")
            )


class Lock(_RobustLock):
    """A ``threading.Lock`` that also works between processes, and survives the death of its holder.

    It belongs to the thread that acquired it. If that thread or its process ends without
    releasing it, those who wait get `OwnerDied`, or if nobody does the next who acquires; then
    the lock is free again. It may be passed to workers at any time, locked or not.

    Raises:
        NotImplementedError: if this system is not Linux.
    """

    __slots__ = ()
    _recursive = False

    def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Take it; return whether it was had.

        Args:
            blocking: Whether to wait while another thread holds it.
            timeout: Seconds to wait at most; -1 or ``None`` for ever.

        Raises:
            OwnerDied: if its holder died; then it is free.
            RuntimeError: if this thread holds it and would wait for itself for ever.
        """
        until = None
        if blocking is not True or timeout != -1:
            until = timeouts.acquiring(blocking, timeout)
        try:
            code = trylock(self._at)
            if not code:
                return True
            code = self._mutex.settle(code, until)
        except BaseException:  # of a signal handler; it may have come just after the lock did
            unlock(self._at)  # refused if it had not
            raise
        if code == OWN:
            return self._wait_for_oneself(until)
        return self._judge(code)

    def __enter__(self, trylock: Any = trylock) -> bool:
        try:
            code = trylock(self._at)
            if not code:
                return True
            code = self._mutex.settle(code, None)
        except BaseException:  # as in `acquire`
            unlock(self._at)
            raise
        if code == OWN:
            return self._wait_for_oneself(None)
        return self._judge(code)

    def __exit__(self, *_: object, unlock: Any = unlock) -> None:
        if unlock(self._at):
            self.release()

    def _wait_for_oneself(self, until: float | None) -> bool:
        if until is None:
            raise RuntimeError(
                "this thread holds the Lock already and would wait for itself for ever; "
                "an RLock can be acquired again"
            )
        sleep(max(0.0, until - monotonic()))
        return False

    def _is_owned(self) -> bool:
        return self._mutex.held_by(get_native_id())

    def _release_save(self) -> int:
        self.release()
        return 1

    def _acquire_restore(self, depth: int) -> None:
        self.acquire()


class RLock(_RobustLock):
    """A ``threading.RLock`` that also works between processes, and survives its holder's death.

    The thread that holds it, in its process, may acquire it again; it is free after as many
    releases. For the rest it is like `Lock`.

    Raises:
        NotImplementedError: if this system is not Linux.
    """

    __slots__ = ()
    _recursive = True

    def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Take it, once more if this thread holds it; return whether it was had.

        Args:
            blocking: Whether to wait while another thread holds it.
            timeout: Seconds to wait at most; -1 or ``None`` for ever.

        Raises:
            OwnerDied: if its holder died; then it is free.
        """
        until = None
        if blocking is not True or timeout != -1:
            until = timeouts.acquiring(blocking, timeout)
        return self.__enter__(until)

    def __enter__(self, until: float | None = None, trylock: Any = trylock) -> bool:
        words = self._mutex.words
        holder, depth = words[0], words[1]
        try:
            code = trylock(self._at)
            if not code:
                return True
            code = self._mutex.settle(code, until)
        except BaseException:  # of a signal handler; it may have come just after the lock did
            self._undo(holder, depth)
            raise
        return self._judge(code)

    def __exit__(self, *_: object, unlock: Any = unlock) -> None:
        if unlock(self._at):
            self.release()

    def _undo(self, holder: int, depth: int) -> None:
        """Let go of what an interrupted attempt got, given the words of the mutex before it."""
        me = get_native_id()
        if self._mutex.held_by(me) and (holder & HOLDER != me or self._mutex.depth > depth):
            unlock(self._at)

    def _depth(self) -> int:
        return self._mutex.depth if self._mutex.held_by(get_native_id()) else 0

    def _is_owned(self) -> bool:
        return self._mutex.held_by(get_native_id())

    def _release_save(self) -> int:
        depth = self._depth()
        for _ in range(depth or 1):
            self.release()
        return depth

    def _acquire_restore(self, depth: int) -> None:
        for _ in range(depth):
            self.acquire()


def _arrived(cls: type[_RobustLock], token: descriptors.Token) -> _RobustLock:
    lock = cls.__new__(cls)
    lock._attach(Memory(descriptors.claim(token)))
    return lock
