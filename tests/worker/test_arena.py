"""The arena law: a slot is written again only when nobody can see it any more."""

from __future__ import annotations

import gc
import hashlib
import mmap
import os
import queue
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from _poolwise_worker.arena import Reader, Writer, create, forks
from thorough import thorough

MIB = 1 << 20


class Pair:
    """Both ends in one process: each maps the arena for itself, as two processes do."""

    def __init__(self, limit: int = 64 * MIB) -> None:
        descriptor = create(limit)
        self.look = os.dup(descriptor)
        self.writer = Writer(os.dup(descriptor))
        self.reader = Reader(descriptor)

    def send(self, data: bytes, *, readonly: bool = False) -> memoryview:
        offset = self.place(data)
        return self.reader.view(offset, len(data), readonly=readonly)

    def place(self, data: bytes) -> int:
        offset = self.writer.place([data], len(data))
        assert offset is not None
        return offset

    def tell(self) -> int:
        """Bring word of what is released to the writer; return of how many slots."""
        released = self.reader.released()
        self.writer.free(released)
        return len(released) // 8

    def existing(self) -> int:
        """Return the bytes that the arena takes of memory."""
        return os.fstat(self.look).st_blocks * 512

    def close(self) -> None:
        self.writer.close()
        self.reader.close()
        os.close(self.look)


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def in_a_child(action: Callable[[], None]) -> int:
    """Fork, run `action` there; return the process id. The child ends with 0 if it returned."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            action()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)
    return pid


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# ---- the law -------------------------------------------------------------------------------------


def test_what_is_placed_is_seen(pair: Pair) -> None:
    parts = [b"one", bytearray(b"two" * MIB), memoryview(b"three")]
    offset = pair.writer.place(parts, sum(map(len, parts)))
    assert offset is not None
    size = sum(map(len, parts))
    assert bytes(pair.reader.view(offset, size)) == b"".join(parts)


def test_a_slot_is_written_again_when_its_view_is_dead_and_the_writer_knows(pair: Pair) -> None:
    first = pair.place(b"a" * MIB)
    view = pair.reader.view(first, MIB)
    assert pair.tell() == 0
    assert pair.place(b"b" * MIB) != first
    del view
    assert pair.place(b"c" * MIB) != first
    assert pair.tell() == 1
    assert pair.place(b"d" * MIB) == first
    assert pair.tell() == 0


@pytest.mark.parametrize(
    "derive",
    [
        memoryview,
        lambda view: view[5:6],
        lambda view: np.frombuffer(view, np.uint8),
        lambda view: np.frombuffer(view, np.uint8)[::4096],
        lambda view: np.frombuffer(view, np.uint8).reshape(-1, 4).T[1],
        lambda view: [memoryview(np.frombuffer(view, np.uint8))],
        lambda view: view.toreadonly().cast("d"),
    ],
)
def test_what_is_derived_from_a_view_keeps_its_slot(
    pair: Pair, derive: Callable[[memoryview], object]
) -> None:
    view = pair.send(b"a" * MIB)
    derived = derive(view)
    del view
    assert pair.tell() == 0
    del derived
    assert pair.tell() == 1


@pytest.mark.parametrize("size", [5, mmap.PAGESIZE, MIB + 1])
def test_what_was_written_through_a_view_is_never_seen_again(pair: Pair, size: int) -> None:
    for number in range(20):
        view = pair.send(bytes([number]) * size)
        assert set(view) == {number}
        if number % 3:
            view[size // 2] = 200
        if number % 3 == 1:
            view[:] = b"\xff" * size
        del view
        assert pair.tell() == 1
    assert pair.existing() <= 2 * MIB


def test_a_readonly_view_cannot_be_written(pair: Pair) -> None:
    view = pair.send(b"abc", readonly=True)
    with pytest.raises(TypeError):
        view[0] = 1
    # Nor does anyone see through it what a view before has written there.
    del view
    pair.tell()
    view = pair.send(b"def")
    view[0] = 1
    del view
    pair.tell()
    assert bytes(pair.send(b"ghi", readonly=True)) == b"ghi"


class Finaliser:
    """In a cycle with itself; its finaliser still looks at the view, and may keep it."""

    def __init__(self, view: memoryview, kept: list[memoryview] | None, act: Callable[[], int]):
        self.me, self.view, self.kept, self.act = self, view, kept, act

    def __del__(self) -> None:
        assert self.act() == 0, "released before its finaliser ran"
        if self.kept is not None:
            self.kept.append(self.view)


@pytest.mark.parametrize("resurrect", [False, True])
def test_a_finaliser_in_a_cycle_still_has_its_view(pair: Pair, resurrect: bool) -> None:
    kept: list[memoryview] | None = [] if resurrect else None
    Finaliser(pair.send(b"x" * MIB), kept, pair.tell)
    gc.collect()
    if kept is None:
        gc.collect()
        assert pair.tell() == 1
        return
    for number in range(5):
        assert pair.tell() == 0
        pair.place(bytes([number]) * MIB)
    assert set(kept[0]) == {ord("x")}
    kept.clear()
    assert pair.tell() == 1


def checksum(view: object) -> bytes:
    return hashlib.blake2b(view, digest_size=8).digest()  # type: ignore[arg-type]


class Hammer:
    """Sends, keeps, writes, derives, drops; knows what everything that is kept must look like."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self.pair = pair
        self.draw = random.Random(seed)
        self.kept: list[tuple[object, bytes]] = []
        self.sent = 0
        self.refused = 0

    def step(self) -> None:
        size = int(2 ** self.draw.uniform(10, 20))
        data = self.draw.randbytes(64) * (size // 64 + 1)
        offset = self.pair.writer.place([memoryview(data)[:size]], size)
        if offset is None:
            self.refused += 1
            self.drop(len(self.kept) // 2)
            self.pair.tell()
            return
        self.sent += size
        if self.draw.random() < 0.1:
            with self.pair.reader.borrow(offset, size) as borrowed:
                assert borrowed == memoryview(data)[:size], "an old private page, or an overlap"
            self.pair.reader.discard([offset])
            return
        readonly = self.draw.random() < 0.2
        view = self.pair.reader.view(offset, size, readonly=readonly)
        assert view == memoryview(data)[:size], "an old private page, or an overlap"
        kept: object = view
        if self.draw.random() < 0.5:
            kept = np.frombuffer(view, np.uint8)[self.draw.randrange(size) :]
        if not readonly and self.draw.random() < 0.5:
            first = self.draw.choice([0, self.draw.randrange(size)])
            last = self.draw.choice([size, first + 5000])
            view[first:last] = bytes(len(view[first:last]))
        if self.draw.random() < 0.9:
            self.kept.append((kept, checksum(kept)))
        if len(self.kept) > self.draw.randrange(100):
            self.drop(1 + self.draw.randrange(3))
        if self.draw.random() < 0.7:
            self.pair.tell()
        if self.draw.random() < 0.01:
            self.pair.writer.trim()
        if self.draw.random() < 0.01:
            self.pair.reader.trim()

    def drop(self, number: int) -> None:
        for _ in range(min(number, len(self.kept))):
            kept, expected = self.kept.pop(self.draw.randrange(len(self.kept)))
            assert checksum(kept) == expected, "a kept view has changed"

    def check_all(self) -> None:
        for kept, expected in self.kept:
            assert checksum(kept) == expected, "a kept view has changed"


@pytest.mark.parametrize("seed", [0, *thorough(1, 2)])
def test_the_law_holds_however_slots_are_used(seed: int) -> None:
    pair = Pair(16 * MIB)
    hammer = Hammer(pair, seed)
    for _ in range(3000):
        hammer.step()
    assert hammer.sent > 20 * 16 * MIB, "slots were not used again"
    hammer.check_all()
    pair.close()
    hammer.check_all()


def test_the_law_holds_across_forks() -> None:
    # Children look at what was live when they were forked, after all slots were used many times.
    pair = Pair(256 * MIB)
    hammer = Hammer(pair, 7)
    children = []
    for _ in range(4):
        for _ in range(150):
            hammer.step()
        ours, theirs = socket.socketpair()

        def look(gate: socket.socket = theirs, ours: socket.socket = ours) -> None:
            ours.close()
            assert gate.recv(1) == b"!"
            hammer.check_all()
            assert pair.writer.place([b"x" * MIB], MIB) is None
            hammer.kept.clear()
            gc.collect()
            assert pair.reader.released() == b""
            pair.close()

        children.append((in_a_child(look), ours))
        theirs.close()
    for _ in range(1500):
        hammer.step()
    hammer.drop(len(hammer.kept))
    pair.tell()
    pair.writer.trim()
    pair.close()
    for pid, gate in children:
        gate.sendall(b"!")
        assert exit_code(pid) == 0
        gate.close()


def test_what_is_live_at_a_fork_is_never_written_again(pair: Pair) -> None:
    view, dead = pair.send(b"a" * MIB), pair.send(b"b" * MIB)
    view[:] = bytes(MIB)
    del dead
    assert exit_code(in_a_child(lambda: None)) == 0
    after = pair.send(b"c" * MIB)
    del view
    assert pair.tell() == 1  # the one that was dead
    assert pair.reader.retired == MIB
    assert not pair.reader._private, "kept for a slot that never comes again"
    del after
    assert pair.tell() == 1


@pytest.mark.parametrize("after", [False, True], ids=["dies in the fork", "dies after it"])
def test_a_view_that_is_made_while_a_fork_is_under_way_is_retired(after: bool) -> None:
    # Between our hook and the fork itself, others run. Hooks before a fork run in the reverse order
    # of their registration, those after it in that order: these two are inside of ours.
    program = f"""
import os
views, told = [], []
def make():
    offset = writer.place([b"x" * 100_000], 100_000)
    views.append(reader.view(offset, 100_000))
def drop():
    if not {after}:
        views.clear()
        told.append(reader.released())
os.register_at_fork(before=make, after_in_parent=drop)
from _poolwise_worker.arena import Reader, Writer, create
descriptor = create(1 << 20)
writer, reader = Writer(os.dup(descriptor)), Reader(descriptor)
pid = os.fork()
if not pid:
    os._exit(0)
os.waitpid(pid, 0)
views.clear()
told.append(reader.released())
assert set(told) == {{b""}}, told
make()
views.clear()
assert reader.released(), "all is retired for ever"
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("threads", [4])
def test_views_die_in_any_thread(threads: int) -> None:
    pair = Pair(64 * MIB)
    queues: list[queue.SimpleQueue[tuple[memoryview, int] | None]] = [
        queue.SimpleQueue() for _ in range(threads)
    ]
    wrong: list[str] = []

    def drop(given: queue.SimpleQueue[tuple[memoryview, int] | None]) -> None:
        while (taken := given.get()) is not None:
            view, number = taken
            if view[0] != number or view[-1] != number:
                wrong.append("changed before it was dropped")
            del taken, view

    workers = [threading.Thread(target=drop, args=(given,)) for given in queues]
    for worker in workers:
        worker.start()
    sent = 0
    try:
        while sent < 4000:
            data = bytes([sent % 256]) * (20_000 + sent % 7 * 30_000)
            offset = pair.writer.place([data], len(data))
            if offset is not None:
                view = pair.reader.view(offset, len(data))
                view[1] = 99
                queues[sent % threads].put((view, sent % 256))
                del view
                sent += 1
            pair.tell()
    finally:
        for given in queues:
            given.put(None)
        for worker in workers:
            worker.join()
    pair.tell()
    assert not wrong
    assert not pair.reader._live
    offset = pair.writer.place([b"z" * (60 * MIB)], 60 * MIB)
    assert offset is not None
    pair.close()


# ---- what outlives what --------------------------------------------------------------------------


def test_views_outlive_a_killed_writer() -> None:
    descriptor = create(64 * MIB)
    ours, theirs = socket.socketpair()
    reader = Reader(os.dup(descriptor))

    def write() -> None:
        writer = Writer(os.dup(descriptor))
        for number in range(32):
            offset = writer.place([bytes([number]) * MIB], MIB)
            theirs.sendall(offset.to_bytes(8, "little"))  # type: ignore[union-attr]
        theirs.recv(1)  # for ever

    pid = in_a_child(write)
    offsets = [int.from_bytes(ours.recv(8, socket.MSG_WAITALL), "little") for _ in range(32)]
    views = [reader.view(offset, MIB) for offset in offsets]
    os.kill(pid, signal.SIGKILL)
    assert exit_code(pid) == -signal.SIGKILL
    reader.close()
    assert [set(view) for view in views] == [{number} for number in range(32)]
    assert (os.fstat(descriptor).st_blocks * 512) == 32 * MIB
    for number, view in enumerate(views):
        view[0] = number + 1
    del view
    while len(views) > 2:
        views.pop(1)
    # All but the last to die have given their pages back; nobody is there to tell.
    assert (os.fstat(descriptor).st_blocks * 512) <= 3 * MIB
    assert (views[0][0], views[0][1], views[1][0], views[1][1]) == (1, 0, 32, 31)
    views.clear()
    assert reader not in forks.ends
    for each in (ours, theirs):
        each.close()
    os.close(descriptor)


def test_a_view_that_is_kept_does_not_keep_the_arena() -> None:
    pair = Pair()
    views = [pair.send(bytes([number]) * MIB) for number in range(20)]
    kept = views[7]
    views.clear()
    pair.tell()
    assert pair.existing() == 20 * MIB
    pair.reader.close()
    pair.writer.close()
    assert pair.existing() == MIB
    assert set(kept) == {7}
    pair.close()


def test_what_a_child_may_see_keeps_its_pages_when_the_reader_is_closed() -> None:
    pair = Pair()
    ours, theirs = socket.socketpair()
    views = [pair.send(b"a" * MIB), pair.send(b"b" * MIB)]

    def look() -> None:
        ours.close()
        theirs.recv(1)
        assert [set(view) for view in views] == [{ord("a")}, {ord("b")}]

    pid = in_a_child(look)
    views.pop()
    views.append(pair.send(b"c" * MIB))
    pair.writer.close()
    pair.reader.close()
    views.clear()
    ours.sendall(b"!")
    assert exit_code(pid) == 0
    pair.close()
    ours.close()
    theirs.close()


def test_ten_thousand_views_take_no_descriptors(pair: Pair) -> None:
    before = len(os.listdir("/proc/self/fd"))
    views = [pair.send(number.to_bytes(4, "little") * 16) for number in range(10_000)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert all(view[:4] == number.to_bytes(4, "little") for number, view in enumerate(views))


def test_views_are_valid_until_the_very_end_of_the_interpreter() -> None:
    program = """
import atexit, os, sys
from _poolwise_worker.arena import Reader, Writer, create
descriptor = create(1 << 24)
writer, reader = Writer(os.dup(descriptor)), Reader(descriptor)

class Late:
    def __init__(self, view): self.me, self.view = self, view
    def __del__(self, write=os.write): write(1, b"%d\\n" % self.view[-1])

def view(number):
    offset = writer.place([bytes([number]) * 100_000], 100_000)
    return reader.view(offset, 100_000)

late, another, sys.kept = Late(view(1)), view(2), Late(view(3))
atexit.register(lambda kept=view(4): os.write(1, b"%d\\n" % kept[0]))
if "close" in sys.argv:
    writer.close()
    reader.close()
"""
    for arguments in ([], ["close"]):
        run = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, check=True
        )
        assert sorted(run.stdout.split()) == [b"1", b"3", b"4"]
        assert run.stderr == b""


# ---- limits --------------------------------------------------------------------------------------


def test_a_full_arena_says_so_and_recovers(pair: Pair) -> None:
    views = []
    while (offset := pair.writer.place([b"x" * (5 * MIB)], 5 * MIB)) is not None:
        views.append(pair.reader.view(offset, 5 * MIB))
    assert len(views) == 12  # of 64 MiB
    assert pair.writer.place([b"x" * (65 * MIB)], 65 * MIB) is None
    assert pair.writer.place([b"x" * MIB], MIB) is not None
    views.pop()
    assert pair.writer.place([b"x" * (5 * MIB)], 5 * MIB) is None
    assert pair.tell() == 1
    assert pair.writer.place([b"x" * (5 * MIB)], 5 * MIB) is not None


def test_where_there_is_no_memory_nothing_is_placed_and_nothing_is_killed(pair: Pair) -> None:
    # A limit on the size of files is met by `pwrite` as a lack of memory is: it fails.
    def place() -> None:
        kept = pair.place(b"x" * MIB)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, 2 * MIB))
        writer = pair.writer
        writer.foreign = False  # this is no accident: the child is the writer now
        assert writer.place([b"y" * (2 * MIB)], 2 * MIB) is None
        assert writer.place([b"z" * MIB], MIB) == kept + MIB
        assert writer.place([b"z" * MIB], MIB) is None

    def as_writer() -> None:
        pair.writer.foreign = False
        place()

    assert exit_code(in_a_child(as_writer)) == 0


def test_where_nothing_can_be_mapped_views_are_copies() -> None:
    program = """
import os, resource
from _poolwise_worker.arena import Reader, Writer, create
descriptor = create(1 << 34)
writer = Writer(os.dup(descriptor))
used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28),) * 2)
reader = Reader(descriptor)
offset = writer.place([b"x" * 100_000], 100_000)
view = reader.view(offset, 100_000)
view[0] = 1
assert set(view[1:]) == {ord("x")}
writer.free(reader.released())
assert bytes(reader.borrow(writer.place([b"y" * 5], 5), 5)) == b"y" * 5
assert reader.released() == b""
assert bytes(reader.view(offset, 5, readonly=True)) == b"y" * 5
writer.free(reader.released())
reader.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_trimming_gives_pages_back_and_leaves_what_is_live(pair: Pair) -> None:
    views = [pair.send(bytes([number]) * MIB) for number in range(10)]
    kept = views[4]
    views.clear()
    pair.tell()
    assert pair.existing() == 10 * MIB
    pair.writer.trim()
    assert pair.existing() == MIB
    assert set(kept) == {4}
    assert set(pair.send(b"x" * (3 * MIB))) == {ord("x")}
    assert set(kept) == {4}


def test_private_pages_stay_for_a_while_and_are_trimmed(pair: Pair) -> None:
    def private() -> int:
        rollup = Path("/proc/self/smaps_rollup").read_text()
        return int(rollup.split("Anonymous:")[1].split()[0]) * 1024

    before = private()
    for number in range(40):
        view = pair.send(bytes([number]) * (8 * MIB))
        assert view[0] == view[-1] == view[12345] == number
        view[:] = b"x" * len(view)
        assert 7 * MIB < private() - before < 15 * MIB
        del view
        pair.tell()
    view = pair.send(b"y" * (5 * MIB))  # shorter, in the same place
    other = pair.send(b"z" * (3 * MIB - 1))
    assert (set(view), set(other)) == ({ord("y")}, {ord("z")})
    del view, other
    pair.tell()
    pair.reader.trim()
    assert private() - before < 4 * MIB


@pytest.mark.parametrize("limit", [-1, 0, mmap.PAGESIZE - 1])
def test_an_arena_of_no_pages_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"an arena of {limit} bytes .* at least a page"):
        create(limit)


def test_slots_that_were_not_taken_cannot_be_freed(pair: Pair) -> None:
    offset = pair.place(b"x")
    pair.writer.take_back([offset])
    with pytest.raises(KeyError):
        pair.writer.take_back([offset])


def test_closing_twice_is_harmless(pair: Pair) -> None:
    pair.writer.close()
    pair.writer.close()
    pair.reader.close()
    assert pair.writer.place([b"x"], 1) is None
    pair.writer.free(b"\0" * 8)
    pair.writer.trim()
