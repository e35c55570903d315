"""What goes in comes out, whatever it is and wherever its bytes travel."""

from __future__ import annotations

import array
import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from _poolwise_worker import buffers, transfer
from _poolwise_worker.arena import Reader, Writer, create
from _poolwise_worker.buffers import THRESHOLD
from _poolwise_worker.exchange import Exchange

MIB = 1 << 20


class Ends:
    """A writer and a reader of one arena."""

    def __init__(self, limit: int) -> None:
        descriptor = create(limit)
        self.writer = Writer(os.dup(descriptor))
        self.reader = Reader(descriptor)

    def carry(self, value: Any) -> Any:
        return buffers.loads(buffers.dumps(value, self.writer), self.reader)

    def settle(self) -> int:
        """Tell the writer what is released; return how many slots are taken then."""
        self.writer.free(self.reader.released())
        return len(self.writer._slots._taken)

    def close(self) -> None:
        self.writer.close()
        self.reader.close()


@pytest.fixture(params=[64 * MIB, 4096], ids=["roomy", "no room"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    ends = Ends(request.param)
    yield ends
    ends.close()


@pytest.fixture
def roomy() -> Iterator[Ends]:
    ends = Ends(256 * MIB)
    yield ends
    ends.close()


RECORD = np.dtype([("number", "<i4"), ("name", "S12"), ("more", ">f8", (2, 3))])

ARRAYS: dict[str, Callable[[], np.ndarray[Any, Any]]] = {
    "plain": lambda: np.arange(100_000.0),
    "small": lambda: np.arange(10),
    "just large": lambda: np.zeros(THRESHOLD, np.uint8),
    "just small": lambda: np.zeros(THRESHOLD - 1, np.uint8),
    "empty": lambda: np.empty((0, 7)),
    "no dimension": lambda: np.array(3.5),
    "fortran": lambda: np.asfortranarray(np.arange(90_000.0).reshape(300, 300)),
    "strided": lambda: np.arange(200_000.0)[::2],
    "reversed": lambda: np.arange(200_000.0)[::-1],
    "transposed part": lambda: np.arange(300_000.0).reshape(3, 100_000)[:2].T,
    "records": lambda: np.zeros(5_000, RECORD),
    "field of records": lambda: np.zeros(20_000, RECORD)["more"],
    "objects": lambda: np.array([None, "a", [1]] * 10_000, dtype=object),
    "text": lambda: np.array(["ä", "bc"] * 20_000),
    "other byte order": lambda: np.arange(50_000, dtype=">i4"),
    "dates": lambda: np.arange(50_000).astype("datetime64[s]"),
    "complex": lambda: np.arange(50_000) * 1j,
}


@pytest.mark.parametrize("writeable", [True, False])
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_arrive_as_pickle_would_bring_them(ends: Ends, kind: str, writeable: bool) -> None:
    sent = ARRAYS[kind]()
    sent.flags.writeable = writeable
    plain = pickle.loads(pickle.dumps(sent, 5))
    for _ in range(3):  # also when something large is expected
        (came,) = ends.carry([sent])
        assert type(came) is type(sent)
        assert (came.dtype, came.shape) == (plain.dtype, plain.shape)
        assert np.array_equal(came, sent)
        assert came.flags.writeable == plain.flags.writeable
        assert came.flags.c_contiguous == plain.flags.c_contiguous
        assert came.flags.aligned
        if came.flags.writeable and came.size:
            came.flat[0] = came.flat[-1]
        del came
    assert ends.settle() == 0


@pytest.mark.parametrize("size", [0, 1, THRESHOLD - 100, THRESHOLD, MIB])
@pytest.mark.parametrize("kind", [bytes, bytearray, str])
def test_bytes_and_text_are_what_they_were_wherever_they_are(
    ends: Ends, kind: type, size: int
) -> None:
    made = "ä" * size if kind is str else kind(os.urandom(size))
    for value in [
        made,
        ([made, made],),
        {"deep": [(made, {"er": made})], "small": 1},
        [1, made, kind(), [*range(30_000)], made],
    ]:
        for _ in range(2):
            came = ends.carry(value)
            assert came == value
            assert pickle.dumps(came, 5) == pickle.dumps(value, 5)  # types and identities too
            del came
    assert ends.settle() == 0


def test_the_same_object_is_the_same_object_when_it_comes(ends: Ends) -> None:
    numbers, text, changeable = np.arange(100_000), b"x" * MIB, bytearray(b"y" * MIB)
    for _ in range(2):
        came = ends.carry([numbers, text, changeable, (numbers, [text]), {"k": changeable}])
        assert came[0] is came[3][0]
        assert came[1] is came[3][1][0]
        assert came[2] is came[4]["k"]


def test_other_kinds_of_buffers_travel(ends: Ends) -> None:
    for value in [array.array("d", range(50_000)), {1: memoryview(b"z" * MIB).tobytes()}]:
        assert ends.carry(value) == value


def test_pandas_and_arrow_travel(ends: Ends) -> None:
    pandas = pytest.importorskip("pandas")
    arrow = pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": range(50_000), "b": ["x"] * 50_000, "c": 1.5})
    frame["d"] = frame["a"].astype("category")
    for value in [frame, frame["c"], frame[::2], frame.set_index("a")]:
        came = ends.carry(value)
        assert came.equals(value)
        del came
    table = arrow.table({"a": [*range(50_000)], "b": ["x", None] * 25_000})
    for value in [table, table.slice(7, 1000), table.column("b")]:
        came = ends.carry(value)
        assert came.equals(value)
        del came


def test_large_things_pass_the_socket_by(roomy: Ends) -> None:
    for value in [np.zeros(MIB), b"x" * MIB, bytearray(MIB), "x" * MIB, [[*range(100_000)]] * 3]:
        message = buffers.dumps([value, (value,)], roomy.writer)
        assert len(message) < 500
        roomy.reader.discard(buffers.slots(message))
        roomy.settle()


@pytest.mark.parametrize("value", [1, (1, "a"), [*range(1000)], np.arange(100), b"x" * 1000])
def test_small_things_are_their_pickle(roomy: Ends, value: object) -> None:
    assert buffers.dumps(value, roomy.writer) == pickle.dumps(value, 5)
    assert buffers.dumps(value) == transfer.dumps(value)


def test_what_an_argument_is_written_is_not_seen_by_the_sender(roomy: Ends) -> None:
    sent = np.zeros(MIB)
    came = roomy.carry(sent)
    came += 1
    assert not sent.any()
    sent += 2
    assert (came == 1).all()
    del came
    for _ in range(5):
        roomy.settle()
        came = roomy.carry(sent)
        assert (came == 2).all()
        came -= 7
        del came


def test_each_array_of_a_batch_is_let_go_by_itself(roomy: Ends) -> None:
    came = roomy.carry(([np.full(MIB, number) for number in range(5)],))[0]
    for left in (4, 3, 2, 1, 0):
        came.pop()
        assert roomy.settle() == left


def test_what_is_never_sent_and_what_is_never_read_is_taken_back(roomy: Ends) -> None:
    value = [np.zeros(MIB), b"x" * MIB]
    message = buffers.dumps(value, roomy.writer)
    assert len(buffers.slots(message)) == 2
    roomy.writer.take_back(buffers.slots(message))
    assert roomy.settle() == 0
    message = buffers.dumps(value, roomy.writer)
    roomy.reader.discard(buffers.slots(message))
    assert roomy.settle() == 0
    assert buffers.slots(buffers.dumps(1, roomy.writer)) == []


class Failing:
    """Pickles; where it is unpickled, it fails."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


def test_a_message_that_cannot_be_read_leaves_nothing(roomy: Ends) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="no number"):
            roomy.carry([np.zeros(MIB), b"x" * MIB, Failing(), np.ones(MIB)])
        gc.collect()
        assert roomy.settle() == 0


def test_a_value_that_cannot_be_pickled_leaves_nothing(roomy: Ends) -> None:
    roomy.carry(b"x" * MIB)
    for _ in range(2):
        with pytest.raises(TypeError, match="cannot pickle"):
            buffers.dumps([np.zeros(MIB), b"x" * MIB, (each for each in [])], roomy.writer)
        assert roomy.settle() == 0


class Meddling:
    """Changes something else while it is pickled, as another thread might."""

    def __init__(self, victim: bytearray) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        self.victim += b"more"
        return int, ()


def test_a_bytearray_that_grows_while_it_is_pickled_makes_no_nonsense(roomy: Ends) -> None:
    roomy.carry(b"x" * MIB)  # something large is expected
    victim = bytearray(b"v" * MIB)
    came = roomy.carry([victim, Meddling(victim), "end"])
    assert came[1:] == [0, "end"]
    assert came[0].startswith(b"v" * MIB)


def test_where_there_is_no_arena_large_things_go_through_the_socket() -> None:
    """Or not yet: while one thread of a worker makes it, others send what they have."""
    sender = Exchange(transfer.TO_CALLER, lambda: 0, os.close)
    receiver = Exchange(transfer.TO_WORKER, lambda: 0, os.close)
    values = {"array": np.arange(100_000.0), "bytes": bytes(200_000)}
    arrived = receiver.loads(sender.dumps(values))
    np.testing.assert_equal(arrived, values)
    arrived["array"][0] = 1.0


def test_what_lies_in_an_arena_that_could_not_be_opened_says_so(roomy: Ends) -> None:
    message = buffers.dumps(np.arange(100_000.0), roomy.writer)
    with pytest.raises(OSError, match="no descriptor was left"):
        buffers.loads(message, None)


def test_lambdas_travel_beside_large_things(roomy: Ends) -> None:
    factor = 3
    for _ in range(2):
        numbers, function, text = roomy.carry(
            [np.arange(MIB), lambda value: value * factor, b"__main__" * MIB]
        )
        assert (numbers[-1], function(2), text) == (MIB - 1, 6, b"__main__" * MIB)


def test_what_main_defines_goes_by_value_wherever_it_stands() -> None:
    program = """
import os, pickle, subprocess, sys
from _poolwise_worker import buffers
from _poolwise_worker.arena import Reader, Writer, create

class Point:
    def __init__(self, x): self.x = x

descriptor = create(1 << 26)
os.set_inheritable(descriptor, True)
writer = Writer(os.dup(descriptor))
large, frames = b"x" * (1 << 20), [*range(100_000)]
read = f'''
import sys
from _poolwise_worker import buffers
from _poolwise_worker.arena import Reader
value = buffers.loads(sys.stdin.buffer.read(), Reader({descriptor}))
assert [each.x for each in value if hasattr(each, "x")] == [3], value
'''
for value in [
    [Point(3)],
    [large, Point(3)],
    [large, bytearray(large), "x" * (1 << 20), Point(3), large],
    [frames, Point(3), frames],
    [Point(3), bytearray(b"\\x95" * (1 << 20))],
]:
    for writer.large in False, True:
        message = buffers.dumps(value, writer)
        subprocess.run([sys.executable, "-c", read], input=message, check=True,
                       pass_fds=[descriptor])
        writer.take_back(buffers.slots(message))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
