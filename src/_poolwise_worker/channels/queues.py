"""`Queue`: many producers, many consumers, threads or processes."""

from __future__ import annotations

import os
from _queue import Empty
from _thread import RLock
from contextlib import suppress
from marshal import dumps as marshal
from weakref import WeakSet

from _poolwise_worker import descriptors, timeouts
from _poolwise_worker.channels import messages
from _poolwise_worker.channels.heap import Heap
from _poolwise_worker.channels.line import END, MOVED, Line, Word
from _poolwise_worker.channels.messages import VERSION, Codec, is_beside
from _poolwise_worker.channels.ring import NO_YIELD, NOTHING, YIELDS, Ring
from _poolwise_worker.errors import ChannelClosed, TransferError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, NoReturn

#: `put_many` sends plain messages together: as many as make some ten KB, at most so many. From 64
#: small ones on the cost of a message hardly falls; ``benchmarks/bench_channels.py``.
MOST_TOGETHER = 1024
BYTES_TOGETHER = 1 << 15

_PLAIN = messages.PLAIN


class Queue:
    """A ``queue.Queue`` for threads and processes alike: first in, first out for each producer.

    Until it is first pickled (passed to a worker) or its process forks, it passes references, like
    ``queue.Queue``, and accepts anything. From then on, for good, every message is a copy in
    memory that the processes share. When `put` returns the message is there, whoever is killed
    next; how many were in the hands of a consumer that was killed inside `get`, `lost` tells.

    Args:
        maxsize: The most messages at a time; 0 for any number. Below that is an error, and not, as
            for `queue.Queue`, any number.

    Raises:
        TypeError, ValueError: if `maxsize` is no whole number, or negative.
    """

    # `_line` is what there is before, `_ring` and its company what there is after; while both are
    # ``None`` the queue is moving, and whoever comes waits for `_moving`, which who moves it holds.
    # If that fails there is a line again, a new one. `_late` is guarded by `_moving`.

    def __init__(self, maxsize: int = 0) -> None:
        self._maxsize = timeouts.count("maxsize", maxsize, 0)
        self._moving = RLock()
        self._late: list[Any] = []
        self._line: Line | None = Line(self._maxsize)
        self._ring: Ring | None = None
        self._heap: Heap | None = None
        self._codec: Codec | None = None
        self._closed = False
        self._parted = False
        _unshared.add(self)

    @property
    def maxsize(self) -> int:
        """The most messages at a time; 0 for any number."""
        return self._maxsize

    def __repr__(self) -> str:
        if self._parted:
            return f"<poolwise.Queue not shared with this process at {id(self):#x}>"
        state = f"{self.qsize()}/{self._maxsize or '∞'}"
        if self.closed:
            state += ", closed"
        if lost := self.lost():
            state += f", {lost} lost with consumers that were killed"
        return f"<poolwise.Queue {state} at {id(self):#x}>"

    # ---- putting ----

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put a message.

        Args:
            item: Anything; once the queue is shared between processes, what can be pickled.
            block: Whether to wait for room.
            timeout: Seconds to wait at most; ``None`` for ever.

        Raises:
            ChannelClosed: if the queue is closed.
            TransferError: if `item` cannot be pickled and would have to be.
            queue.Full: if there was no room in time.
        """
        ring, line = self._ring, self._line
        if ring is not None:
            if item.__class__ in _PLAIN and timeout is None:
                try:
                    message = marshal(item, VERSION)
                except ValueError:  # more than 2 GB
                    pass
                else:
                    if ring.append_now(message):
                        return
            self._put_shared(item, _until(block, timeout))
        elif line is not None and line.room is None and not self._closed and timeout is None:
            line.put(item)
            if self._line is not line:
                self._move_up(line, item)
        else:
            self._put(item, _until(block, timeout))

    def put_nowait(self, item: Any) -> None:
        """Put a message if there is room now; like ``put(item, block=False)``."""
        self.put(item, False)

    def put_many(self, items: Iterable[Any]) -> None:
        """Put messages one after the other, many at a time: faster than as many `put`.

        Waits for room as often as need be. If one cannot be pickled, those before it are put.

        Raises:
            As `put` does, but never ``queue.Full``.
        """
        try:
            items = iter(items)
        except TypeError:
            kind = type(items).__name__
            raise TypeError(f"items={items!r}: an iterable, not a {kind}") from None
        together: list[Any] = []
        most = 16
        sending = False
        try:
            for item in items:
                alone = item.__class__ not in _PLAIN or self._ring is None
                if not alone:
                    together.append(item)  # it cannot change, so it may be pickled later
                if together and (alone or len(together) >= most):
                    sending = True
                    most = self._put_together(together, most)
                    sending = False
                if alone:
                    self.put(item)
        finally:
            # Also when `items` raises; but not again when putting was refused or interrupted.
            if together and not sending:
                self._put_together(together, most)

    def _put_together(self, values: list[Any], most: int) -> int:
        """Put plain messages, and empty the list; return how many to put together next time."""
        ring, _ = self._shared()
        while values:
            put = ring.extend(values, None)
            if put is None:
                self._refuse_to_put()
            count, size = put
            del values[:count]
            if size > BYTES_TOGETHER:
                most = max(1, most // 2)
            elif 2 * size < BYTES_TOGETHER:
                most = min(MOST_TOGETHER, 2 * most)
        return most

    def _put(self, item: Any, until: float | None) -> None:
        while (line := self._settled()) is not None:
            if self._closed:
                self._refuse_to_put()
            entered = line.enter(until)
            if not entered:
                _full(self._maxsize)
            if entered is not MOVED:
                line.put(item)
                if self._line is not line:
                    self._move_up(line, item)
                return
        self._put_shared(item, until)

    def _put_shared(self, item: Any, until: float | None) -> None:
        ring, codec = self._ring, self._codec
        if ring is None or codec is None:
            ring, codec = self._shared()
        message = codec.encode(item)
        put = ring.append(message, until, NO_YIELD if is_beside(message) else YIELDS)
        if not put:
            codec.discard(message)
            if put is None:
                self._refuse_to_put()
            _full(self._maxsize)

    def _refuse_to_put(self) -> NoReturn:
        raise ChannelClosed("put on a queue that is closed; close it after the last put")

    # ---- getting ----

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the first message.

        Args:
            block: Whether to wait for one.
            timeout: Seconds to wait at most; ``None`` for ever.

        Raises:
            ChannelClosed: if the queue is closed and empty.
            TransferError: if the message cannot be read in this process; it is gone then.
            queue.Empty: if there was none in time.
        """
        ring, line = self._ring, self._line
        if ring is not None:
            if timeout is None and (item := ring.take_first(self._decode)) is not NOTHING:
                return item
        elif line is not None and block and timeout is None:
            item = line.get()
            if item.__class__ is not Word:
                if line.room is not None:
                    line.leave()
                return item
            line.put(item)
        return self._get(1, _until(block, timeout))[0]

    def get_nowait(self) -> Any:
        """Take the first message if there is one now; like ``get(block=False)``."""
        return self.get(False)

    def get_many(self, n: int, timeout: float | None = None) -> list[Any]:
        """Take the first messages, at most `n`, waiting for the first of them only.

        Args:
            n: How many at most; at least 1.
            timeout: Seconds to wait at most; ``None`` for ever.

        Returns:
            From 1 to `n` messages.

        Raises:
            As `get` does. If one cannot be read here, the attribute `readable` of the
                `TransferError` has those that can.
        """
        return self._get(timeouts.count("n", n, 1), timeouts.until(timeout))

    def __iter__(self) -> Iterator[Any]:
        """Take messages until the queue is closed and empty."""
        while True:
            try:
                item = self.get()
            except ChannelClosed:
                return
            yield item

    def _get(self, most: int, until: float | None) -> list[Any]:
        while (line := self._settled()) is not None:
            got = self._get_from(line, most, until)
            if got:
                return got
        ring, codec = self._shared()
        yields, codec.large = NO_YIELD if codec.large else YIELDS, False
        taken = ring.take(most, until, yields)
        if taken is None:
            _end()
        found, plain, hand = taken
        if not found:
            raise Empty
        try:
            return found if plain else _decoded(found, codec)
        finally:
            ring.handed_out(hand)

    def _get_from(self, line: Line, most: int, until: float | None) -> list[Any]:
        """Take messages from the line; none if it has moved."""
        got: list[Any] = []
        while len(got) < most:
            try:
                item = line.next(until if not got else 0.0)
            except Empty:
                if got:
                    break
                raise
            if item.__class__ is Word:
                if item is END and line.messages.qsize():
                    line.put(END)  # who put while it was closed came behind the end
                    continue
                line.put(item)
                if item is END and not got:
                    _end()
                break
            line.leave()
            got.append(item)
        return got

    # ---- ending and looking ----

    def close(self) -> None:
        """Let nothing more be put, by anybody; what is there can be taken.

        A `put` that overlaps it may be refused or not. Consumers who wait for more are woken.
        """
        if self._settled() is not None:
            with self._moving:
                if self._line is not None:
                    if not self._closed:
                        self._closed = True
                        self._line.put(END)
                        if self._line.room is not None:  # wake who waits for room
                            self._line.room.put(MOVED)
                    return
        self._shared()[0].close()

    @property
    def closed(self) -> bool:
        """Whether nothing can be put any more."""
        return self._closed or (self._ring is not None and self._ring.closed)

    def qsize(self) -> int:
        """Return how many messages are there; by the time it is read, it may be another number."""
        line = self._settled()
        if line is None:
            return len(self._shared()[0])
        return max(0, line.messages.qsize() - self._closed)

    def empty(self) -> bool:
        """Return whether no message is there now."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Return whether there is no room now."""
        return 0 < self._maxsize <= self.qsize()

    def lost(self) -> int:
        """Return how many messages were lost with consumers that were killed inside `get`."""
        return 0 if self._settled() is not None else self._shared()[0].lost()

    # ---- becoming shared ----

    def __reduce__(self) -> tuple[Any, ...]:
        descriptors.require_carrier(self)
        if descriptors.are_only_looked_at():
            return Queue, ()
        self._share()
        assert self._ring is not None
        assert self._heap is not None
        return _arrived, (*self._ring.carry(), self._heap.carry())

    def _settled(self) -> Line | None:
        """Return the line, or ``None`` once there is a ring; while it moves, wait for one of them.

        Raises:
            TransferError: if this process has neither.
        """
        while (line := self._line) is None and self._ring is None:
            if self._parted:
                raise TransferError(
                    "this queue could not be shared with this process when it was forked, because "
                    "a message in it cannot be pickled; fork before that is put"
                )
            with self._moving:
                if self._line is None and self._ring is None and not self._parted:
                    raise _in_the_midst()
        return line

    def _shared(self) -> tuple[Ring, Codec]:
        """Return what there is once it is shared, which nobody can undo."""
        self._settled()
        assert self._ring is not None
        assert self._codec is not None
        return self._ring, self._codec

    def _share(self) -> None:
        """Move the messages into shared memory, where they and all others are copies.

        Raises:
            TransferError: if one cannot be pickled; then all is as it was.
        """
        with self._moving:
            line = self._settled()
            if line is None:
                return
            ring, heap = Ring.create(self._maxsize), Heap.create()
            codec = Codec(heap)
            items: list[Any] = []
            try:
                # From here on nobody begins anything in the line. Who has begun to put there looks
                # again, and moves up what came too late: before its own `put` returns, so before
                # what it puts next.
                self._line = None
                line.give_up(items)
                self._fill(ring, codec, items)
                if self._closed:
                    ring.close()
                self._heap = heap
                self._codec = codec
                self._decode = codec.decode
                self._ring = ring
            except BaseException:
                if self._ring is None:
                    self._line = self._line_of(items)
                raise
            _unshared.discard(self)

    def _line_of(self, items: list[Any]) -> Line:
        line = Line(self._maxsize)
        for item in items:
            line.enter(0.0)
            line.put(item)
        if self._closed:
            line.put(END)
        return line

    def _fill(self, ring: Ring, codec: Codec, items: list[Any]) -> None:
        with descriptors.refusing():
            encoded = [codec.encode(item) for item in items]
        for message in encoded:
            ring.append(message, None)

    def _move_up(self, line: Line, item: Any) -> None:
        """Put again what this thread has put into a line that has moved.

        Unless it came in time, or a consumer has found it. Each puts its own: if it cannot be
        pickled, or the queue is closed by now, that is raised in whoever put it.
        """
        self._settled()
        with self._moving:
            line.drain(self._late)
            places = [place for place, late in enumerate(self._late) if late is item]
            if places:
                del self._late[places[0]]
        if places:
            self._put(item, None)


def _decoded(found: list[bytes], codec: Codec) -> list[Any]:
    """Decode each message once; if some cannot be, say why of the first and keep the others."""
    values = []
    first = None
    for message in found:
        try:
            values.append(codec.decode(message))
        except TransferError as error:
            first = first or error
    if first is not None:
        first.readable = values
        raise first
    return values


def _in_the_midst() -> RuntimeError:
    return RuntimeError(
        "a message, or a signal handler, uses the queue in the midst of which it is pickled for it "
        "to be shared"
    )


def _until(block: bool, timeout: Any) -> float | None:
    if not block:
        return 0.0
    return timeouts.until(timeout)


def _full(maxsize: int) -> NoReturn:
    from queue import Full

    raise Full(f"no room among {maxsize} messages")


def _end() -> NoReturn:
    raise ChannelClosed("the queue is closed, and its last message has been taken")


def _arrived(control: descriptors.Token, data: descriptors.Token, heap: descriptors.Token) -> Queue:
    queue = Queue.__new__(Queue)
    queue._moving = RLock()
    queue._late = []
    queue._line = None
    queue._closed = queue._parted = False
    queue._heap = Heap.claim(heap)
    queue._codec = Codec(queue._heap)
    queue._decode = queue._codec.decode
    queue._ring = Ring.claim(control, data)
    queue._maxsize = queue._ring.maxsize
    return queue


#: Queues that are not shared yet.
_unshared: WeakSet[Queue] = WeakSet()


def _share_all() -> None:
    """Before a fork: the child is to have the same queues, not copies of them."""
    for queue in list(_unshared):
        with suppress(Exception):  # then the child is told when it uses the queue
            queue._share()


def _part_with_unshared() -> None:
    for queue in list(_unshared):
        queue._moving = RLock()
        queue._line = None
        queue._parted = True


os.register_at_fork(before=_share_all, after_in_child=_part_with_unshared)
