"""Frames come out of a stream as they went in, wherever it was cut."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _poolwise_worker import wire


class Sent(NamedTuple):
    kind: int
    key: int
    payload: bytes
    first: int
    count: int
    service: float
    cpu: float

    def packed(self) -> bytes:
        return wire.pack(
            self.kind,
            self.key,
            self.payload,
            first=self.first,
            count=self.count,
            service=self.service,
            cpu=self.cpu,
        )


def received(frame: wire.Frame) -> Sent:
    return Sent(
        frame.kind,
        frame.key,
        bytes(frame.payload),
        frame.first,
        frame.count,
        frame.service,
        frame.cpu,
    )


#: Around the sizes at which reading changes: nothing, what fits into one read, more than that.
sizes = st.sampled_from([0, 1, 40, 1000, (1 << 16) - 41, 1 << 16, (1 << 16) + 1, 200_000])
frames = st.builds(
    Sent,
    kind=st.integers(0, 255),
    key=st.integers(0, (1 << 64) - 1),
    payload=st.builds(lambda size, seed: bytes([seed]) * size, sizes, st.integers(0, 255)),
    first=st.integers(0, (1 << 32) - 1),
    count=st.integers(0, (1 << 32) - 1),
    service=st.floats(0, 1e6),
    cpu=st.floats(0, 1e6),
)
cuts = st.lists(st.integers(1, 100_000) | st.integers(1, wire.HEADER.size + 1), max_size=40)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    cut_up = []
    for size in cuts:
        cut_up.append(stream[:size])
        stream = stream[size:]
    cut_up += [stream[at : at + 100_000] for at in range(0, len(stream), 100_000)]
    return [piece for piece in cut_up if piece]


def pop_all(reader: wire.FrameReader, into: list[Sent]) -> None:
    while (frame := reader.pop()) is not None:
        into.append(received(frame))


@pytest.mark.parametrize("eagerly", [False, True], ids=["pop after each read", "read all first"])
@settings(deadline=None, max_examples=100)
@given(sent=st.lists(frames, max_size=8), cuts=cuts)
def test_frames_are_read_back_wherever_they_are_cut(
    eagerly: bool, sent: list[Sent], cuts: list[int]
) -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        reader = wire.FrameReader(theirs)
        heard: list[Sent] = []
        for piece in pieces(b"".join(frame.packed() for frame in sent), cuts):
            ours.sendall(piece)
            while reader.read():
                if not eagerly:
                    pop_all(reader, heard)
            pop_all(reader, heard)
            assert not reader.closed
        assert heard == sent
        assert not reader.read()
        ours.close()
        assert not reader.read()
        assert reader.closed
        assert reader.pop() is None


@pytest.mark.parametrize("size", [0, 10, 200_000])
def test_what_was_cut_off_is_no_frame(size: int) -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        reader = wire.FrameReader(theirs)
        whole = wire.pack(wire.DONE, 1, bytes(size))
        ours.sendall(whole[: wire.HEADER.size + size - 1])
        ours.close()
        while reader.read():
            assert reader.pop() is None
        assert reader.closed
        assert reader.pop() is None


def test_an_empty_stream_is_neither_closed_nor_a_frame() -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        reader = wire.FrameReader(theirs)
        assert not reader.read()
        assert not reader.closed
        assert reader.pop() is None


def test_the_end_of_the_other_process_is_the_end_of_the_stream() -> None:
    # Unread bytes on the other side make it a reset, not an orderly end.
    ours, theirs = socket.socketpair()
    with closing(theirs):
        theirs.sendall(b"never read")
        ours.close()
        reader = wire.FrameReader(theirs)
        assert not reader.read()
        assert reader.closed


@given(
    st.integers(1, (1 << 64) - 1),
    st.integers(0, wire.POSITION),
    st.integers(1, 1 << 31),
    st.integers(0, wire.POSITION),
)
def test_start_marks_tell_batches_and_calls_apart(
    batch: int, position: int, further: int, other: int
) -> None:
    mark = wire.mark(batch, position)
    assert 0 <= mark < 1 << 64
    assert mark - wire.mark(batch) == position
    assert wire.mark(batch) <= mark <= wire.mark(batch, wire.POSITION)
    elsewhere = wire.mark(batch + further, other)
    assert not wire.mark(batch) <= elsewhere <= wire.mark(batch, wire.POSITION)
