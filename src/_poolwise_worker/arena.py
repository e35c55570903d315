"""Memory through which large buffers travel from one process to another, without a socket.

An arena is an anonymous file that both map; one process writes, the other reads. The `Writer`
places bytes in a slot and says where in a message of its own; the `Reader` makes a view of that
place, with no copy. It maps the file privately: what it writes through a view, it alone sees.

**Arena law.** A slot is written again only when the last view of it in the reader is dead, and the
reader has said so. Views that outlive the reader, the pool, or the process at the other end stay
as they are.

Rejected: a named block, which someone has to unlink even if everyone is killed; a ring buffer,
which one result that is kept would block for ever; `posix_fallocate` before a copy through the
mapping, which takes twice as long as `pwrite` on pages that do not exist yet.
"""

from __future__ import annotations

import atexit
import mmap
import os
import sys
from _struct import Struct
from _thread import allocate_lock
from _weakref import ref
from collections import deque
from itertools import count

from _poolwise_worker.slots import Slots, pages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

#: How released slots travel: each offset as so many bytes.
_OFFSET = Struct("<Q")

#: Where a private page that was written can be dropped, so that the file shows through again, and
#: where pages can be taken out of a file. Elsewhere `Reader.view` returns copies.
_LINUX = hasattr(mmap, "MADV_DONTNEED") and hasattr(mmap, "MADV_REMOVE")

#: From this size on, in bytes, it pays to look which pages were written.
_LOOK_FROM = 1 << 17

#: In the highest byte of an entry of /proc/self/pagemap: present, swapped, of a file; and what these
#: may be where nothing was written: all clear, or present and of the file.
_KIND = 0xE0
_CLEAN = {0x00, 0xA0}

#: Types of ctypes arrays that are remembered; making one takes as long as copying 100 KB.
_KINDS = 256


def create(limit: int) -> int:
    """Return the descriptor of a new arena of at most `limit` bytes; none of them exist yet.

    It has no name, so nothing is left of it when the last process that has it is gone, however
    that ends.

    Raises:
        ValueError: `limit` is less than a page.
        OSError: the system has no memory or no descriptor for it.
    """
    size = limit // mmap.PAGESIZE * mmap.PAGESIZE
    if size <= 0:
        raise ValueError(
            f"an arena of {limit} bytes was asked for; "
            f"give it at least a page, {mmap.PAGESIZE} bytes, or use none"
        )
    descriptor = _anonymous_file()
    try:
        os.ftruncate(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("poolwise")
    import tempfile

    descriptor, path = tempfile.mkstemp(prefix="poolwise-")
    os.unlink(path)
    return descriptor


# ---- forks ------------------------------------------------------------------------------------------
#
# A process that user code forks has the same views, of the same pages. Who forks does not know when
# they die there, so what is live at a fork is never written again; and the child, which shares the
# arena by accident, neither writes to it nor gives anything back.

#: Every writer and reader that is not closed, and every closed reader with views. Changed and copied
#: by single operations, which are atomic.
_open: set[Writer | Reader] = set()

#: One entry for each fork under way, in whichever thread.
_forking: list[None] = []

#: Views made in another epoch than the present may live in a child too. Each number is current
#: once, so it does not matter in which order two threads that fork at once write it.
_epochs = count(1)
_epoch = 0


def _before_fork() -> None:
    for each in list(_open):
        each._settle()  # what is dead already is not live at this fork
    _forking.append(None)


def _after_fork_in_parent() -> None:
    global _epoch
    _epoch = next(_epochs)  # first: views that were made while the fork was under way are older
    _forking.pop()


def _let_go() -> None:
    for each in list(_open):
        each._foreign = True
    _open.clear()


def _after_fork_in_child() -> None:
    _forking.clear()
    _let_go()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
# What dies after that has nobody to tell, and might find this module taken apart.
atexit.register(_let_go)


# ---- writing ----------------------------------------------------------------------------------------


class Writer:
    """The end that writes. Any thread may call anything; `_lock` guards the slots.

    Copying happens outside of the lock: a slot that is taken is nobody else's.
    """

    def __init__(self, descriptor: int) -> None:
        """Map the arena and take over the descriptor.

        Raises:
            OSError: there is no room for it in this process.
        """
        self._descriptor = descriptor
        size = os.fstat(descriptor).st_size
        self._mapping = mmap.mmap(descriptor, size)
        self._slots = Slots(size)
        self._lock = allocate_lock()
        self._closed = False
        self._foreign = False  # in a forked child
        #: Whether the last message had something large, so that the next is expected to have. Any
        #: thread may change it: a wrong guess costs time, nothing else.
        self.large = False
        _open.add(self)

    def place(self, parts: Sequence[bytes | bytearray | memoryview], size: int) -> int | None:
        """Copy `parts`, `size` bytes in all, one after the other into a slot; return its offset.

        ``None``: there is no room, in the arena or in memory; send them in another way.
        """
        if self._closed or self._foreign:
            return None
        with self._lock:
            taken = self._slots.take(size)
        if taken is None:
            return None
        offset, warm = taken
        try:
            self._fill(parts, offset, offset + warm)
        except OSError:  # there is no memory for new pages
            with self._lock:
                self._slots.give(offset, written=False)
            return None
        except BaseException:
            with self._lock:
                self._slots.give(offset, written=False)
            raise
        return offset

    def _fill(
        self, parts: Sequence[bytes | bytearray | memoryview], position: int, warm: int
    ) -> None:
        """Write to pages that exist through the mapping, and have `pwrite` make the others.

        `pwrite` neither clears a page before it fills it nor faults, so it is twice as fast there;
        and where there is no memory, it says so instead of killing the process (SIGBUS).
        """
        for part in parts:
            size = len(part)
            mapped = min(size, max(0, warm - position))
            if mapped:
                self._mapping[position : position + mapped] = (
                    part if mapped == size else memoryview(part)[:mapped]
                )
            while mapped < size:
                mapped += os.pwrite(
                    self._descriptor, memoryview(part)[mapped:], position + mapped
                )
            position += size

    def free(self, released: bytes | bytearray | memoryview) -> None:
        """Take back what `Reader.released` returned at the other end.

        Raises:
            KeyError: something in it was not taken.
        """
        self.take_back(offset for (offset,) in _OFFSET.iter_unpack(released))

    def take_back(self, offsets: Iterable[int]) -> None:
        """Take back slots that the reader has never heard of.

        Raises:
            KeyError: one of them was not taken.
        """
        if self._closed or self._foreign:
            return  # and in a forked child, the lock may be held by nobody who is there
        with self._lock:
            for offset in offsets:
                self._slots.give(offset)

    def trim(self) -> None:
        """Give the pages of everything that is free back to the system.

        For when nothing was sent for a while: pages that have to be made again cost several times
        what it takes to write them.
        """
        if not _LINUX or self._closed or self._foreign:
            return
        with self._lock:  # the copying included: who takes such a slot next makes new pages
            for offset, length in self._slots.trim():
                self._mapping.madvise(mmap.MADV_REMOVE, offset, length)

    def close(self) -> None:
        """Let go of the arena; a second call does nothing. What the reader has stays."""
        if not self._closed:
            self._closed = True
            _open.discard(self)
            self._mapping.close()
            os.close(self._descriptor)

    def _settle(self) -> None:
        """Do nothing: a writer has no views."""


# ---- reading ----------------------------------------------------------------------------------------


class _Watch(ref):  # type: ignore[type-arg]
    """Tells of the death of a view, and knows where it was.

    NumPy and others keep a memoryview that they derive from the one they are given, so what is
    watched is what stands behind all of them: an object that exports its memory, `outer`. It takes
    its memory from `inner`, which has no other user. A weak reference alone would not do: in a
    cycle of garbage it is told *before* the finalisers run, which may still look at the view, or
    bring it back to life. Only when `inner` has no user left, `outer` is gone.
    """

    __slots__ = ("epoch", "inner", "offset", "reader", "size", "writable")

    inner: Any
    offset: int
    size: int
    epoch: int
    writable: bool
    reader: Reader


def _users(watch: _Watch) -> int:
    return sys.getrefcount(watch.inner)


def _users_when_dead() -> int:
    watch = _Watch(_Watch)
    watch.inner = object()
    return _users(watch)


_DEAD = _users_when_dead()


def _has_private_pages(watch: _Watch) -> bool:
    """Tell whether something was written through a view; true if that cannot be known.

    Looking costs a tenth of dropping the pages and faulting them in again, which is the larger part
    of what it costs to read a slot (8 MB: 70 µs, 130 µs, 600 µs).
    """
    if watch.size < _LOOK_FROM:
        return True
    from ctypes import addressof

    number = pages(watch.size) // mmap.PAGESIZE
    try:
        # Opened each time: it shows the process that opened it, and a pool has many workers.
        descriptor = os.open("/proc/self/pagemap", os.O_RDONLY)
        try:
            entries = os.pread(
                descriptor, 8 * number, addressof(watch.inner) // mmap.PAGESIZE * 8
            )
        finally:
            os.close(descriptor)
    except OSError:
        return True
    highest = set(entries[7::8] if sys.byteorder == "little" else entries[::8])
    return len(entries) < 8 * number or not {each & _KIND for each in highest} <= _CLEAN


def _died(watch: _Watch) -> None:
    """Note a death: called in any thread, at any moment, also within a garbage collection.

    So it takes no lock: appending to a deque is atomic.
    """
    reader = watch.reader
    if not reader._foreign:
        reader._dying.append(watch)
        if reader._closed:
            reader._settle()


class Reader:
    """The end that reads. Any thread may call anything but `close`, which the owner calls.

    Nothing here has a lock, because views die anywhere, also while this thread is inside. Each
    container is changed by operations that are atomic, and each death is handled by the one that
    took it from `_dying`.
    """

    def __init__(self, descriptor: int) -> None:
        """Map the arena and take over the descriptor."""
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._mapping = _private_mapping(descriptor, self._size)
        self._char: Any = None  # ctypes.c_char, once it is needed
        self._kinds: dict[int, Any] = {}
        self._live: dict[int, _Watch] = {}  # by offset
        self._dying: deque[_Watch] = deque()
        self._released: deque[int] = deque()  # offsets of which the writer has not heard
        self._retired: deque[tuple[int, int]] = deque()  # offset, size: a forked child may see it
        self._shared: mmap.mmap | None = None  # once closed: to give pages back
        self._closed = False
        self._foreign = False  # in a forked child, or at the end of the interpreter
        _open.add(self)

    def view(self, offset: int, size: int, *, readonly: bool = False) -> memoryview:
        """Return a view of what the writer has placed there.

        It may be written, unless it is `readonly`; nobody else sees that. The slot is released
        when the view is dead, and all that was derived from it. Where no view can be had, it is a
        copy.
        """
        kind = self._kind(size)
        if kind is None:
            copy = self._copy(offset, size)
            self._released.append(offset)
            return copy.toreadonly() if readonly else copy
        inner = kind.from_buffer(self._mapping, offset)
        outer = kind.from_buffer(inner)
        watch = _Watch(outer, _died)
        watch.inner, watch.offset, watch.size = inner, offset, size
        watch.epoch, watch.writable, watch.reader = _epoch, not readonly, self
        self._live[offset] = watch
        view = memoryview(outer).cast("B")
        return view.toreadonly() if readonly else view

    def _kind(self, size: int) -> Any:
        if self._mapping is None:
            return None
        kind = self._kinds.get(size)
        if kind is None:
            if self._char is None:
                try:
                    from ctypes import c_char  # 4 ms, which only large buffers pay
                except ImportError:  # a Python built without
                    self._mapping = None
                    return None
                self._char = c_char
            if len(self._kinds) >= _KINDS:
                self._kinds.clear()
            kind = self._kinds[size] = self._char * size
        return kind

    def _copy(self, offset: int, size: int) -> memoryview:
        copy = memoryview(bytearray(size))
        done = 0
        while done < size:
            # Into, and not a `pread` of its own: what that returns could not be written.
            got = os.preadv(self._descriptor, [copy[done:]], offset + done)
            if not got:
                raise OSError(f"the arena ends within a slot of {size} bytes at {offset}")
            done += got
        return copy

    def borrow(self, offset: int, size: int) -> memoryview:
        """Return a read-only view that is not watched: release it, then `discard` the slot."""
        if self._mapping is None:
            return self._copy(offset, size).toreadonly()
        return memoryview(self._mapping)[offset : offset + size].toreadonly()

    def discard(self, offsets: Iterable[int]) -> None:
        """Release slots of which no view was made, or only a borrowed one that is released."""
        self._released.extend(offsets)

    def released(self) -> bytes:
        """Return what the writer may use again, for `Writer.free`; each slot once.

        It is for the other end, so it must reach it, or this end must be closed. Cheap if nothing
        has died.
        """
        if self._dying:
            self._settle()
        if not self._released or self._foreign:
            return b""
        packed = bytearray()
        try:
            while True:
                packed += _OFFSET.pack(self._released.popleft())
        except IndexError:
            return bytes(packed)

    def _settle(self) -> None:
        """Release the slots whose views are dead; those still dying stay for the next time."""
        for _ in range(len(self._dying)):
            try:
                watch = self._dying.popleft()
            except IndexError:  # another thread, or a collection within this one, took it
                break
            if _users(watch) > _DEAD:
                self._dying.append(watch)
                continue
            del self._live[watch.offset]
            self._give_up(watch)
        if self._closed and len(self._live) <= len(self._dying):
            # The last is on its way out, with it goes the memory.
            _open.discard(self)
            self._live.clear()
            self._dying.clear()
            self._shared = None

    def _give_up(self, watch: _Watch) -> None:
        if self._foreign:
            return
        if _forking or watch.epoch != _epoch:
            self._retired.append((watch.offset, watch.size))
        elif self._closed:
            shared = self._shared
            if shared is not None:
                shared.madvise(mmap.MADV_REMOVE, watch.offset, pages(watch.size))
        else:
            if watch.writable and self._mapping is not None and _has_private_pages(watch):
                # Now, not when the slot comes again: what was written is private memory, and would
                # stay for as long. Whoever views the slot next sees the file, not these pages.
                self._mapping.madvise(mmap.MADV_DONTNEED, watch.offset, pages(watch.size))
            self._released.append(watch.offset)

    def close(self) -> None:
        """Let go of the arena; a second call does nothing. Views stay as they are.

        Nobody hears any more of what dies, so its pages are given back right here: one view that
        is kept must not keep a whole arena in memory. The writer must have ended.
        """
        if self._closed:
            return
        self._settle()
        if self._live and _LINUX and not self._foreign:
            try:
                self._shared = mmap.mmap(self._descriptor, self._size)
            except OSError:
                pass  # no room for another mapping; then all pages stay until the last view dies
        self._closed = True
        if self._shared is not None:
            self._empty_gaps(self._shared)
        os.close(self._descriptor)
        self._descriptor, self._mapping = -1, None
        self._settle()

    def _empty_gaps(self, shared: mmap.mmap) -> None:
        # A view that dies meanwhile gives up its pages itself.
        kept = [(watch.offset, watch.size) for watch in list(self._live.values())]
        end = 0
        for offset, size in [*sorted([*kept, *self._retired]), (self._size, 0)]:
            if offset > end:
                shared.madvise(mmap.MADV_REMOVE, end, offset - end)
            end = offset + pages(size)


def _private_mapping(descriptor: int, size: int) -> mmap.mmap | None:
    """Map a file so that what is written is seen by nobody else; ``None`` where that cannot be.

    Without reserving memory for each page that might be written, because few are.
    """
    if not _LINUX:
        return None
    flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0)
    try:
        return mmap.mmap(descriptor, size, flags, mmap.PROT_READ | mmap.PROT_WRITE)
    except OSError:  # this process may map no more
        return None
