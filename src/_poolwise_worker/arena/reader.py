"""The end of an arena that reads: views, and how their death is known."""

from __future__ import annotations

import mmap
import os
import sys
from _thread import allocate_lock
from _weakref import ref
from collections import deque

from _poolwise_worker.arena import forks
from _poolwise_worker.arena.memory import CAN_DROP_PAGES, pages, private_mapping, private_share
from _poolwise_worker.arena.writer import OFFSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

#: Types of ctypes arrays that are remembered, one for each size; to make one takes 10 µs.
_KINDS = 256

#: At most so many bytes of private pages are kept for slots that come again, in all.
_PRIVATE = 1 << 27

#: Of slots whose private pages were kept, every so manieth loses them: whether a view was written
#: cannot be seen while they are there.
_FORGET = 16


class _Watch(ref):  # type: ignore[type-arg]
    """Tells of the death of a view, and knows where it was.

    NumPy and others keep a memoryview that they derive from the one they are given, so what is
    watched is what stands behind all of them: an object that exports its memory, `outer`. It takes
    its memory from `inner`, which has no other user. A weak reference alone would not do: in a
    cycle of garbage it is told *before* the finalisers run, which may still look at the view, or
    bring it back to life. Only when `inner` has no user left, `outer` is gone.
    """

    __slots__ = ("epoch", "inner", "offset", "private", "reader", "size", "writable")

    inner: Any
    offset: int
    size: int
    epoch: int
    writable: bool
    private: bool  # all its pages were, from the beginning
    reader: Reader


def _users(watch: _Watch) -> int:
    return sys.getrefcount(watch.inner)


def _users_when_dead() -> int:
    watch = _Watch(_Watch)
    watch.inner = object()
    return _users(watch)


_DEAD = _users_when_dead()


def _died_late(watch: _Watch) -> None:
    """Give up the pages of views that died before this one, when the reader is closed."""
    watch.reader._dying.append(watch)
    watch.reader.settle()


class Reader:
    """The end that reads. Any thread may call anything but `close`, which the owner calls.

    Nothing about deaths has a lock, because views die anywhere, also while this thread is inside,
    within a garbage collection. Each container is changed by operations that are atomic, and each
    death is handled by the one that took it from `_dying`.

    A page that is written through a view becomes private memory, which hides what the writer puts
    there later. So it is dropped when the view is dead; or, because making it took ten times as
    long as filling it, it stays and is filled from the file when the slot comes again. `_private`
    has those, by offset, with their length. An entry is made before the writer hears of the slot,
    and taken out under `_lock`, before anything is seen of a slot that overlaps with it.
    """

    def __init__(self, descriptor: int) -> None:
        """Map the arena and take over the descriptor."""
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._mapping = private_mapping(descriptor, self._size)
        self._address = 0
        self._char: Any = None  # ctypes.c_char, once it is needed
        self._kinds: dict[int, Any] = {}
        self._live: dict[int, _Watch] = {}  # by offset; until the death is settled
        self._dying: deque[_Watch] = deque()
        self._released: deque[int] = deque()  # offsets of which the writer has not heard
        self._private: dict[int, int] = {}
        self._lock = allocate_lock()  # not taken where views die
        self._refilled = 0
        self._retired: deque[tuple[int, int]] = deque()  # offset, size: a forked child may see it
        self._shared: mmap.mmap | None = None  # once closed: to give pages back
        self._closed = False
        #: In a forked child, or at the end of the interpreter: nothing is released any more.
        self.foreign = False
        forks.ends.add(self)

    def view(self, offset: int, size: int, *, readonly: bool = False) -> memoryview:
        """Return a view of what the writer has placed there.

        It may be written, unless it is `readonly`; nobody else sees that. The slot is released
        when the view is dead, and all that was derived from it. Where no view can be had, it is a
        copy.

        Raises:
            OSError: it is a copy, and could not be made.
        """
        kind = self._kind(size)
        if kind is None:
            view = self._copy(offset, size)
            self._released.append(offset)
            return view.toreadonly() if readonly else view
        private = bool(self._private) and self._uncover(offset, size, refill=True)
        inner = kind.from_buffer(self._mapping, offset)
        outer = kind.from_buffer(inner)
        # Called in any thread, at any moment. To append is atomic, and runs no Python code, in
        # which a signal handler could raise.
        watch = _Watch(outer, self._dying.append)
        watch.inner, watch.offset, watch.size = inner, offset, size
        watch.epoch, watch.writable, watch.reader = forks.epoch, not readonly, self
        watch.private = private
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
                    from ctypes import addressof, c_char  # 4 ms, which only large buffers cost
                except ImportError:  # a Python built without
                    self._mapping = None
                    return None
                self._address = addressof(c_char.from_buffer(self._mapping))
                self._char = c_char
            if len(self._kinds) >= _KINDS:
                self._kinds.clear()
            kind = self._kinds[size] = self._char * size
        return kind

    def _copy(self, offset: int, size: int) -> memoryview:
        copy = memoryview(bytearray(size))
        self._fill(copy, offset)
        return copy

    def _fill(self, view: memoryview, offset: int) -> None:
        done = 0
        while done < len(view):
            got = os.preadv(self._descriptor, [view[done:]], offset + done)
            if not got:
                raise OSError(f"the arena ends within a slot of {len(view)} bytes at {offset}")
            done += got

    def _uncover(self, offset: int, size: int, *, refill: bool = False) -> bool:
        """Have the file seen in this slot; return whether private pages were filled with it."""
        mapping, end = self._mapping, offset + pages(size)
        assert mapping is not None
        with self._lock:
            refill = refill and self._private.get(offset, 0) >= size
            for begin, length in list(self._private.items()):
                after = begin + pages(length)
                if begin < end and offset < after:
                    # What lies behind this slot may be another one by now.
                    first = end if refill and begin == offset else begin
                    if first < after:
                        mapping.madvise(mmap.MADV_DONTNEED, first, after - first)
                    del self._private[begin]
            if refill:
                with memoryview(mapping)[offset : offset + size] as view:
                    self._fill(view, offset)
        return refill

    def trim(self) -> None:
        """Give back private pages that are kept for slots to come, when nothing came lately."""
        if self._private and not self._closed and not self.foreign:
            self._uncover(0, self._size)

    def borrow(self, offset: int, size: int) -> memoryview:
        """Return a read-only view that is not watched: release it, then `discard` the slot."""
        if self._mapping is None:
            return self._copy(offset, size).toreadonly()
        if self._private:
            self._uncover(offset, size)
        return memoryview(self._mapping)[offset : offset + size].toreadonly()

    def discard(self, offsets: Iterable[int]) -> None:
        """Release slots of which no view was made, or only a borrowed one that is released."""
        self._released.extend(offsets)

    def released(self) -> bytes:
        """Return what the writer may use again, for `Writer.free`; each slot once.

        It has to reach the writer. Cheap if nothing has died.
        """
        if self._dying:
            self.settle()
        if not self._released or self.foreign:
            return b""
        packed = bytearray()
        try:
            while True:
                packed += OFFSET.pack(self._released.popleft())
        except IndexError:
            return bytes(packed)

    @property
    def retired(self) -> int:
        """The bytes of slots that are lost to the arena because of forks.

        A function that forks in each call loses its arguments' slots each time. Where much is
        lost, a new arena is due.
        """
        return sum(size for _, size in list(self._retired))

    def settle(self) -> None:
        """Release the slots whose views are dead; those still dying stay for the next time."""
        for _ in range(len(self._dying)):
            try:
                watch = self._dying.popleft()
            except IndexError:  # another thread, or a collection within this one, took it
                break
            if _users(watch) > _DEAD:
                self._dying.append(watch)
            elif not self.foreign:
                self._live.pop(watch.offset, None)
                self._give_up(watch)
        if self._closed and len(self._live) <= len(self._dying):
            # The last is on its way out. With it goes the memory, if nothing here holds it.
            forks.ends.discard(self)
            self._live.clear()
            self._dying.clear()
            self._shared = self._mapping = None

    def _give_up(self, watch: _Watch) -> None:
        reusable = not self._closed and not forks.may_be_seen_elsewhere(watch.epoch)
        if watch.writable or watch.private:
            self._drop_or_keep_private_pages(watch, reusable)
        shared = self._shared
        if reusable:
            self._released.append(watch.offset)
        elif forks.may_be_seen_elsewhere(watch.epoch):
            self._retired.append((watch.offset, watch.size))
        elif shared is not None:
            shared.madvise(mmap.MADV_REMOVE, watch.offset, pages(watch.size))

    def _drop_or_keep_private_pages(self, watch: _Watch, reusable: bool) -> None:
        mapping = self._mapping
        if mapping is None:
            return
        if watch.private:
            self._refilled += 1
            share: float | None = 1.0 if self._refilled % _FORGET else 0.5
        else:
            share = private_share(self._address + watch.offset, watch.size)
        if share == 0.0:
            return
        room = sum(list(self._private.values())) + watch.size <= _PRIVATE
        if share is not None and share > 0.5 and reusable and room:
            self._private[watch.offset] = watch.size
        else:
            mapping.madvise(mmap.MADV_DONTNEED, watch.offset, pages(watch.size))

    def close(self) -> None:
        """Let go of the arena; a second call does nothing. Views stay as they are.

        Nobody hears any more of what dies, so its pages are given back right here: one view that
        is kept must not keep a whole arena in memory. The writer must have ended.
        """
        if self._closed:
            return
        self.settle()
        self._closed = True
        if self._live and CAN_DROP_PAGES and not self.foreign:
            self._watch_to_the_end()
        os.close(self._descriptor)
        self._descriptor = -1
        self.settle()

    def _watch_to_the_end(self) -> None:
        try:
            self._shared = shared = mmap.mmap(self._descriptor, self._size)
        except OSError:
            return  # no room for another mapping; then all pages stay until the last view dies
        for old in list(self._live.values()):
            outer = old()
            if outer is not None:
                # The new one sees every death from here on. If that comes before the old one is
                # gone, it is handled twice, which does no harm now.
                watch = _Watch(outer, _died_late)
                watch.inner, watch.offset, watch.size = old.inner, old.offset, old.size
                watch.epoch, watch.writable, watch.reader = old.epoch, old.writable, self
                watch.private = old.private
                self._live[old.offset] = watch
            del outer
        # What is live now gives up its pages itself; and so does what dies meanwhile.
        kept = [(watch.offset, watch.size) for watch in list(self._live.values())]
        end = 0
        for offset, size in [*sorted([*kept, *self._retired]), (self._size, 0)]:
            if offset > end:
                shared.madvise(mmap.MADV_REMOVE, end, offset - end)
            end = offset + pages(size)
