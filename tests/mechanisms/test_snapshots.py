"""Large values that functions read by name: one copy for all workers, made anew when it has to."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from _poolwise_worker import descriptors, transfer
from _poolwise_worker.snapshots import SharedPickle
from poolwise.mechanisms import snapshots
from poolwise.mechanisms.snapshots import LARGE
from programs import METHODS, NEEDS_NUMPY, run


class Table:
    """What has a buffer that travels beside a pickle."""

    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Table, (pickle.PickleBuffer(self.numbers),)


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> Iterator[None]:
    snapshots.clear()
    yield
    snapshots.clear()


def kept() -> set[int]:
    """The snapshots that this process has memory of."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if "poolwise-snapshot" in os.readlink(f"/proc/self/fd/{name}"):
                found.add(os.stat(f"/proc/self/fd/{name}").st_ino)
        except OSError:  # the one that listed the folder
            continue
    return found


def shared(value: object) -> SharedPickle:
    found = snapshots.pickled(value, transfer.TO_WORKER)
    assert isinstance(found, SharedPickle)
    return found


def carried(found: SharedPickle) -> SharedPickle:
    """Send it to another process, and be that."""
    data, carrying = descriptors.dump(lambda: pickle.dumps(found))
    with descriptors.providing(carrying):
        return pickle.loads(data)  # type: ignore[no-any-return]


def test_what_is_small_is_a_plain_pickle() -> None:
    value = {"a": [1, 2, 3], "b": b"x" * 70_000}
    assert snapshots.pickled(value, transfer.TO_WORKER) == pickle.dumps(value, 5)
    assert not kept()


@pytest.mark.parametrize(
    "size", [1, 1 << 14, (1 << 16) - 1, 1 << 16, 72_000, 1 << 18, LARGE - 1, LARGE, LARGE + 1]
)
@pytest.mark.parametrize("first", [b"\x95", b"__main__"])
def test_buffers_of_any_size_come_back_as_they_were(size: int, first: bytes) -> None:
    numbers = bytearray((first + os.urandom(size))[:size])
    frozen = memoryview(bytes(numbers))
    value = [Table(numbers), "between", Table(frozen), Table(numbers)]
    found = snapshots.pickled(value, transfer.TO_WORKER)
    assert snapshots.size_of(value, transfer.TO_WORKER) >= 3 * size
    loaded = pickle.loads(found) if isinstance(found, bytes) else carried(found).load()
    assert loaded[1] == "between"
    for place, readonly in (0, False), (2, True), (3, False):
        assert bytes(loaded[place].numbers) == numbers
        assert memoryview(loaded[place].numbers).readonly is readonly


def test_all_that_is_large_comes_back_as_it_was() -> None:
    text, data, more = "é" * LARGE, os.urandom(LARGE), bytearray(os.urandom(2 * LARGE))
    frozen = memoryview(bytes(LARGE))
    value = [Table(bytearray(data)), text, {"data": data}, more, Table(frozen), data, "end"]
    table, *others, last, same, end = carried(shared(value)).load()
    assert (bytes(table.numbers), others, same, end) == (data, value[1:4], data, "end")
    assert same is others[1]["data"]
    assert last.numbers.readonly
    assert last.numbers == frozen
    table.numbers[0] ^= 255  # which is its own
    assert bytes(shared(value).load()[0].numbers) == data


def test_what_has_not_changed_is_not_copied_again() -> None:
    table = Table(bytearray(3 * LARGE + 5))
    first = shared(table)
    assert shared(table) == first
    assert len(kept()) == 1
    for place in (0, LARGE, 3 * LARGE + 4):
        before = shared(table)
        table.numbers[place] = 1
        assert shared(table) != before
        assert bytes(carried(shared(table)).load().numbers) == bytes(table.numbers)
    del first, before
    assert len(kept()) == 1


def test_many_parts_take_few_descriptors() -> None:
    tables = [Table(bytearray([number]) * (LARGE + number)) for number in range(40)]
    found = shared(tables)
    assert found.snapshots == len(kept()) == snapshots._ALONE + 1
    assert [bytes(each.numbers) for each in carried(found).load()] == [
        bytes(each.numbers) for each in tables
    ]


def test_snapshots_of_what_does_not_tell_of_its_end_are_given_up_after_a_while() -> None:
    data = os.urandom(LARGE)
    shared(data)
    del data
    other = Table(bytearray(LARGE))
    for _ in range(snapshots._PATIENCE + 1):
        assert len(kept()) >= 1
        snapshots.begin()
        shared(other)
    assert len(kept()) == 1


@NEEDS_NUMPY
@METHODS
def test_arrays_of_any_size_that_calls_read_are_as_they_are_now(
    method: str, tmp_path: Path
) -> None:
    (tmp_path / "tables.py").write_text("""
import numpy

arrays = [numpy.zeros(length) for length in (1_000, 9_000, 30_000, 100_000, 300_000)]
small, more, some, many, large = arrays

def sums(number):
    return [float(each.sum()) + number for each in (small, more, some, many, large)]
""")
    program = """
import tables

for round in range(3):
    for array in tables.arrays:
        array[0] = round
    same_as_a_loop(tables.sums)
    first = tables.arrays[2]
    same_as_a_loop(lambda number: float(first[0]) + number)
    assert list(poolwise.map(tables.sums, range(50))) == [tables.sums(each) for each in range(50)]
"""
    run(tmp_path, program, method)


@NEEDS_NUMPY
def test_a_snapshot_ends_with_the_array() -> None:
    import numpy

    array = numpy.ones((300, 1000))
    shared([array.T, array[:, :900]])  # of which the second is copied by its own pickling
    assert kept()
    del array
    assert len(kept()) <= 1
    snapshots.clear()
    assert not kept()


def test_without_memory_for_it_it_travels_as_it_always_did(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "memfd_create", full)
    table = Table(bytearray(LARGE))
    found = snapshots.pickled(table, transfer.TO_WORKER)
    assert isinstance(found, bytes)
    assert pickle.loads(found).numbers == table.numbers


PLACES = """
import numpy

def place(array):
    "The file that lies under an array, and how many KiB of it are this process's own."
    address = array.__array_interface__["data"][0]
    found = private = None
    with open("/proc/self/smaps") as file:
        for line in file:
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                begin, end = (int(each, 16) for each in words[0].split("-"))
                inside = begin <= address < end
                if inside:
                    found = words[4]
            elif inside and words[0] == "Anonymous:":
                private = int(words[1])
    return found, private

def kept():
    "The snapshots that this process has memory of."
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if "poolwise-snapshot" in os.readlink(f"/proc/self/fd/{name}"):
                found.add(os.stat(f"/proc/self/fd/{name}").st_ino)
        except OSError:
            continue
    return len(found)

def mapped_here():
    with open("/proc/self/maps") as file:
        return len({line.split()[4] for line in file if "poolwise-snapshot" in line})
"""

MAIN = (
    PLACES
    + """
TABLE = numpy.arange(1_000_000)

def look(_):
    pid(_)
    return os.getpid(), int(TABLE[-1]), *place(TABLE), mapped_here()

def write(_):
    pid(_)
    TABLE[0] = os.getpid()
    return os.getpid(), int(TABLE[0]), place(TABLE)[1]
"""
)

MODULE = (
    PLACES
    + """
import os, time
TABLE = numpy.arange(1_000_000)
ALIAS = TABLE

def look(_):
    time.sleep(0.005)
    assert ALIAS is TABLE
    return os.getpid(), int(TABLE[-1]), *place(TABLE), mapped_here()

def write(_):
    time.sleep(0.005)
    TABLE[0] = os.getpid()
    return os.getpid(), int(TABLE[0]), place(TABLE)[1]
"""
)

WHERE = pytest.mark.parametrize("where", ["main", "module"])


def in_program(where: str, folder: Path, steps: str) -> None:
    """Run steps in a program whose functions and table lie in ``__main__`` or in a module."""
    (folder / "tables.py").write_text(MODULE)
    if where == "main":
        program = MAIN + "\nme = sys.modules['__main__']\n" + steps
    else:
        program = PLACES + "\nimport tables as me\nlook, write = me.look, me.write\n" + steps
    run(folder, program, "forkserver")


@NEEDS_NUMPY
@WHERE
def test_all_workers_look_into_one_copy_that_is_made_once(where: str, tmp_path: Path) -> None:
    steps = """
def seen():
    workers, values, files, private, mapped = map(set, zip(*mapped_all(look)))
    assert len(workers) == 2 and private == {0} and mapped == {1}, (private, mapped)
    assert len(files) == len(values) == 1
    return *values, *files

def mapped_all(function):
    return mapped(function, range(20))

value, first = seen()
assert (value, first) == seen()
assert kept() == 1

# Changed in place, and then not changed any more.
me.TABLE[-1] = 7
value, second = seen()
assert value == 7 and second != first
assert seen() == (7, second)
assert kept() == 1

# Rebound.
me.TABLE = me.ALIAS = numpy.zeros(500_000)
value, third = seen()
assert value == 0 and third not in (first, second)
assert kept() == 1
del me.TABLE, me.ALIAS
assert kept() == 0
"""
    if where == "main":
        steps = "ALIAS = TABLE\n" + steps
    in_program(where, tmp_path, steps)


@NEEDS_NUMPY
@WHERE
def test_what_a_call_writes_its_worker_alone_has(where: str, tmp_path: Path) -> None:
    steps = """
for _ in range(2):
    results = mapped(write, range(20))
    assert len({worker for worker, _, _ in results}) == 2
    assert all(worker == value for worker, value, _ in results)
    # A page; sixteen, where the system makes larger ones its own.
    assert all(0 < private < 512 for _, _, private in results), results
    assert me.TABLE[0] == 0
# Until the caller changes it.
me.TABLE[-1] = 7
assert {(value, private) for _, value, _, private, _ in mapped(look, range(20))} == {(7, 0)}
"""
    in_program(where, tmp_path, steps)


@NEEDS_NUMPY
@WHERE
def test_calls_of_an_executor_see_it_as_it_is_when_they_are_submitted(
    where: str, tmp_path: Path
) -> None:
    steps = """
def other(number):
    return int(me.TABLE[-1])

with poolwise.Executor(2, mechanism="process", start_method=method) as pool:
    files = set()
    for step in range(4):
        me.TABLE[-1] = step // 2
        results = [each.result(20) for each in [pool.submit(look, n) for n in range(20)]]
        assert {value for _, value, _, _, _ in results} == {step // 2}
        assert {(private, mapped) for _, _, _, private, mapped in results} == {(0, 1)}
        files |= {file for _, _, file, _, _ in results}
    assert len(files) == 2, files
    assert kept() == 1
"""
    in_program(where, tmp_path, steps)


@NEEDS_NUMPY
def test_what_another_function_has_brought_is_brought_back(tmp_path: Path) -> None:
    steps = """
def first(_):
    return int(me.TABLE[0])
def second(_):
    return int(me.TABLE[0])
old, new = numpy.zeros(1_000_000), numpy.ones(1_000_000)
with poolwise.Executor(1, mechanism="process", start_method=method) as pool:
    for number in range(6):
        me.TABLE = new if number % 2 else old
        function = second if number % 2 else first
        assert pool.submit(function, number).result(20) == number % 2
"""
    in_program("module", tmp_path, steps)


@NEEDS_NUMPY
def test_what_an_initializer_has_made_of_a_large_variable_stays(tmp_path: Path) -> None:
    steps = """
def double():
    global TABLE
    TABLE = TABLE * 2
me.TABLE[-1] = 21
assert {value for _, value, *_ in mapped(look, range(20), initializer=double)} == {42}
with poolwise.Executor(2, mechanism="process", start_method=method, initializer=double) as pool:
    assert {each[1] for each in pool.map(look, range(20))} == {42}
"""
    in_program("main", tmp_path, steps)


@NEEDS_NUMPY
def test_a_variable_may_become_small_and_large_again(tmp_path: Path) -> None:
    steps = """
def last(_):
    return int(TABLE[-1])
large = TABLE
for _ in range(2):
    for TABLE in (large, numpy.zeros(3), large):
        same_as_a_loop(last)
"""
    in_program("main", tmp_path, steps)


def test_where_there_are_no_such_files_workers_get_it_by_value(tmp_path: Path) -> None:
    program = """
del os.memfd_create
LARGE = bytearray(3 << 20)
LARGE[2] = 7
def call(x): return LARGE[x]
same_as_a_loop(call)
LARGE[1] = 5
same_as_a_loop(call)
"""
    run(tmp_path, program, "forkserver")
